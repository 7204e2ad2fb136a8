//! The Pods that a Service selects, and their target ports.

use proxy_core::objects::{Container, IntOrString, ObjectMeta, Pod, Protocol, Service, ServicePort};

/// True if a Service's selector matches a Pod.
pub(super) fn selects(service: &Service, metadata: &ObjectMeta) -> bool {
    !service.spec.selector.is_empty()
        && service.metadata.namespace() == metadata.namespace()
        && service.spec.selector.iter().all(|(name, value)| metadata.labels.get(name) == Some(value))
}

/// Numeric target ports of a Service.
pub(super) fn numeric_targets(service: &Service) -> Vec<(Protocol, u16)> {
    let number = |port: &ServicePort| match &port.target_port {
        Some(IntOrString::Int(0)) | None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(_)) => None,
    };
    let ports = service.spec.ports.iter();
    ports.filter_map(|port| Some((port.protocol, valid_port(number(port)?)?))).collect()
}

/// Containers that run concurrently: init containers count only if they are sidecars.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.restart_policy == "Always");
    pod.spec.containers.iter().chain(sidecars)
}

pub(super) fn valid_port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}
