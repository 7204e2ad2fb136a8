//! The Services and slices of a cluster, kept up to date: the input for the plans of all nodes.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::endpoint::{Slice, read_slice};
use crate::error::ObjectError;
use crate::names::ServiceName;
use crate::objects::{EndpointSlice, IpFamily, Kind, Object, ObjectMeta, Service};
use crate::service_port::{ServicePort, service_ports};
use crate::validate::check_names;

/// All Services and EndpointSlices of a cluster, validated. Independent of any node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceStore {
    services: BTreeMap<ServiceName, ServiceState>,
    /// The Service of each slice, keyed by the slice's name.
    slice_services: FxHashMap<ServiceName, ServiceName>,
}

/// One Service and its slices; either may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceState {
    /// Indexed by family: `[IPv4, IPv6]`.
    ports: [Vec<ServicePort>; 2],
    /// Sorted by name.
    slices: Vec<(ServiceName, Slice)>,
}

impl ServiceState {
    /// The service ports of one family.
    pub(crate) fn ports(&self, family: IpFamily) -> &[ServicePort] {
        &self.ports[family as usize]
    }

    /// The slices, ordered by name.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &Slice> + Clone {
        self.slices.iter().map(|(_, slice)| slice)
    }

    fn is_empty(&self) -> bool {
        self.slices.is_empty() && self.ports.iter().all(Vec::is_empty)
    }
}

impl ServiceStore {
    /// Reads all Services and EndpointSlices among `objects`; other kinds are ignored. The order of objects does not
    /// matter.
    ///
    /// # Errors
    /// The first field, in the order of `objects`, that an API server would reject, or a duplicate name.
    pub fn new(objects: &[Object]) -> Result<Self, ObjectError> {
        let mut cluster = Self::default();
        check_names(objects)?;
        for object in objects {
            cluster.apply(object)?;
        }
        Ok(cluster)
    }

    /// Adds or replaces an object; returns the Services whose rules may change.
    ///
    /// # Errors
    /// The first field that an API server would reject; the cluster is unchanged then.
    pub fn apply(&mut self, object: &Object) -> Result<Vec<ServiceName>, ObjectError> {
        match object {
            Object::Service(service) => self.apply_service(service),
            Object::EndpointSlice(slice) => self.apply_slice(slice),
            Object::Namespace(_)
            | Object::Node(_)
            | Object::Pod(_)
            | Object::Workload(_)
            | Object::Endpoints(_)
            | Object::KubeProxyConfiguration(_) => Ok(Vec::new()),
        }
    }

    /// Removes an object; returns the Services whose rules may change.
    pub fn delete(&mut self, kind: Kind, metadata: &ObjectMeta) -> Vec<ServiceName> {
        let name = ServiceName::new(metadata.namespace(), &metadata.name);
        match kind {
            Kind::Service => self.set_ports(name, [Vec::new(), Vec::new()]),
            Kind::EndpointSlice => self.forget_slice(&name).into_iter().collect(),
            Kind::Namespace
            | Kind::Node
            | Kind::Pod
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::ReplicationController
            | Kind::Job
            | Kind::Endpoints
            | Kind::KubeProxyConfiguration => Vec::new(),
        }
    }

    /// The state of all Services, ordered by name.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceState> {
        self.services.values()
    }

    /// The state of one Service.
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&ServiceState> {
        self.services.get(name)
    }

    fn apply_service(&mut self, service: &Service) -> Result<Vec<ServiceName>, ObjectError> {
        let ports = service_ports(service)?;
        Ok(self.set_ports(ServiceName::new(service.metadata.namespace(), &service.metadata.name), ports))
    }

    fn set_ports(&mut self, name: ServiceName, ports: [Vec<ServicePort>; 2]) -> Vec<ServiceName> {
        let state = self.services.entry(name.clone()).or_default();
        let is_changed = state.ports != ports;
        state.ports = ports;
        if state.is_empty() {
            self.services.remove(&name);
        }
        if is_changed { vec![name] } else { Vec::new() }
    }

    fn apply_slice(&mut self, slice: &EndpointSlice) -> Result<Vec<ServiceName>, ObjectError> {
        let read = read_slice(slice)?;
        let name = ServiceName::new(slice.metadata.namespace(), &slice.metadata.name);
        let Some((service, content)) = read else {
            return Ok(self.forget_slice(&name).into_iter().collect());
        };
        let mut changed = Vec::new();
        // A new label may move a slice to another Service.
        if self.slice_services.get(&name).is_some_and(|owner| *owner != service) {
            changed.extend(self.forget_slice(&name));
        }
        let slices = &mut self.services.entry(service.clone()).or_default().slices;
        match slices.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(index) if slices[index].1 == content => return Ok(changed),
            Ok(index) => slices[index].1 = content,
            Err(index) => slices.insert(index, (name.clone(), content)),
        }
        changed.push(service.clone());
        self.slice_services.insert(name, service);
        Ok(changed)
    }

    fn forget_slice(&mut self, slice: &ServiceName) -> Option<ServiceName> {
        let service = self.slice_services.remove(slice)?;
        let state = self.services.get_mut(&service)?;
        state.slices.retain(|(name, _)| name != slice);
        if state.is_empty() {
            self.services.remove(&service);
        }
        Some(service)
    }
}
