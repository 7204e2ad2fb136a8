//! Default values of the API server.

use crate::objects::{
    ClientIpConfig, EndpointSlice, Endpoints, IntOrString, Object, Pod, PodIp, Service, ServiceAffinity,
    ServiceType, SessionAffinityConfig, TrafficPolicy, Workload,
};

/// Fills in the defaults that the API server sets when it stores an object.
///
/// Kubernetes: `SetDefaults_Service` and others, pkg/apis/core/v1/defaults.go; `SetDefaults_EndpointPort`,
/// pkg/apis/discovery/v1/defaults.go; `NormalizeClusterIPs`, pkg/registry/core/service/storage/storage.go.
pub fn set_defaults(objects: &mut [Object]) {
    for object in objects {
        match object {
            Object::Service(service) => service_defaults(service),
            Object::EndpointSlice(slice) => slice_defaults(slice),
            Object::Pod(pod) => pod_defaults(pod),
            Object::Workload(Workload { metadata, .. }) => set_namespace(&mut metadata.namespace),
            Object::Endpoints(Endpoints { metadata, .. }) => set_namespace(&mut metadata.namespace),
            Object::Namespace(_) | Object::Node(_) | Object::KubeProxyConfiguration(_) => {}
        }
    }
}

fn set_namespace(namespace: &mut String) {
    if namespace.is_empty() {
        *namespace = "default".to_owned();
    }
}

fn service_defaults(service: &mut Service) {
    const AFFINITY_SECONDS: i32 = 10_800;
    set_namespace(&mut service.metadata.namespace);
    let spec = &mut service.spec;
    if spec.session_affinity == ServiceAffinity::ClientIP {
        spec.session_affinity_config
            .get_or_insert_with(SessionAffinityConfig::default)
            .client_ip
            .get_or_insert_with(ClientIpConfig::default)
            .timeout_seconds
            .get_or_insert(AFFINITY_SECONDS);
    }
    match spec.service_type {
        ServiceType::ClusterIP => {
            spec.internal_traffic_policy.get_or_insert(TrafficPolicy::Cluster);
        }
        ServiceType::NodePort | ServiceType::LoadBalancer => {
            spec.internal_traffic_policy.get_or_insert(TrafficPolicy::Cluster);
            spec.external_traffic_policy.get_or_insert(TrafficPolicy::Cluster);
        }
        ServiceType::ExternalName => {}
    }
    if spec.service_type == ServiceType::LoadBalancer {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    for port in &mut spec.ports {
        let is_unset = match &port.target_port {
            None => true,
            Some(IntOrString::Int(number)) => *number == 0,
            Some(IntOrString::String(name)) => name.is_empty(),
        };
        if is_unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if spec.cluster_ips.is_empty() && !spec.cluster_ip.is_empty() {
        spec.cluster_ips = vec![spec.cluster_ip.clone()];
    }
    if let (true, Some(first)) = (spec.cluster_ip.is_empty(), spec.cluster_ips.first()) {
        spec.cluster_ip.clone_from(first);
    }
}

fn slice_defaults(slice: &mut EndpointSlice) {
    set_namespace(&mut slice.metadata.namespace);
    for port in &mut slice.ports {
        port.name.get_or_insert_with(String::new);
    }
}

fn pod_defaults(pod: &mut Pod) {
    set_namespace(&mut pod.metadata.namespace);
    let status = &mut pod.status;
    if status.pod_ips.is_empty() && !status.pod_ip.is_empty() {
        status.pod_ips = vec![PodIp { ip: status.pod_ip.clone() }];
    }
    if let (true, Some(first)) = (status.pod_ip.is_empty(), status.pod_ips.first()) {
        status.pod_ip.clone_from(&first.ip);
    }
}
