//! Addresses of nodes on a second device.

use serde_json::{Map, Value, json};

use crate::random::world::{RandomLoss, RandomSecondAddress, RandomWorld};

/// The second network.
const NETWORK: &str = "172.31.0.0/24";

impl RandomWorld {
    /// Each node has one additional address at most.
    fn seconds(&self) -> impl Iterator<Item = (usize, RandomSecondAddress)> + '_ {
        let first = |number| {
            let mut all = self.second.iter().flat_map(|second| &second.addresses);
            all.find(|address| self.node_number(address.node) == number)
        };
        (1..=self.nodes.len()).filter_map(move |number| Some((number, *first(number)?)))
    }

    /// The additional address of a node, if it has one, as in `spec.network.nodes`.
    pub(super) fn second_address(&self, number: usize) -> Option<Value> {
        let (_, address) = self.seconds().find(|(known, _)| *known == number)?;
        let (device, prefix) = if address.is_loopback { ("lo", 32) } else { ("eth1", 24) };
        let net = format!("{}/{prefix}", ip(number, address.is_loopback));
        Some(json!([{"device": device, "address": net}]))
    }

    /// True if a node has two devices on the switch.
    fn has_second_device(&self) -> bool {
        self.seconds().any(|(_, address)| !address.is_loopback)
    }

    /// The link that loses a share of its frames. None does where a node has two devices on the switch: both answer
    /// ARP requests, and of which one the answer was lost shows only in later packets.
    pub(in crate::random) fn lossy_link(&self) -> Option<RandomLoss> {
        self.loss.filter(|_| !self.has_second_device())
    }

    /// The route of a host to the second network, if there is one.
    pub(super) fn second_route(&self) -> Option<Value> {
        let second = self.second.as_ref()?;
        let via =
            second.via.map_or_else(|| "link".to_owned(), |slot| format!("node/{}", self.node_name(slot)));
        self.has_second_device().then(|| json!({"to": NETWORK, "via": via}))
    }

    /// The sysctls of nodes with such an address, as a step.
    pub(super) fn second_sysctls(&self) -> Option<Value> {
        let mut settings = Map::new();
        for (number, address) in self.seconds() {
            let Some(sysctl) = address.sysctl else { continue };
            let device = if address.is_loopback { "eth0" } else { "eth1" };
            let name = sysctl.name.replace("DEVICE", device);
            settings.insert(format!("node/node-{number}"), json!({"sysctl": {name: sysctl.value}}));
        }
        (!settings.is_empty()).then(|| json!({"set": settings}))
    }

    /// How steps refer to a node: by its additional address, if it has one.
    pub(super) fn node_reference(&self, number: usize) -> String {
        let second = self.seconds().find(|(known, _)| *known == number);
        second.map_or_else(|| format!("node/node-{number}"), |(_, address)| ip(number, address.is_loopback))
    }
}

/// The additional address of a node.
fn ip(number: usize, is_loopback: bool) -> String {
    if is_loopback { format!("192.168.0.{}", 50 + number) } else { format!("172.31.0.{}", 10 + number) }
}
