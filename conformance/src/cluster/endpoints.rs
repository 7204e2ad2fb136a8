//! Warnings about Services that nobody can answer, as far as it is known beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proxy_core::controller::topology_hints_are_wanted;
use proxy_core::objects::{EndpointSlice, Kind, Object, Service, ServiceType};

use super::target::valid_port;
use super::{Cluster, ClusterProblem, as_service, as_slice};
use crate::scenario::{FieldFault, ObjectKey};

/// The label of slices with the name of their Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Cluster {
    /// Warns about slices that belong to no Service, ports without endpoints, and addresses at which nobody listens.
    /// `fresh`: the objects that are new.
    pub(super) fn check_endpoints(&self, fresh: &BTreeSet<ObjectKey>, problems: &mut Vec<ClusterProblem>) {
        let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in self.slices() {
            let Some(service) = slice.metadata.labels.get(SERVICE_NAME) else { continue };
            slices.entry((slice.metadata.namespace(), service.as_str())).or_default().push(slice);
        }
        for service in
            self.services().filter(|service| service.spec.service_type != ServiceType::ExternalName)
        {
            let name = (service.metadata.namespace(), service.metadata.name.as_str());
            let own = slices.get(&name).map_or(&[][..], Vec::as_slice);
            problems.extend(self.no_endpoints(service, own));
            problems.extend(self.port_without_endpoints(service, own));
            problems.extend(no_load_balancer(service));
            problems.extend(self.no_hints(service, own));
        }
        let objects = self.stored.iter().filter(|(key, _)| fresh.contains(key));
        for slice in objects.filter_map(|(_, object)| as_slice(object)) {
            problems.extend(self.slice_without_service(slice));
            problems.extend(self.unknown_node(slice));
        }
        problems.extend(self.overwritten_endpoints(fresh));
        self.deaf_hosts(problems);
    }

    /// Neither a selector nor a slice.
    fn no_endpoints(&self, service: &Service, slices: &[&EndpointSlice]) -> Option<ClusterProblem> {
        if !service.spec.selector.is_empty() || !slices.is_empty() {
            return None;
        }
        let what = format!(
            "Service {} has neither a selector nor an EndpointSlice: it has no endpoints",
            name(service)
        );
        let help = "add the selector, or the EndpointSlices or Endpoints of the Service";
        let fault = FieldFault::new(what).help(help).at_key("spec");
        Some(ClusterProblem::warning(key(service), fault))
    }

    /// A port whose name no slice of the Service has.
    fn port_without_endpoints(&self, service: &Service, slices: &[&EndpointSlice]) -> Vec<ClusterProblem> {
        // What is wrong with derived slices is said about selectors and target ports.
        let is_given = |slice: &&&EndpointSlice| self.is_given(slice);
        let given: Vec<_> =
            slices.iter().filter(is_given).filter(|slice| !slice.endpoints.is_empty()).collect();
        if given.is_empty() {
            return Vec::new();
        }
        let ports: BTreeSet<_> = given
            .iter()
            .flat_map(|slice| &slice.ports)
            .map(|port| (port.name.as_deref().unwrap_or_default(), port.protocol))
            .collect();
        let mut found = Vec::new();
        for (index, port) in service.spec.ports.iter().enumerate() {
            if ports.contains(&(port.name.as_str(), port.protocol)) {
                continue;
            }
            let known: Vec<String> =
                ports.iter().map(|(name, protocol)| format!("{name:?} ({})", protocol.lower())).collect();
            let what = format!(
                "no endpoint of Service {} has a {} port named {:?}: this port has no endpoints",
                name(service),
                port.protocol.lower(),
                port.name
            );
            let fault = FieldFault::new(what)
                .help(format!("ports of its slices or Endpoints: {}", known.join(", ")))
                .at(format!("spec.ports[{index}].name"));
            found.push(ClusterProblem::warning(key(service), fault));
        }
        found
    }

    /// Topology hints that the Service asks for, and does not get.
    fn no_hints(&self, service: &Service, slices: &[&EndpointSlice]) -> Option<ClusterProblem> {
        let derived = slices.iter().filter(|slice| !self.is_given(slice));
        let mut endpoints = derived.flat_map(|slice| &slice.endpoints);
        if !topology_hints_are_wanted(service)
            || endpoints.clone().count() == 0
            || endpoints.any(|one| one.hints.is_some())
        {
            return None;
        }
        let what = format!("topology-mode Auto gives the endpoints of Service {} no hints", name(service));
        let help = "every node needs a zone and `status.allocatable.cpu`, and every zone enough endpoints for its CPUs";
        let fault = FieldFault::new(what).help(help).at("metadata.annotations");
        Some(ClusterProblem::warning(key(service), fault))
    }

    /// True for a slice of the manifests, or that mirrors Endpoints of the manifests.
    fn is_given(&self, slice: &EndpointSlice) -> bool {
        let of_slice = ObjectKey::of(&Object::EndpointSlice(slice.clone()));
        self.stored.contains_key(&of_slice) || slice.metadata.name.contains("-mirror-")
    }

    fn slice_without_service(&self, slice: &EndpointSlice) -> Option<ClusterProblem> {
        let own = &slice.metadata.name;
        let what = match slice.metadata.labels.get(SERVICE_NAME) {
            None => format!("EndpointSlice {own} has no label {SERVICE_NAME}: it belongs to no Service"),
            Some(service) => {
                let namespace = slice.metadata.namespace();
                let is_it =
                    |one: &Service| one.metadata.namespace() == namespace && one.metadata.name == *service;
                if self.services().any(is_it) {
                    return None;
                }
                format!("EndpointSlice {own} belongs to Service {service}, which is not in these files")
            }
        };
        let key = ObjectKey::of(&Object::EndpointSlice(slice.clone()));
        Some(ClusterProblem::warning(key, FieldFault::new(what).at("metadata.labels")))
    }

    fn unknown_node(&self, slice: &EndpointSlice) -> Option<ClusterProblem> {
        let is_unknown = |node: &str| !node.is_empty() && self.node_object(node).is_none();
        let (index, node) = slice.endpoints.iter().enumerate().find_map(|(index, endpoint)| {
            endpoint.node_name.as_deref().filter(|node| is_unknown(node)).map(|node| (index, node))
        })?;
        let known: Vec<&str> = self.state.nodes.iter().map(|node| node.name.as_str()).collect();
        let what = format!("no node {node:?}: this endpoint is local to no node");
        let fault = FieldFault::new(what).expected(format!("one of {}", known.join(", ")));
        let key = ObjectKey::of(&Object::EndpointSlice(slice.clone()));
        Some(ClusterProblem::warning(key, fault.at(format!("endpoints[{index}].nodeName"))))
    }

    /// Endpoints written by hand for a Service with a selector: the endpoints controller replaces them.
    fn overwritten_endpoints(&self, fresh: &BTreeSet<ObjectKey>) -> Vec<ClusterProblem> {
        const OF_CONTROLLER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
        let mut found = Vec::new();
        for (key, object) in self.stored.iter().filter(|(key, _)| fresh.contains(key)) {
            let Object::Endpoints(endpoints) = object else { continue };
            let is_by_hand = endpoints.metadata.uid.is_empty()
                && !endpoints.metadata.annotations.contains_key(OF_CONTROLLER);
            let service = ObjectKey { kind: Kind::Service, name: key.name.clone() };
            let what = match self.stored.get(&service).and_then(as_service) {
                None => format!("Endpoints {} have no Service of that name in these files", key.name),
                Some(service) if is_by_hand && !service.spec.selector.is_empty() => format!(
                    "Endpoints {} have no effect: their Service has a selector, which decides about its endpoints",
                    key.name
                ),
                Some(_) => continue,
            };
            found.push(ClusterProblem::warning(key.clone(), FieldFault::new(what).at("metadata.name")));
        }
        found
    }

    /// Endpoints on external hosts that listen on another port.
    fn deaf_hosts(&self, problems: &mut Vec<ClusterProblem>) {
        let mut said = BTreeSet::new();
        for slice in self.slices() {
            for ip in slice.endpoints.iter().flat_map(|one| &one.addresses) {
                let Ok(ip) = ip.parse::<Ipv4Addr>() else { continue };
                let Some((index, host)) = self.hosts().iter().enumerate().find(|(_, host)| host.ip == ip)
                else {
                    continue;
                };
                for port in &slice.ports {
                    let Some(number) = port.port.and_then(valid_port) else { continue };
                    let listener = (port.protocol, number);
                    if host.listen.contains(&listener) || !said.insert((index, listener)) {
                        continue;
                    }
                    let what = format!(
                        "{} is an endpoint at {} port {number}, on which it does not listen",
                        host.name,
                        port.protocol.lower()
                    );
                    let fault = FieldFault::new(what).help(format!("add {number} to its `listen`"));
                    let path = format!("spec.network.externalHosts[{index}].name");
                    problems.push(ClusterProblem::warning_of_scenario(fault.at(path)));
                }
            }
        }
    }
}

/// A Service of type LoadBalancer without an address of its load balancer.
fn no_load_balancer(service: &Service) -> Option<ClusterProblem> {
    let ingress = &service.status.load_balancer.ingress;
    if service.spec.service_type != ServiceType::LoadBalancer || ingress.iter().any(|one| !one.ip.is_empty())
    {
        return None;
    }
    let what = match ingress.first() {
        None => format!("Service {} has no load balancer yet: no address", name(service)),
        Some(first) => {
            format!(
                "the load balancer of Service {} is {}: its address is not known",
                name(service),
                first.hostname
            )
        }
    };
    let fault = FieldFault::new(format!("{what}, so kube-proxy has no rules for it"))
        .help("add `status: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}`");
    Some(ClusterProblem::warning(key(service), fault.at("spec.type")))
}

fn name(service: &Service) -> String {
    key(service).name.to_string()
}

fn key(service: &Service) -> ObjectKey {
    ObjectKey::of(&Object::Service(service.clone()))
}
