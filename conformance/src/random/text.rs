//! Prints a random world as a scenario file.

mod nodes;
mod objects;
mod script;
mod second;
mod steps;
mod timeouts;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::world::{RandomAddress, RandomGateway, RandomHost, RandomNextHop, RandomNode, RandomWorld};
use crate::scenario::{API_VERSION, Cni, KIND, ProxyMode};

/// The slot of the first Pod that steps add, after those that may exist initially.
const FIRST_LATE_POD: u8 = 6;

/// The slot of the Pod that the first joining node brings.
const FIRST_JOINING_POD: u8 = FIRST_LATE_POD + 2;

/// Names of external hosts by slot, and the last byte of their addresses.
const HOSTS: [(&str, u8); 4] = [("client", 100), ("far", 101), ("near", 102), ("router", 103)];

impl RandomWorld {
    /// The world as a scenario file. It has no expectations: arms are compared with each other.
    ///
    /// # Panics
    /// Never: the output consists of maps, lists, strings and numbers.
    pub fn text(&self, name: &str) -> String {
        let mut documents = vec![self.scenario(name)];
        documents.extend(self.nodes.iter().zip(1..).map(|(node, number)| node_manifest(node, number)));
        documents.extend(objects::proxy(self));
        for (slot, pod) in (0..).zip(&self.pods) {
            documents.extend(pod.as_ref().map(|pod| objects::pod(slot, pod, &self.node_name(pod.node))));
        }
        for (slot, service) in (0..).zip(&self.services) {
            let Some(service) = service else { continue };
            documents.push(objects::service(slot, service, self));
            documents.extend(objects::slice(slot, service, self));
        }
        documents.iter_mut().for_each(prune);
        match serde_saphyr::to_string_multiple(&documents) {
            Ok(text) => text,
            Err(error) => unreachable!("maps, lists, texts and numbers can be printed: {error}"),
        }
    }

    fn scenario(&self, name: &str) -> Value {
        let mut sysctls = Map::new();
        sysctls.extend(self.scaled_timeouts());
        sysctls.extend(self.sysctls.iter().map(|sysctl| (sysctl.name.to_owned(), self.value(*sysctl))));
        let hosts: Vec<Value> =
            (0..).zip(&self.hosts).filter_map(|(slot, host)| Some(self.host(slot, host.as_ref()?))).collect();
        json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            "spec": {
                "intent": "random cluster: the simulator and the kernel must agree",
                "proxyModes": self.ipvs.map(|_| json!([ProxyMode::Ipvs.name()])),
                "network": {
                    "cni": match self.cni {
                        Cni::Bridge | Cni::Vxlan => None,
                        Cni::Ptp => Some("ptp"),
                    },
                    "mtu": self.mtu.filter(|mtu| mtu.party.is_none()).map(|mtu| mtu.bytes),
                    "hairpin": if self.is_hairpin { None } else { Some(false) },
                    "gateway": match self.gateway {
                        RandomGateway::Switch => None,
                        RandomGateway::Missing => Some("none".to_owned()),
                        RandomGateway::Host(slot) => Some(self.addr(RandomAddress::Host(slot))),
                    },
                    "sysctls": sysctls,
                    "nodes": self.own_settings(),
                    "externalHosts": hosts,
                },
                "steps": steps::print(self),
            },
        })
    }

    fn host(&self, slot: u8, host: &RandomHost) -> Value {
        let by = |via: RandomNextHop| match via {
            RandomNextHop::Node(node) => format!("node/{}", self.node_name(node)),
            RandomNextHop::Host(other) if other == slot => format!("node/{}", self.node_name(0)),
            RandomNextHop::Host(other) => self.addr(RandomAddress::Host(other)),
        };
        // A destination has one route.
        let routes: BTreeMap<&str, RandomNextHop> =
            host.routes.iter().map(|route| (route.to, route.via)).collect();
        let mut routes: Vec<Value> =
            routes.into_iter().map(|(to, node)| json!({"to": to, "via": by(node)})).collect();
        routes.extend(self.second_route());
        let (name, last) = HOSTS[usize::from(slot)];
        json!({
            "name": name,
            "ip": host_ip(last),
            "gateway": host.gateway.map(by),
            "routes": routes,
            "listen": if host.is_listening { &["443/tcp", "53/udp"][..] } else { &[] },
        })
    }

    /// The name of the node in a slot, or of the last node.
    fn node_name(&self, slot: u8) -> String {
        format!("node-{}", self.node_number(slot))
    }

    /// The number of the node in a slot, before any node joins or leaves.
    fn node_number(&self, slot: u8) -> usize {
        usize::from(slot).min(self.nodes.len().saturating_sub(1)) + 1
    }

    fn addr(&self, addr: RandomAddress) -> String {
        /// The first address of a node's Pods; the first of the network is the bridge's.
        const FIRST_POD: u8 = 2;
        match addr {
            RandomAddress::Host(slot) => host_ip(HOSTS[usize::from(slot)].1),
            RandomAddress::Node(slot) => self.node_ip(slot),
            RandomAddress::Bridge(slot) => format!("10.244.{}.1", self.node_number(slot)),
            RandomAddress::Pod(slot, place) => {
                format!("10.244.{}.{}", self.node_number(slot), FIRST_POD + place)
            }
            RandomAddress::Other(addr) => addr.to_owned(),
        }
    }

    fn node_ip(&self, slot: u8) -> String {
        format!("192.168.0.{}", 10 + self.node_number(slot))
    }
}

fn host_ip(last: u8) -> String {
    format!("192.168.0.{last}")
}

fn node_manifest(node: &RandomNode, number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": format!("node-{number}"),
            "labels": {"topology.kubernetes.io/zone": node.zone},
        },
        "status": {"addresses": [{"type": "InternalIP", "address": format!("192.168.0.{}", 10 + number)}]},
    })
}

/// Removes nulls, empty maps and empty lists. Keys are in kubectl's order.
fn prune(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !is_nothing(value));
            fields.sort_keys();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
