//! Hints by the annotation `service.kubernetes.io/topology-mode: Auto`: every zone gets endpoints in proportion to its CPUs.
//!
//! Kubernetes: staging/src/k8s.io/endpointslice/topologycache/{topologycache,utils}.go. The numbers are floating point as
//! there, so that both round alike.

use std::collections::BTreeMap;

use crate::objects::{Endpoint, EndpointHints, EndpointSlice, ForZone, Node, Service};

/// How many more connections an endpoint may get than with an even distribution.
const OVERLOAD_MAX: f64 = 0.2;

/// The share of each zone in the CPUs of a cluster; `None` if it is not known, or if there is only one zone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ZoneRatios(Option<BTreeMap<String, f64>>);

/// True if a Service asks for these hints.
///
/// Kubernetes: `hintsEnabled`, staging/src/k8s.io/endpointslice/utils.go.
pub fn are_wanted(service: &Service) -> bool {
    let annotations = &service.metadata.annotations;
    let mode = annotations
        .get("service.kubernetes.io/topology-aware-hints")
        .or_else(|| annotations.get("service.kubernetes.io/topology-mode"));
    mode.is_some_and(|mode| mode == "Auto" || mode == "auto")
}

impl ZoneRatios {
    /// Kubernetes: `SetNodes`. A node without conditions, which only a manifest written by hand has, is ready.
    pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let mut zones: BTreeMap<String, u32> = BTreeMap::new();
        let mut total: u32 = 0;
        for node in nodes.filter(|node| !is_control_plane(node) && is_ready(node)) {
            let zone =
                node.metadata.labels.get("topology.kubernetes.io/zone").filter(|zone| !zone.is_empty());
            let cpu = node.status.allocatable.get("cpu").and_then(|cpu| milli_cpus(&cpu.to_string()));
            let Some((zone, cpu)) = zone.zip(cpu.filter(|cpu| *cpu > 0)) else { return Self(None) };
            *zones.entry(zone.clone()).or_default() += cpu;
            total += cpu;
        }
        let ratio = |(zone, cpu)| (zone, f64::from(cpu) / f64::from(total));
        Self((zones.len() >= 2).then(|| zones.into_iter().map(ratio).collect()))
    }

    /// Gives the ready endpoints of a Service hints, unless it is not possible without overload.
    pub(super) fn add_hints(&self, slices: &mut [EndpointSlice]) {
        let mut endpoints: Vec<&mut Endpoint> = slices
            .iter_mut()
            .flat_map(|slice| &mut slice.endpoints)
            .filter(|endpoint| endpoint.conditions.ready == Some(true))
            .collect();
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        let Some(desired) = self.desired(count) else { return };
        let mut allocated: BTreeMap<String, u32> = BTreeMap::new();
        for endpoint in &endpoints {
            let Some(zone) = endpoint.zone.as_ref().filter(|zone| !zone.is_empty()) else { return };
            *allocated.entry(zone.clone()).or_default() += 1;
        }
        let (mut giving, mut receiving) = transfers(&desired, &allocated);
        for endpoint in &mut endpoints {
            let Some(own) = endpoint.zone.clone() else { continue };
            let receiver = receiving.iter().find(|(_, count)| **count > 0).map(|(zone, _)| zone.clone());
            let zone = match (giving.get_mut(&own).filter(|count| **count > 0), receiver) {
                (Some(give), Some(receiver)) => {
                    *give -= 1;
                    if let Some(receive) = receiving.get_mut(&receiver) {
                        *receive -= 1;
                    }
                    receiver
                }
                (Some(_) | None, _) => own,
            };
            endpoint.hints =
                Some(EndpointHints { for_zones: vec![ForZone { name: zone }], ..EndpointHints::default() });
        }
    }

    /// The desired number of endpoints by zone.
    ///
    /// Kubernetes: `getAllocations`.
    fn desired(&self, endpoints: u32) -> Option<BTreeMap<String, f64>> {
        let ratios = self.0.as_ref().filter(|ratios| ratios.len() <= endpoints as usize)?;
        let mut least = 0.0;
        let mut desired = BTreeMap::new();
        for (zone, ratio) in ratios {
            let wanted = ratio * f64::from(endpoints);
            let minimum = (wanted * (1.0 / (1.0 + OVERLOAD_MAX))).ceil();
            least += minimum;
            desired.insert(zone.clone(), wanted.max(minimum));
        }
        (least <= f64::from(endpoints)).then_some(desired)
    }
}

/// The numbers of endpoints that zones give and receive.
///
/// Kubernetes: `getGivingAndReceivingZones`. Deviation: of zones with equal needs, the first by name; there the order of a map.
fn transfers(
    desired: &BTreeMap<String, f64>,
    allocated: &BTreeMap<String, u32>,
) -> (BTreeMap<String, u32>, BTreeMap<String, u32>) {
    let mut surplus: BTreeMap<&String, f64> = BTreeMap::new();
    let mut needs: BTreeMap<&String, f64> = BTreeMap::new();
    for (zone, wanted) in desired {
        let has = f64::from(allocated.get(zone).copied().unwrap_or(0));
        if has > *wanted {
            surplus.insert(zone, has - wanted);
        } else if has < *wanted {
            needs.insert(zone, wanted - has);
        }
    }
    let (mut giving, mut receiving) = (BTreeMap::new(), BTreeMap::new());
    while let (Some((giver, give)), Some((receiver, receive))) = (most(&surplus), most(&needs)) {
        if (give < 1.0 && receive < 1.0) || give < 0.5 || receive < 0.5 {
            break;
        }
        *giving.entry(giver.clone()).or_default() += 1;
        *receiving.entry(receiver.clone()).or_default() += 1;
        surplus.insert(giver, give - 1.0);
        needs.insert(receiver, receive - 1.0);
    }
    (giving, receiving)
}

/// The zone with the greatest number, if it is positive.
fn most<'a>(zones: &BTreeMap<&'a String, f64>) -> Option<(&'a String, f64)> {
    let mut found: Option<(&String, f64)> = None;
    for (zone, number) in zones {
        if *number > found.map_or(0.0, |(_, most)| most) {
            found = Some((zone, *number));
        }
    }
    found
}

/// Kubernetes: `hasExcludedLabels`.
fn is_control_plane(node: &Node) -> bool {
    let labels = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
    labels.iter().any(|label| node.metadata.labels.contains_key(*label))
}

fn is_ready(node: &Node) -> bool {
    let ready = node.status.conditions.iter().find(|condition| condition.condition_type == "Ready");
    node.status.conditions.is_empty() || ready.is_some_and(|condition| condition.status == "True")
}

/// Thousandths of a CPU: `4`, `3920m`, `0.5`. Other suffixes do not occur for CPUs.
fn milli_cpus(text: &str) -> Option<u32> {
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse().ok();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = format!("{fraction:0<3}");
    let fraction: u32 = fraction.get(..3)?.parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_read_as_quantities() {
        let cases =
            [("4", Some(4000)), ("3920m", Some(3920)), ("0.5", Some(500)), ("1.25", Some(1250)), ("x", None)];
        for (text, expected) in cases {
            assert_eq!(milli_cpus(text), expected, "{text}");
        }
    }

    /// CPUs by zone, the zones of endpoints, and their hints; none if a zone would be overloaded.
    type Case<'a> = (&'a [(&'a str, u32)], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn zones_get_endpoints_in_proportion_to_their_cpus() {
        let cases: [Case<'_>; 5] = [
            (&[("a", 8), ("b", 4)], &["a", "a", "b"], &["a", "a", "b"]),
            (&[("a", 4), ("b", 4)], &["a", "a", "a", "b"], &["b", "a", "a", "b"]),
            (&[("a", 4), ("b", 4)], &["a"], &[]),
            (&[("a", 4), ("b", 4)], &["a", "b", "b"], &[]),
            (&[("a", 4)], &["a", "a"], &[]),
        ];
        for (cpus, zones, expected) in cases {
            let total: u32 = cpus.iter().map(|(_, cpu)| cpu).sum();
            let ratios =
                cpus.iter().map(|(zone, cpu)| ((*zone).to_owned(), f64::from(*cpu) / f64::from(total)));
            let ratios = ZoneRatios((cpus.len() >= 2).then(|| ratios.collect()));
            let endpoint = |zone: &&str| {
                let mut endpoint = Endpoint { zone: Some((*zone).to_owned()), ..Endpoint::default() };
                endpoint.conditions.ready = Some(true);
                endpoint
            };
            let endpoints = zones.iter().map(endpoint).collect();
            let mut slices = [EndpointSlice { endpoints, ..EndpointSlice::default() }];
            ratios.add_hints(&mut slices);
            let hints: Vec<&str> = slices[0]
                .endpoints
                .iter()
                .filter_map(|endpoint| Some(endpoint.hints.as_ref()?.for_zones[0].name.as_str()))
                .collect();
            assert_eq!(hints, expected, "{cpus:?} {zones:?}");
        }
    }
}
