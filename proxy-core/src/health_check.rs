//! Responses of kube-proxy on the healthCheckNodePort of a Service.
//!
//! kube-proxy: pkg/proxy/healthcheck/service_health.go; `LocalReadyEndpoints`,
//! pkg/proxy/endpointschangetracker.go.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::ServiceName;
use crate::plan::Plan;

/// The health check of one Service on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// The listening TCP port: on all addresses, or on those that accept NodePort traffic.
    pub port: u16,
    /// Ready endpoints on this node; an address counts once over all ports of the Service. Terminating endpoints never
    /// count, even where they serve as a fallback: the load balancer should use another node.
    pub local_endpoints: usize,
}

/// An HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code, 200 or 503.
    pub status: u16,
    /// Header fields, in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: String,
}

/// The health checks of a node, by Service.
pub fn health_checks(plan: &Plan) -> BTreeMap<ServiceName, HealthCheck> {
    let mut addresses: BTreeMap<ServiceName, (u16, BTreeSet<_>)> = BTreeMap::new();
    for service in plan.services.values() {
        let Some(port) = service.health_check_node_port else { continue };
        let (_, known) = addresses.entry(service.name.service()).or_insert_with(|| (port, BTreeSet::new()));
        let local = service.endpoints.iter().filter(|endpoint| endpoint.is_local && endpoint.is_ready);
        known.extend(local.map(|endpoint| endpoint.address));
    }
    let checks = addresses.into_iter().map(|(service, (port, addresses))| {
        (service, HealthCheck { port, local_endpoints: addresses.len() })
    });
    checks.collect()
}

/// The response to a request. `proxy_is_healthy`: kube-proxy itself has synced recently.
pub fn answer(service: &ServiceName, check: HealthCheck, proxy_is_healthy: bool) -> Response {
    let count = check.local_endpoints;
    let (namespace, name) = (service.namespace(), service.name());
    Response {
        status: if count > 0 && proxy_is_healthy { 200 } else { 503 },
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("X-Load-Balancing-Endpoint-Weight", count.to_string()),
        ],
        // Names need no JSON escapes: they are DNS labels.
        body: [
            "{".to_owned(),
            "\t\"service\": {".to_owned(),
            format!("\t\t\"namespace\": \"{namespace}\","),
            format!("\t\t\"name\": \"{name}\""),
            "\t},".to_owned(),
            format!("\t\"localEndpoints\": {count},"),
            format!("\t\"serviceProxyHealthy\": {proxy_is_healthy}"),
            "}".to_owned(),
        ]
        .join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_depends_on_endpoints_and_on_the_proxy() {
        let service = ServiceName::new("prod", "web");
        for (local_endpoints, is_healthy, status) in [(0, true, 503), (1, true, 200), (2, false, 503)] {
            let response = answer(&service, HealthCheck { port: 32000, local_endpoints }, is_healthy);
            assert_eq!(response.status, status);
            assert_eq!(response.headers[2].1, local_endpoints.to_string());
            let body: serde_json::Value = serde_json::from_str(&response.body).unwrap();
            let expected = serde_json::json!({
                "service": {"namespace": "prod", "name": "web"},
                "localEndpoints": local_endpoints,
                "serviceProxyHealthy": is_healthy,
            });
            assert_eq!(body, expected);
        }
    }
}
