//! The API server and the controllers of a cluster, as pure functions that complete manifests.
//!
//! The order of objects does not matter: they are sorted by kind, namespace and name first. Where Kubernetes chooses at
//! random (addresses, ports, slice names), the choice here is derived from the object's name, so that adding an object
//! does not change the others.
//!
//! Not modelled: Pods of workloads, which need a scheduler.

mod allocate;
mod defaults;
mod endpoint_slices;
mod mirror;
mod topology_hints;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::error::ObjectError;
use crate::objects::{EndpointSlice, Object, Service};
use crate::validate::{check_names, key};

pub use allocate::allocate;
pub use defaults::set_defaults;
pub use endpoint_slices::endpoint_slices;
pub use mirror::mirrored_slices;
pub use topology_hints::are_wanted as topology_hints_are_wanted;

/// What a cluster allocates to its Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNetwork {
    /// Ranges of ClusterIPs, at most one per family; the family of the first is the default for Services.
    pub cluster_ip_ranges: Vec<IpNet>,
    /// Range of NodePorts and healthCheckNodePorts.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceNetwork {
    /// kubeadm's defaults: 10.96.0.0/12, and NodePorts 30000 to 32767.
    fn default() -> Self {
        Self {
            cluster_ip_ranges: vec![IpNet::new_assert([10, 96, 0, 0].into(), 12)],
            node_ports: 30000..=32767,
        }
    }
}

/// The state that a cluster reaches from these manifests: defaults filled in, addresses and ports allocated,
/// EndpointSlices derived from Pods and mirrored from Endpoints. Sorted by kind, namespace and name.
///
/// Existing objects are kept: a Service with slices gets no more. The function is idempotent.
///
/// # Errors
/// A duplicate name; an address or port in use; an exhausted range; an invalid value.
pub fn reconcile(objects: &[Object], network: &ServiceNetwork) -> Result<Vec<Object>, ObjectError> {
    let mut objects = sorted(objects)?;
    set_defaults(&mut objects);
    allocate(&mut objects, network)?;
    let mut slices = endpoint_slices(&objects)?;
    slices.extend(mirrored_slices(&objects)?);
    objects.extend(slices.into_iter().map(Object::EndpointSlice));
    sorted(&objects)
}

/// Sorts the objects by kind, namespace and name.
///
/// # Errors
/// Two objects of one kind with the same name.
fn sorted(objects: &[Object]) -> Result<Vec<Object>, ObjectError> {
    let mut sorted = objects.to_vec();
    sorted.sort_by(|left, right| key(left).cmp(&key(right)));
    check_names(&sorted)?;
    Ok(sorted)
}

/// The Services among the objects.
fn services(objects: &[Object]) -> impl Iterator<Item = &Service> {
    objects.iter().filter_map(|object| match object {
        Object::Service(service) => Some(service),
        Object::Namespace(_)
        | Object::Node(_)
        | Object::Pod(_)
        | Object::Workload(_)
        | Object::EndpointSlice(_)
        | Object::Endpoints(_)
        | Object::KubeProxyConfiguration(_) => None,
    })
}

/// The Services to which these EndpointSlices belong, by namespace and name.
fn owners<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> BTreeSet<(&'a str, &'a str)> {
    let owner = |slice: &'a EndpointSlice| {
        let service = slice.metadata.labels.get(SERVICE_NAME)?;
        Some((slice.metadata.namespace(), service.as_str()))
    };
    slices.filter_map(owner).collect()
}

/// Namespace and name.
fn name_of(service: &Service) -> (&str, &str) {
    (service.metadata.namespace(), &service.metadata.name)
}

/// The EndpointSlices among the objects.
fn slices(objects: &[Object]) -> impl Iterator<Item = &EndpointSlice> {
    objects.iter().filter_map(|object| match object {
        Object::EndpointSlice(slice) => Some(slice),
        Object::Namespace(_)
        | Object::Node(_)
        | Object::Pod(_)
        | Object::Workload(_)
        | Object::Service(_)
        | Object::Endpoints(_)
        | Object::KubeProxyConfiguration(_) => None,
    })
}

/// Labels of EndpointSlices.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
