//! What a user types for a machine or a Service, as the reference of a step.

use std::net::Ipv4Addr;

use super::{Question, outside};
use crate::cluster::Cluster;
use crate::scenario::{ExternalHost, ObjectName, nearest};

/// A name that denotes nothing, or several things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NameError {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// Words before the slash that say what a reference denotes.
const KINDS: [&str; 4] = ["pod", "node", "host", "service"];

/// Ends of the DNS names of Services.
const DOMAINS: [&str; 2] = [".svc.cluster.local", ".svc"];

/// The client of a question.
pub(super) struct Client {
    /// Its reference.
    pub(super) reference: String,
    /// The external host that is assumed for an address without one.
    pub(super) assumed: Option<ExternalHost>,
}

/// The client.
pub(super) fn client(cluster: &Cluster, question: &Question) -> Result<Client, NameError> {
    let text = question.from.as_str();
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return by_address(cluster, ip, question.via.as_deref());
    }
    let reference = match text.split_once('/') {
        Some((kind, _)) if KINDS.contains(&kind) => text.to_owned(),
        Some((namespace, name)) => format!("pod/{namespace}/{name}"),
        None => only(text, "machine", machines(cluster, text), &machine_names(cluster))?,
    };
    Ok(Client { reference, assumed: None })
}

/// Who has the address; on the nodes' network, an external host is assumed.
fn by_address(cluster: &Cluster, ip: Ipv4Addr, via: Option<&str>) -> Result<Client, NameError> {
    let known = |reference: String| Ok(Client { reference, assumed: None });
    if let Some(pod) = cluster.pod_at(ip) {
        return known(reference_of("pod", &pod.name));
    }
    if let Some(node) = cluster.nodes().iter().find(|node| node.ip == ip) {
        return known(format!("node/{}", node.name));
    }
    if let Some(host) = cluster.hosts().iter().find(|host| host.ip == ip) {
        return known(format!("host/{}", host.name));
    }
    let lan = cluster.lan();
    let Some(first) = cluster.nodes().first().filter(|_| lan.contains(&ip)) else {
        return Err(NameError {
            message: format!(
                "{ip} is not a Pod, a node or an external host, and not on the nodes' network {lan}"
            ),
            help: format!(
                "name a Pod or a node, or a free address of {lan} for a client outside the cluster"
            ),
        });
    };
    let gateway = match via {
        Some(name) => cluster.node(name).ok_or_else(|| unknown("node", name, &node_names(cluster)))?,
        None => first,
    };
    let name = if cluster.host("client").is_some() || cluster.node("client").is_some() {
        format!("client-{}", ip.to_string().replace('.', "-"))
    } else {
        "client".to_owned()
    };
    let assumed = Some(outside(name.clone(), ip, &gateway.name));
    Ok(Client { reference: format!("host/{name}"), assumed })
}

/// The destination, with its port.
pub(super) fn destination(cluster: &Cluster, text: &str) -> Result<String, NameError> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, format!(":{port}")),
        None => (text, String::new()),
    };
    if name.parse::<Ipv4Addr>().is_ok() || KINDS.iter().any(|kind| name.starts_with(&format!("{kind}/"))) {
        return Ok(text.to_owned());
    }
    if let Some((namespace, name)) = name.split_once('/') {
        return Ok(format!("service/{namespace}/{name}{port}"));
    }
    let short = DOMAINS.iter().find_map(|domain| name.strip_suffix(domain)).unwrap_or(name);
    if let Some((service, namespace)) = short.split_once('.') {
        let name = ObjectName::new(namespace, service);
        if cluster.service(&name).is_some() {
            return Ok(format!("{}{port}", reference_of("service", &name)));
        }
    }
    let services = named(
        cluster
            .services()
            .map(|service| ObjectName::new(service.metadata.namespace(), service.metadata.name.as_str())),
        short,
    );
    let found = match services.is_empty() {
        true => machines(cluster, short),
        false => services.iter().map(|name| reference_of("service", name)).collect(),
    };
    let mut known = machine_names(cluster);
    known.extend(cluster.services().map(|service| service.metadata.name.clone()));
    only(short, "Service or machine", found, &known).map(|reference| reference + &port)
}

/// Pods, nodes and external hosts of that name.
fn machines(cluster: &Cluster, text: &str) -> Vec<String> {
    let pods = named(cluster.pods().iter().map(|pod| pod.name.clone()), text);
    let pods = pods.iter().map(|name| reference_of("pod", name));
    let nodes = cluster.node(text).map(|node| format!("node/{}", node.name));
    let hosts = cluster.host(text).map(|host| format!("host/{}", host.name));
    pods.chain(nodes).chain(hosts).collect()
}

/// Objects of that name; the one of the default namespace alone, if there is one.
fn named(names: impl Iterator<Item = ObjectName>, text: &str) -> Vec<ObjectName> {
    let mut found: Vec<ObjectName> = names.filter(|name| name.name == text).collect();
    if let Some(own) = found.iter().find(|name| name.namespace == "default").cloned() {
        found = vec![own];
    }
    found
}

fn reference_of(kind: &str, name: &ObjectName) -> String {
    format!("{kind}/{}/{}", name.namespace, name.name)
}

fn only(text: &str, what: &str, mut found: Vec<String>, known: &[String]) -> Result<String, NameError> {
    match (found.pop(), found.len()) {
        (Some(reference), 0) => Ok(reference),
        (Some(last), _) => {
            found.push(last);
            Err(NameError {
                message: format!("{text} may be {}", found.join(" or ")),
                help: "write one of them".to_owned(),
            })
        }
        (None, _) => Err(unknown(what, text, known)),
    }
}

fn unknown(what: &str, name: &str, known: &[String]) -> NameError {
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let help = match nearest(name, &known) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "name a Pod, a node, a Service or an address".to_owned(),
    };
    NameError { message: format!("no {what} {name:?}"), help }
}

fn node_names(cluster: &Cluster) -> Vec<String> {
    cluster.nodes().iter().map(|node| node.name.clone()).collect()
}

fn machine_names(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.pods().iter().map(|pod| pod.name.name.clone());
    let hosts = cluster.hosts().iter().map(|host| host.name.clone());
    pods.chain(node_names(cluster)).chain(hosts).collect()
}
