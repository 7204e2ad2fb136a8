//! The Services and slices of a cluster, read once and kept up to date: what the plans of all nodes are made from.

use std::collections::BTreeMap;

use crate::endpoint::{Slice, read_slice};
use crate::error::ObjectError;
use crate::names::ServiceName;
use crate::objects::{EndpointSlice, IpFamily, Kind, Object, ObjectMeta, Service};
use crate::service_port::{ServicePort, service_ports};
use crate::validate::check_names;

/// All Services and EndpointSlices of a cluster, checked. It knows no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    services: BTreeMap<ServiceName, [Vec<ServicePort>; 2]>,
    slices: BTreeMap<ServiceName, BTreeMap<Box<str>, Slice>>,
    /// Which Service a slice belongs to, by the slice's own name.
    slice_services: BTreeMap<ServiceName, ServiceName>,
}

impl Cluster {
    /// Reads all Services and EndpointSlices among `objects`; other kinds are not looked at. Their order does not
    /// matter.
    ///
    /// # Errors
    /// The first field, in the order of `objects`, that no API server would have stored, or a name used twice.
    pub fn new(objects: &[Object]) -> Result<Self, ObjectError> {
        let mut cluster = Self::default();
        check_names(objects)?;
        for object in objects {
            cluster.apply(object)?;
        }
        Ok(cluster)
    }

    /// Adds an object or replaces it by its new state; returns the Services whose rules may change.
    ///
    /// # Errors
    /// The first field that no API server would have stored; the cluster is then as it was.
    pub fn apply(&mut self, object: &Object) -> Result<Vec<ServiceName>, ObjectError> {
        match object {
            Object::Service(service) => self.apply_service(service),
            Object::EndpointSlice(slice) => self.apply_slice(slice),
            Object::Namespace(_)
            | Object::Node(_)
            | Object::Pod(_)
            | Object::Deployment(_)
            | Object::Endpoints(_)
            | Object::KubeProxyConfiguration(_) => Ok(Vec::new()),
        }
    }

    /// Removes an object; returns the Services whose rules may change.
    pub fn delete(&mut self, kind: Kind, metadata: &ObjectMeta) -> Vec<ServiceName> {
        let name = ServiceName::new(metadata.namespace(), &metadata.name);
        match kind {
            Kind::Service => self.services.remove(&name).map(|_| name).into_iter().collect(),
            Kind::EndpointSlice => self.forget_slice(&name).into_iter().collect(),
            Kind::Namespace
            | Kind::Node
            | Kind::Pod
            | Kind::Deployment
            | Kind::Endpoints
            | Kind::KubeProxyConfiguration => Vec::new(),
        }
    }

    /// The names of all Services that kube-proxy looks at.
    pub(crate) fn service_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// The ports of a Service in one family.
    pub(crate) fn service_ports(&self, service: &ServiceName, family: IpFamily) -> &[ServicePort] {
        self.services.get(service).map_or(&[], |families| &families[family as usize])
    }

    /// The slices of a Service, by name.
    pub(crate) fn slices(&self, service: &ServiceName) -> impl Iterator<Item = &Slice> + Clone {
        self.slices.get(service).into_iter().flat_map(BTreeMap::values)
    }

    fn apply_service(&mut self, service: &Service) -> Result<Vec<ServiceName>, ObjectError> {
        let ports = service_ports(service)?;
        let name = ServiceName::new(service.metadata.namespace(), &service.metadata.name);
        let before = if ports.iter().all(Vec::is_empty) {
            self.services.remove(&name).is_none()
        } else {
            let unchanged = self.services.get(&name) == Some(&ports);
            self.services.insert(name.clone(), ports);
            unchanged
        };
        Ok(if before { Vec::new() } else { vec![name] })
    }

    fn apply_slice(&mut self, slice: &EndpointSlice) -> Result<Vec<ServiceName>, ObjectError> {
        let read = read_slice(slice)?;
        let name = ServiceName::new(slice.metadata.namespace(), &slice.metadata.name);
        let Some((service, content)) = read else {
            return Ok(self.forget_slice(&name).into_iter().collect());
        };
        let mut changed = Vec::new();
        // A slice may be given to another Service by a new label.
        if self.slice_services.get(&name).is_some_and(|owner| *owner != service) {
            changed.extend(self.forget_slice(&name));
        }
        let of_service = self.slices.entry(service.clone()).or_default();
        if of_service.get(&*name.name) != Some(&content) {
            of_service.insert((*name.name).into(), content);
            changed.push(service.clone());
        }
        self.slice_services.insert(name, service);
        Ok(changed)
    }

    fn forget_slice(&mut self, slice: &ServiceName) -> Option<ServiceName> {
        let service = self.slice_services.remove(slice)?;
        let of_service = self.slices.get_mut(&service)?;
        of_service.remove(&*slice.name);
        if of_service.is_empty() {
            self.slices.remove(&service);
        }
        Some(service)
    }
}
