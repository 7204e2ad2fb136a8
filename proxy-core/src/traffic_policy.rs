//! Selects the endpoints that may serve a service port on a node.

use crate::endpoint::Endpoint;

/// The inputs besides the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// Some traffic is served by all endpoints of the cluster
    /// ([`crate::service_port::ServicePort::uses_cluster_endpoints`]).
    pub uses_cluster_endpoints: bool,
    /// Some traffic is served by this node's endpoints only
    /// ([`crate::service_port::ServicePort::uses_local_endpoints`]).
    pub uses_local_endpoints: bool,
    /// This node's zone, if it has one.
    pub zone: Option<&'a str>,
    /// This node's name, if node hints are supported.
    pub node_for_hints: Option<&'a str>,
}

/// The result: indexes into the list of endpoints, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Categories {
    /// Serve traffic with policy Cluster.
    pub cluster: Vec<u32>,
    /// Serve traffic with policy Local.
    pub local: Vec<u32>,
    /// The union of both.
    pub all_reachable: Vec<u32>,
    /// Some endpoint in the cluster could serve.
    pub has_any: bool,
}

/// Categorizes the endpoints of a service port that may serve, as seen from one node.
///
/// An endpoint is a *candidate* if it is ready. Without candidates, serving endpoints that are terminating take over,
/// so that a rolling update leaves no gap.
///
/// * **cluster**: all ready endpoints of the cluster, narrowed to this node's or this zone's if hints allow it (see
///   `narrowed_by_hints`); if no endpoint of the cluster is ready, all that are serving and terminating, regardless of
///   hints. Empty if no traffic has policy Cluster.
/// * **local**: the ready endpoints on this node, regardless of hints; if there is none on this node, those on this
///   node that are serving and terminating. Endpoints of other nodes do not matter here. Empty if no traffic has policy
///   Local.
/// * **all reachable**: the union of the two.
/// * **has any**: some endpoint of the cluster, on any node, is ready, or serving and terminating. This distinguishes
///   "no endpoints at all" (reject) from "no endpoints on this node" (drop, so that a load balancer tries another
///   node).
///
/// kube-proxy: `CategorizeEndpoints`, pkg/proxy/topology.go.
pub fn categorize(endpoints: &[Endpoint], question: &Question<'_>) -> Categories {
    let select = |keep: &dyn Fn(&Endpoint) -> bool| -> Vec<u32> {
        (0..).zip(endpoints).filter(|(_, endpoint)| keep(endpoint)).map(|(index, _)| index).collect()
    };
    let ready = |endpoint: &Endpoint| endpoint.is_ready;
    let draining = |endpoint: &Endpoint| endpoint.is_serving && endpoint.is_terminating;

    let cluster = if !question.uses_cluster_endpoints {
        Vec::new()
    } else if endpoints.iter().any(ready) {
        let narrowed = narrowed_by_hints(endpoints, question);
        select(&|endpoint| ready(endpoint) && narrowed.admits(endpoint))
    } else {
        select(&draining)
    };
    let local = if !question.uses_local_endpoints {
        Vec::new()
    } else if endpoints.iter().any(|endpoint| endpoint.is_local && ready(endpoint)) {
        select(&|endpoint| endpoint.is_local && ready(endpoint))
    } else {
        select(&|endpoint| endpoint.is_local && draining(endpoint))
    };
    Categories {
        all_reachable: union(&cluster, &local),
        has_any: endpoints.iter().any(|endpoint| ready(endpoint) || draining(endpoint)),
        cluster,
        local,
    }
}

/// How hints narrow the endpoints of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Narrowing<'a> {
    /// Not at all.
    None,
    /// To those hinted for this node.
    ToNode(&'a str),
    /// To those hinted for this zone.
    ToZone(&'a str),
}

impl Narrowing<'_> {
    fn admits(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::None => true,
            Self::ToNode(node) => endpoint.node_hints.iter().any(|hint| **hint == *node),
            Self::ToZone(zone) => endpoint.zone_hints.iter().any(|hint| **hint == *zone),
        }
    }
}

/// Hints are used only if every ready endpoint has some and at least one matches: an incomplete set of hints, as during
/// a change, would overload some endpoints or leave none. Node hints take precedence over zone hints.
///
/// kube-proxy: `topologyModeFromHints` (earlier `canUseTopology`), pkg/proxy/topology.go.
fn narrowed_by_hints<'a>(endpoints: &[Endpoint], question: &Question<'a>) -> Narrowing<'a> {
    let usable = |narrowing: Narrowing<'_>, has_hints: fn(&Endpoint) -> bool| {
        let mut ready = endpoints.iter().filter(|endpoint| endpoint.is_ready);
        ready.clone().all(has_hints) && ready.any(|endpoint| narrowing.admits(endpoint))
    };
    if let Some(node) = question.node_for_hints
        && usable(Narrowing::ToNode(node), |endpoint| !endpoint.node_hints.is_empty())
    {
        return Narrowing::ToNode(node);
    }
    if let Some(zone) = question.zone
        && usable(Narrowing::ToZone(zone), |endpoint| !endpoint.zone_hints.is_empty())
    {
        return Narrowing::ToZone(zone);
    }
    Narrowing::None
}

/// Merges two ascending lists without duplicates.
fn union(left: &[u32], right: &[u32]) -> Vec<u32> {
    if left.is_empty() {
        return right.to_vec();
    }
    let mut merged = [left, right].concat();
    merged.sort_unstable();
    merged.dedup();
    merged
}

#[cfg(test)]
mod tests;
