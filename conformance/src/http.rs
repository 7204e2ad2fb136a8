//! HTTP as kube-proxy speaks it to load balancers: its health checks, and requests of `connect` steps.

use std::fmt;

use proxy_core::health_check::{answer, health_checks};
use proxy_core::objects::IpFamily;
use proxy_core::version::KubeProxyVersion;

use crate::cluster::{Cluster, ClusterNode};
use crate::proxy::Planner;

/// The port of kube-proxy's own health (`healthzBindAddress`).
const HEALTHZ_PORT: u16 = 10256;

/// The header with the line that identifies the server; no server of a real cluster sends it.
const IDENTITY: &str = "Hairpin-Server";

/// What a server answers to a GET.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    /// Paths that it has; every path if empty.
    pub paths: Vec<&'static str>,
    /// The status code.
    pub status: u16,
    /// Header fields, in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// A response as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl fmt::Display for Fetched {
    /// In one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.body.split_whitespace().collect();
        write!(formatter, "HTTP {} {}", self.status, words.join(" "))
    }
}

impl Page {
    /// The response to what a client sends. Anything but a GET is a bad request.
    pub fn respond(&self, request: &[u8], identity: &str) -> Vec<u8> {
        let request = String::from_utf8_lossy(request);
        let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
        let plain = [("Content-Type", "text/plain; charset=utf-8".to_owned())];
        match path {
            None => write(400, &plain, "400 Bad Request", identity),
            Some(path) if !self.paths.is_empty() && !self.paths.contains(&path) => {
                write(404, &plain, "404 page not found\n", identity)
            }
            Some(_) => write(self.status, &self.headers, &self.body, identity),
        }
    }
}

/// A response in chunks, so that its last byte ends a line, as that of every server here.
fn write(status: u16, headers: &[(&'static str, String)], body: &str, identity: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "",
    };
    let mut text = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Transfer-Encoding: chunked\r\n{IDENTITY}: {}\r\n\r\n", identity.trim_end()));
    text.push_str(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    text.into_bytes()
}

/// A GET of a path.
pub fn get(path: &str, host: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// Parses a response: what its client sees, and the server's identity line. `None` if it is not one of [`Page::respond`].
pub(crate) fn read(bytes: &[u8]) -> Option<(Fetched, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let identity = lines.find_map(|line| line.strip_prefix(IDENTITY)?.strip_prefix(": "))?;
    let (size, rest) = rest.split_once("\r\n")?;
    let body = rest.get(..usize::from_str_radix(size, 16).ok()?)?.to_owned();
    Some((Fetched { status, body }, format!("{identity}\n")))
}

/// The ports on which kube-proxy of a node answers, and what.
///
/// kube-proxy: pkg/proxy/healthcheck/{proxy_health,service_health}.go. Deviation: the body of its own health lacks the times.
pub(crate) fn pages(cluster: &Cluster, node: &ClusterNode) -> Vec<(u16, Page)> {
    let is_eligible = is_eligible(cluster, node);
    let healthz = Page {
        paths: vec!["/healthz", "/livez"],
        status: if is_eligible { 200 } else { 503 },
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ],
        body: format!("{{\"nodeEligible\": {is_eligible}}}"),
    };
    let mut pages = vec![(HEALTHZ_PORT, healthz)];
    // A plan takes long in a large cluster, and few Services have a health check.
    if cluster.services().all(|service| service.spec.health_check_node_port == 0) {
        return pages;
    }
    let plan = Planner::new(cluster)
        .and_then(|planner| planner.plan(node, IpFamily::V4, KubeProxyVersion::default()));
    for (service, check) in plan.map(|plan| health_checks(&plan)).unwrap_or_default() {
        let response = answer(&service, check, true);
        pages.push((
            check.port,
            Page {
                paths: Vec::new(),
                status: response.status,
                headers: response.headers,
                body: response.body,
            },
        ));
    }
    pages
}

/// False for a node that is about to be deleted.
fn is_eligible(cluster: &Cluster, node: &ClusterNode) -> bool {
    let Some(object) = cluster.node_object(&node.name) else { return true };
    let is_to_be_deleted =
        object.spec.taints.iter().any(|taint| taint.key == "ToBeDeletedByClusterAutoscaler");
    object.metadata.deletion_timestamp.is_none() && !is_to_be_deleted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        let page =
            Page { paths: vec!["/healthz"], status: 503, headers, body: "{\n\t\"a\": 1\n}".to_owned() };
        let line = "192.168.0.11:30073 192.168.0.100:40000 192.168.0.11:30073\n";
        let cases: [(&[u8], &str); 3] = [
            (&get("/healthz", "192.168.0.11:30073"), "HTTP 503 { \"a\": 1 }"),
            (&get("/other", "192.168.0.11:30073"), "HTTP 404 404 page not found"),
            (b"hairpin\n", "HTTP 400 400 Bad Request"),
        ];
        for (request, expected) in cases {
            let response = page.respond(request, line);
            assert_eq!(response.last(), Some(&b'\n'));
            let (fetched, identity) = read(&response).unwrap();
            assert_eq!((fetched.to_string().as_str(), identity.as_str()), (expected, line));
        }
        assert_eq!(read(b"web 1.2.3.4:1 5.6.7.8:80\n"), None);
    }
}
