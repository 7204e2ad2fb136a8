//! Reads `spec.network`.

use proxy_core::objects::Protocol;

use super::{FieldFault, Reader, not_ipv4, unknown_word};
use crate::manifest::port_range;
use crate::scenario::document::{self, ScalarText};
use crate::scenario::reference::is_name;
use crate::scenario::{
    Cni, ExternalHost, Gateway, HostRoute, Masquerade, Network, NodeAddress, NodeDevice, NodeNetwork,
    ObjectName, Target, Via,
};

const CNIS: [(&str, Cni); 3] = [("bridge", Cni::Bridge), ("ptp", Cni::Ptp), ("vxlan", Cni::Vxlan)];

/// The longest prefix of a cluster CIDR: room for one node's /24.
const CLUSTER_PREFIX_MAX: u8 = 24;

impl Reader {
    pub(super) fn network(&mut self, raw: document::RawNetwork) -> Network {
        let mut network = Network::default();
        if let Some(cni) = &raw.cni {
            let known = CNIS.map(|(name, _)| name);
            let row = CNIS.iter().find(|(name, _)| name == cni);
            let cni = row.map(|(_, cni)| *cni).ok_or_else(|| unknown_word("CNI", cni, &known));
            network.cni = self.field("spec.network.cni", cni);
        }
        if let Some(name) = &raw.masquerade {
            let known = Masquerade::ALL.map(Masquerade::name);
            let plugin = Masquerade::ALL.into_iter().find(|plugin| plugin.name() == name);
            let plugin = plugin.ok_or_else(|| unknown_word("network plug-in", name, &known));
            network.masquerade = self.field("spec.network.masquerade", plugin).unwrap_or(network.masquerade);
        }
        if let Some(text) = &raw.cluster_cidr {
            const PATH: &str = "spec.network.clusterCIDR";
            network.cluster_cidr = self.cidr(PATH, text);
            if network.cluster_cidr.is_some_and(|cidr| cidr.prefix_len() > CLUSTER_PREFIX_MAX) {
                let fault = FieldFault::new(format!("{text} is too small for the /24 of a node"));
                self.fault(PATH, fault.expected("a prefix of at most 24 bits"));
            }
        }
        if let Some(text) = &raw.service_cidr {
            network.service_cidr = self.cidr("spec.network.serviceCIDR", text);
        }
        if let Some(text) = &raw.node_port_range {
            let range = port_range(&text.0).ok_or_else(|| {
                FieldFault::new(format!("invalid range of ports {:?}", text.0))
                    .expected("the first and the last one, such as 30000-32767")
            });
            network.node_ports = self.field("spec.network.nodePortRange", range);
        }
        network.node_cidr = raw.node_cidr.and_then(|text| self.cidr("spec.network.nodeCIDR", &text));
        match raw.gateway.as_deref() {
            None => {}
            Some("none") => network.gateway = Gateway::None,
            Some(text) => {
                let address = text.parse().map_err(|_| not_ipv4(text, "none or an IPv4 address"));
                let address = self.field("spec.network.gateway", address);
                network.gateway = address.map_or(Gateway::None, Gateway::Address);
            }
        }
        network.is_hairpin = raw.hairpin.unwrap_or(network.is_hairpin);
        network.pod_mtu = raw.mtu.and_then(|mtu| self.mtu("spec.network.mtu", mtu));
        network.sysctls = raw.sysctls.into_iter().map(|(name, value)| (name, value.0)).collect();
        for (name, document::RawNodeNetwork { ipset, iptables, ip_routes, ip_rules, addresses }) in raw.nodes
        {
            let has_text = ipset.is_some() || iptables.is_some();
            if !has_text && ip_routes.is_empty() && ip_rules.is_empty() && addresses.is_empty() {
                let fault = FieldFault::new("this has no effect")
                    .expected("ipset, iptables, ipRoutes, ipRules or addresses");
                self.faults.push(fault.at_key(format!("spec.network.nodes.{name}")));
            }
            let addresses = self.node_addresses(&name, &addresses);
            network.nodes.insert(name, NodeNetwork { ipset, iptables, ip_routes, ip_rules, addresses });
        }
        for (name, pod) in raw.pods {
            let path = format!("spec.network.pods.{name}");
            let parts: Vec<&str> = name.split('/').collect();
            if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) {
                let fault = FieldFault::new(format!("invalid name {name:?} of a Pod"));
                self.faults.push(fault.expected("[NAMESPACE/]NAME").at_key(path));
                continue;
            }
            let listen = self.listen(&path, &pod.listen);
            network.pods.insert(ObjectName::of(&parts), listen);
        }
        for (index, host) in raw.external_hosts.into_iter().enumerate() {
            let path = format!("spec.network.externalHosts[{index}]");
            network.external_hosts.extend(self.external_host(&path, host));
        }
        network
    }

    fn node_addresses(&mut self, node: &str, raw: &[document::RawNodeAddress]) -> Vec<NodeAddress> {
        const DEVICES: [NodeDevice; 3] = [NodeDevice::Loopback, NodeDevice::Uplink, NodeDevice::SecondUplink];
        let mut addresses = Vec::new();
        for (index, document::RawNodeAddress { device, address }) in raw.iter().enumerate() {
            let path = format!("spec.network.nodes.{node}.addresses[{index}]");
            let known = DEVICES.map(NodeDevice::name);
            let found = DEVICES.into_iter().find(|known| known.name() == device);
            let device = self.field(
                &format!("{path}.device"),
                found.ok_or_else(|| unknown_word("device", device, &known)),
            );
            let net = address.parse().map_err(|_| {
                not_ipv4(address, "an IPv4 address with its prefix length, such as 192.0.2.1/32")
            });
            let net = self.field(&format!("{path}.address"), net);
            addresses.extend(device.zip(net).map(|(device, net)| NodeAddress { device, net }));
        }
        addresses
    }

    fn external_host(&mut self, path: &str, raw: document::RawExternalHost) -> Option<ExternalHost> {
        if !is_name(&raw.name) || raw.name.parse::<std::net::IpAddr>().is_ok() {
            let fault = FieldFault::new(format!("invalid host name {:?}", raw.name));
            self.fault(
                &format!("{path}.name"),
                fault.expected("letters, digits, '-', '_' and '.', but not an address"),
            );
        }
        let ip = self.address(&format!("{path}.ip"), &raw.ip);
        let gateway = raw.gateway.and_then(|text| self.via(&format!("{path}.gateway"), &text));
        let mut routes = Vec::new();
        for (index, route) in raw.routes.iter().enumerate() {
            let to = self.cidr(&format!("{path}.routes[{index}].to"), &route.to);
            let via = self.via(&format!("{path}.routes[{index}].via"), &route.via);
            routes.extend(to.zip(via).map(|(to, via)| HostRoute { to, via }));
        }
        let listen = self.listen(path, &raw.listen);
        Some(ExternalHost { name: raw.name, ip: ip?, gateway, routes, listen })
    }

    fn listen(&mut self, path: &str, texts: &[ScalarText]) -> Vec<(Protocol, u16)> {
        let mut listen = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let port =
                listen_port(text).and_then(|(protocol, port)| match listen.contains(&(protocol, port)) {
                    true => Err(FieldFault::new(format!("duplicate port {port}/{}", protocol.lower()))),
                    false => Ok((protocol, port)),
                });
            listen.extend(self.field(&format!("{path}.listen[{index}]"), port));
        }
        listen
    }

    fn via(&mut self, path: &str, text: &str) -> Option<Via> {
        let via = match Target::parse(text) {
            Ok(Target::Name(name)) if name == "link" => Ok(Via::Link),
            Ok(Target::Node(name)) => Ok(Via::Node(name)),
            Ok(Target::Address(std::net::IpAddr::V4(address))) => Ok(Via::Address(address)),
            Ok(
                Target::Address(_) | Target::Host(_) | Target::Pod(_) | Target::Service(_) | Target::Name(_),
            )
            | Err(_) => Err(FieldFault::new(format!("invalid next hop {text:?}"))
                .expected("an IPv4 address, node/NAME or link")),
        };
        self.field(path, via)
    }
}

/// `80`, `80/tcp`, `53/udp`.
fn listen_port(text: &ScalarText) -> Result<(Protocol, u16), FieldFault> {
    let (number, protocol) = text.0.split_once('/').unwrap_or((&text.0, "tcp"));
    let protocol = match protocol {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    };
    let number = number.parse().ok().filter(|number| *number != 0);
    protocol.zip(number).ok_or_else(|| {
        FieldFault::new(format!("invalid port {:?}", text.0)).expected("a port such as 80 or 53/udp")
    })
}
