//! Derives EndpointSlices from hand-written Endpoints.

use std::collections::BTreeMap;

use super::endpoint_slices::{address_type, family_word};
use super::{MANAGED_BY, SERVICE_NAME, name_of, owners, services};
use crate::address::{family_of, parse_ip};
use crate::error::ObjectError;
use crate::objects::{
    Endpoint, EndpointAddress, EndpointConditions, EndpointPort, EndpointSlice, EndpointSubset, Endpoints,
    IpFamily, Kind, Object, ObjectMeta, Service, ServiceType,
};
use crate::validate::Fields;

const MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";

/// The slices that mirror Endpoints objects: for Services without a selector, unless mirrored slices exist, or a label
/// or leader election record disables mirroring.
///
/// Kubernetes: pkg/controller/endpointslicemirroring/{endpointslicemirroring_controller,reconciler,utils}.go.
/// At most 1000 addresses of a subset are mirrored.
///
/// # Errors
/// An invalid address.
pub fn mirrored_slices(objects: &[Object]) -> Result<Vec<EndpointSlice>, ObjectError> {
    let services: BTreeMap<_, _> = services(objects).map(|service| (name_of(service), service)).collect();
    let is_mirror = |slice: &&EndpointSlice| {
        slice.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MIRRORING)
    };
    let has_mirror = owners(super::slices(objects).filter(is_mirror));
    let mut slices = Vec::new();
    for object in objects {
        let Object::Endpoints(endpoints) = object else { continue };
        let metadata = &endpoints.metadata;
        let Some(service) = services.get(&(metadata.namespace(), metadata.name.as_str())) else { continue };
        if is_mirrored(endpoints, service) && !has_mirror.contains(&name_of(service)) {
            slices.extend(mirror(endpoints)?);
        }
    }
    Ok(slices)
}

fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
    const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";
    let metadata = &endpoints.metadata;
    service.spec.selector.is_empty()
        && service.spec.service_type != ServiceType::ExternalName
        && metadata.labels.get(SKIP_LABEL).is_none_or(|value| value != "true")
        && !metadata.annotations.contains_key(LEADER_ANNOTATION)
}

fn mirror(endpoints: &Endpoints) -> Result<Vec<EndpointSlice>, ObjectError> {
    const ADDRESSES_PER_SUBSET_MAX: usize = 1000;
    const ENDPOINTS_PER_SLICE_MAX: usize = 1000;
    let mut groups: Vec<(IpFamily, Vec<EndpointPort>, Vec<Endpoint>)> = Vec::new();
    for (subset_index, subset) in endpoints.subsets.iter().enumerate() {
        let ports = ports(subset);
        let lists = [
            ("addresses", &subset.addresses, true),
            ("notReadyAddresses", &subset.not_ready_addresses, false),
        ];
        let addresses = lists.into_iter().flat_map(|(list, addresses, ready)| {
            addresses.iter().enumerate().map(move |(index, address)| (list, index, address, ready))
        });
        for (list, index, address, ready) in addresses.take(ADDRESSES_PER_SUBSET_MAX) {
            let path = format!("subsets[{subset_index}].{list}[{index}].ip");
            let (family, endpoint) = endpoint(endpoints, address, ready, &path)?;
            match groups.iter_mut().find(|(known, known_ports, _)| *known == family && *known_ports == ports)
            {
                Some((_, _, members)) => members.push(endpoint),
                None => groups.push((family, ports.clone(), vec![endpoint])),
            }
        }
    }
    let mut slices: Vec<EndpointSlice> = Vec::new();
    for (family, ports, members) in groups {
        for chunk in members.chunks(ENDPOINTS_PER_SLICE_MAX) {
            slices.push(new_slice(endpoints, family, slices.len(), &ports, chunk));
        }
    }
    Ok(slices)
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().map(|port| EndpointPort {
        name: Some(port.name.clone()),
        protocol: port.protocol,
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    });
    ports.collect()
}

/// Kubernetes: `addressToEndpoint`, pkg/controller/endpointslicemirroring/utils.go. Only readiness is known.
fn endpoint(
    endpoints: &Endpoints,
    address: &EndpointAddress,
    ready: bool,
    path: &str,
) -> Result<(IpFamily, Endpoint), ObjectError> {
    let fields = Fields::new(Kind::Endpoints, &endpoints.metadata);
    let ip = parse_ip(&address.ip).ok_or_else(|| fields.error(path, &address.ip, "an IP address"))?;
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        conditions: EndpointConditions { ready: Some(ready), serving: None, terminating: None },
        hostname: Some(address.hostname.clone()).filter(|hostname| !hostname.is_empty()),
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
        zone: None,
        hints: None,
    };
    Ok((family_of(ip), endpoint))
}

fn new_slice(
    endpoints: &Endpoints,
    family: IpFamily,
    index: usize,
    ports: &[EndpointPort],
    members: &[Endpoint],
) -> EndpointSlice {
    let metadata = &endpoints.metadata;
    let mut labels = metadata.labels.clone();
    labels.insert(SERVICE_NAME.to_owned(), metadata.name.clone());
    labels.insert(MANAGED_BY.to_owned(), MIRRORING.to_owned());
    EndpointSlice {
        metadata: ObjectMeta {
            name: format!("{}-mirror-{}-{index}", metadata.name, family_word(family)),
            namespace: metadata.namespace().to_owned(),
            labels,
            annotations: metadata.annotations.clone(),
            ..ObjectMeta::default()
        },
        address_type: address_type(family),
        endpoints: members.to_vec(),
        ports: ports.to_vec(),
    }
}
