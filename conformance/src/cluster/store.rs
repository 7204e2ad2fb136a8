//! Applies and deletes objects, as the API server does.

use std::collections::{BTreeMap, BTreeSet};

use proxy_core::objects::{
    EndpointSlice, Kind, Node, Object, ObjectReference, Pod, Service, ServiceType, TrafficPolicy,
};

use super::Cluster;
use crate::scenario::{ObjectKey, ObjectName};

/// The label of slices that the EndpointSlice controller manages, and its value.
const MANAGED_BY: (&str, &str) =
    ("endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io");

impl Cluster {
    /// This cluster with an active EndpointSlice controller. A dump contains the slices that the controller last wrote;
    /// after a change it rewrites them, if the Pods are known.
    pub(super) fn with_live_slices(&self) -> Self {
        let mut live = self.clone();
        live.stored.retain(|_, object| super::as_slice(object).is_none_or(|slice| !self.is_rewritten(slice)));
        live
    }

    fn is_rewritten(&self, slice: &EndpointSlice) -> bool {
        let (label, controller) = MANAGED_BY;
        let is_known = |reference: &ObjectReference| {
            let name = ObjectName::new(slice.metadata.namespace(), &reference.name);
            reference.kind == "Pod" && self.stored.contains_key(&ObjectKey { kind: Kind::Pod, name })
        };
        slice.metadata.labels.get(label).is_some_and(|by| by == controller)
            && slice.endpoints.iter().all(|one| one.target_ref.as_ref().is_some_and(is_known))
    }

    /// Stores an object. Fields that were allocated earlier are kept unless the new state specifies them.
    pub(super) fn store(&mut self, mut object: Object) {
        let key = ObjectKey::of(&object);
        match (&mut object, self.stored.get(&key)) {
            (Object::Service(service), Some(Object::Service(before))) => keep_service(service, before),
            (Object::Pod(pod), Some(Object::Pod(before))) => keep_pod(pod, before),
            (Object::Node(node), Some(Object::Node(before))) => keep_node(node, before),
            // Other kinds have no allocated fields.
            (
                Object::Namespace(_)
                | Object::Node(_)
                | Object::Pod(_)
                | Object::Workload(_)
                | Object::Service(_)
                | Object::EndpointSlice(_)
                | Object::Endpoints(_)
                | Object::KubeProxyConfiguration(_),
                _,
            ) => {}
        }
        self.stored.insert(key, object);
    }

    /// Removes an object and its dependents; `None` if it does not exist.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<()> {
        self.stored.remove(key)?;
        self.owners.remove(key);
        match key.kind {
            // The garbage collector: dependents are deleted with their owner.
            Kind::Deployment
            | Kind::ReplicaSet
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::ReplicationController
            | Kind::Job => {
                let owned = self.owners.iter().filter(|(_, owner)| *owner == key);
                for pod in owned.map(|(pod, _)| pod.clone()).collect::<Vec<_>>() {
                    self.stored.remove(&pod);
                    self.owners.remove(&pod);
                }
            }
            // Pods on a deleted node are deleted; those of workloads are recreated elsewhere.
            Kind::Node => {
                let is_there = |object: &Object| {
                    super::as_pod(object).is_some_and(|pod| pod.spec.node_name == key.name.name)
                };
                let pods: Vec<_> = self
                    .stored
                    .iter()
                    .filter(|(_, object)| is_there(object))
                    .map(|(pod, _)| pod.clone())
                    .collect();
                for pod in pods {
                    self.stored.remove(&pod);
                    self.owners.remove(&pod);
                }
            }
            Kind::Namespace => {
                let inside = |other: &ObjectKey| {
                    crate::scenario::is_namespaced(other.kind) && other.name.namespace == key.name.name
                };
                self.stored.retain(|other, _| !inside(other));
                self.owners.retain(|other, _| !inside(other));
            }
            Kind::Pod
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Endpoints
            | Kind::KubeProxyConfiguration => {}
        }
        Some(())
    }
}

/// Kubernetes: `patchAllocatedValues`, pkg/registry/core/service/storage/alloc.go.
fn keep_service(service: &mut Service, before: &Service) {
    let (spec, old) = (&mut service.spec, &before.spec);
    if spec.service_type == ServiceType::ExternalName || old.service_type == ServiceType::ExternalName {
        return;
    }
    if spec.cluster_ip.is_empty() && spec.cluster_ips.is_empty() {
        spec.cluster_ip.clone_from(&old.cluster_ip);
        spec.cluster_ips.clone_from(&old.cluster_ips);
        spec.ip_families.clone_from(&old.ip_families);
    }
    if spec.service_type == ServiceType::ClusterIP {
        return;
    }
    let mut known = BTreeMap::new();
    for port in &old.ports {
        known.entry((port.port, port.protocol)).or_insert(port.node_port);
    }
    let mut taken: BTreeSet<i32> = spec.ports.iter().map(|port| port.node_port).collect();
    for port in spec.ports.iter_mut().filter(|port| port.node_port == 0) {
        if let Some(kept) = known.get(&(port.port, port.protocol))
            && taken.insert(*kept)
        {
            port.node_port = *kept;
        }
    }
    let has_check = spec.service_type == ServiceType::LoadBalancer
        && spec.external_traffic_policy == Some(TrafficPolicy::Local);
    if spec.health_check_node_port == 0 && has_check {
        spec.health_check_node_port = old.health_check_node_port;
    }
}

/// A Pod keeps its node, address and condition, unless the new state specifies them.
fn keep_pod(pod: &mut Pod, before: &Pod) {
    if pod.spec.node_name.is_empty() {
        pod.spec.node_name.clone_from(&before.spec.node_name);
    }
    if pod.spec.node_name != before.spec.node_name {
        return;
    }
    if pod.status.pod_ip.is_empty() && pod.status.pod_ips.is_empty() {
        pod.status.pod_ip.clone_from(&before.status.pod_ip);
        pod.status.pod_ips.clone_from(&before.status.pod_ips);
    }
    if pod.status.conditions.is_empty() {
        pod.status.conditions.clone_from(&before.status.conditions);
    }
    if pod.status.phase.is_empty() {
        pod.status.phase.clone_from(&before.status.phase);
    }
}

fn keep_node(node: &mut Node, before: &Node) {
    if node.spec.pod_cidr.is_empty() && node.spec.pod_cidrs.is_empty() {
        node.spec.pod_cidr.clone_from(&before.spec.pod_cidr);
        node.spec.pod_cidrs.clone_from(&before.spec.pod_cidrs);
    }
    if node.status.addresses.is_empty() {
        node.status.addresses.clone_from(&before.status.addresses);
    }
}
