//! What kube-proxy knows about its node, independent of any Service.

mod ipvs;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::address::{family_of, family_of_net, parse_cidr, parse_ip};
use crate::error::ObjectError;
use crate::objects::{IpFamily, Kind, KubeProxyConfiguration, Node, ObjectMeta};
use crate::version::KubeProxyVersion;

pub use ipvs::{IpvsSettings, IpvsTimeouts, Scheduler};

/// What kube-proxy finds on the machine, as opposed to configuration files and the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The node's name: the host name unless overridden.
    pub node_name: String,
    /// The node's addresses, primary first. If empty, those of the Node object are used.
    pub node_ips: Vec<IpAddr>,
    /// The addresses on the machine's interfaces, with their prefix lengths.
    pub interface_addresses: Vec<IpNet>,
    /// `net.netfilter.nf_conntrack_tcp_be_liberal` is nonzero.
    pub tcp_be_liberal: bool,
    /// The nfacct counters exist (module `nfnetlink_acct`).
    pub has_nfacct: bool,
    /// iptables supports `--random-fully` (1.6.2 and later).
    pub has_random_fully: bool,
    /// Number of CPUs, which determines the conntrack table size.
    pub cpu_count: u32,
    /// The kube-proxy release.
    pub kube_proxy_version: KubeProxyVersion,
}

impl Machine {
    /// A machine with this name and defaults otherwise: loopback only, no nfacct, newest kube-proxy.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            node_ips: Vec::new(),
            interface_addresses: vec![
                IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8),
                IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
            ],
            tcp_be_liberal: false,
            has_nfacct: false,
            has_random_fully: true,
            cpu_count: 1,
            kube_proxy_version: KubeProxyVersion::default(),
        }
    }
}

/// Everything that kube-proxy's rules on a node depend on, except Services and endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The node's name: endpoints with this `nodeName` are local.
    pub node_name: String,
    /// The node's zone (label `topology.kubernetes.io/zone`).
    pub zone: Option<String>,
    /// The node's primary address of each family: `[IPv4, IPv6]`. Loopback if it has none.
    pub node_ips: [IpAddr; 2],
    /// The addresses on the node's interfaces.
    pub interface_addresses: Vec<IpNet>,
    /// How traffic from this node's Pods is detected, per family: `[IPv4, IPv6]`. `None`: not detected.
    pub local_traffic: [Option<LocalTraffic>; 2],
    /// Masquerade all traffic to ClusterIPs.
    pub masquerade_all: bool,
    /// The bit of the packet mark that requests masquerade, 0 to 31.
    pub masquerade_bit: u8,
    /// NodePorts are reachable on 127.0.0.0/8.
    pub localhost_node_ports: bool,
    /// Node addresses that accept NodePort traffic; empty for all.
    pub node_port_addresses: Vec<NodePortAddress>,
    /// conntrack does not mark packets outside the TCP window INVALID.
    pub tcp_be_liberal: bool,
    /// The nfacct counters exist.
    pub has_nfacct: bool,
    /// iptables supports `--random-fully`.
    pub has_random_fully: bool,
    /// conntrack sysctls that kube-proxy sets at start, in order.
    pub conntrack_sysctls: Vec<(String, String)>,
    /// Settings of IPVS mode.
    pub ipvs: IpvsSettings,
    /// The kube-proxy release.
    pub kube_proxy_version: KubeProxyVersion,
}

/// How packets from this node's Pods are distinguished from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalTraffic {
    /// Their source is in this CIDR.
    Source(IpNet),
    /// They enter through this device.
    Device(InterfaceName),
    /// They enter through a device whose name has this prefix.
    DevicePrefix(InterfaceName),
}

/// One entry of `nodePortAddresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddress {
    /// The node's addresses in this CIDR.
    Cidr(IpNet),
    /// The node's primary address of the family.
    Primary,
    /// Loopback addresses.
    Localhost,
    /// Every address.
    All,
}

/// The name or name prefix of a device, valid in a rule without quoting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Accepts 1 to 15 printable ASCII characters except white space, `/`, quotes, `+` and `!`; `None` otherwise.
    ///
    /// Linux: `dev_valid_name`, net/core/dev.c; the additional exclusions keep the words of a rule separate.
    pub fn new(name: &str) -> Option<Self> {
        const LENGTH_MAX: usize = 15; // IFNAMSIZ - 1
        let legal = |byte: u8| byte.is_ascii_graphic() && !b"/:\"'\\+!".contains(&byte);
        let valid = !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(legal);
        (valid && name != "." && name != ".." && !name.starts_with('-')).then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl NodeConfig {
    /// Reads kube-proxy's configuration and the Node object as kube-proxy does at start.
    ///
    /// # Errors
    /// A field that kube-proxy would reject, with its path.
    pub fn new(
        machine: Machine,
        configuration: &KubeProxyConfiguration,
        node: Option<&Node>,
    ) -> Result<Self, ObjectError> {
        let node_name = match configuration.hostname_override.trim() {
            "" => machine.node_name.clone(),
            name => name.to_lowercase(),
        };
        let node_ips = node_ips(&machine, configuration, node)?;
        Ok(Self {
            zone: node
                .and_then(|node| node.metadata.labels.get(ZONE_LABEL))
                .filter(|zone| !zone.is_empty())
                .cloned(),
            node_ips,
            local_traffic: local_traffic(configuration, node)?,
            masquerade_all: configuration.iptables.masquerade_all,
            masquerade_bit: masquerade_bit(configuration)?,
            localhost_node_ports: configuration.iptables.localhost_node_ports.unwrap_or(true),
            node_port_addresses: node_port_addresses(configuration, machine.kube_proxy_version)?,
            tcp_be_liberal: machine.tcp_be_liberal || configuration.conntrack.tcp_be_liberal,
            conntrack_sysctls: conntrack_sysctls(configuration, machine.cpu_count)?,
            ipvs: IpvsSettings::new(&configuration.ipvs)?,
            interface_addresses: machine.interface_addresses,
            has_nfacct: machine.has_nfacct,
            has_random_fully: machine.has_random_fully,
            kube_proxy_version: machine.kube_proxy_version,
            node_name,
        })
    }

    /// The node's primary address of this family.
    pub fn node_ip(&self, family: IpFamily) -> IpAddr {
        self.node_ips[family as usize]
    }
}

/// The label with a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

fn node_error(node: &Node, path: &str, found: &str, expected: &str) -> ObjectError {
    ObjectError::new(Kind::Node, &node.metadata, path, found, expected)
}

fn configuration_error(path: &str, found: &str, expected: &str) -> ObjectError {
    ObjectError::new(Kind::KubeProxyConfiguration, &ObjectMeta::default(), path, found, expected)
}

/// The primary address per family. kube-proxy: `getNodeIPs`, `detectNodeIPs`, cmd/kube-proxy/app/server.go:
/// the Node's InternalIPs, then its ExternalIPs; `bindAddress` overrides its family; loopback if there is
/// none.
fn node_ips(
    machine: &Machine,
    configuration: &KubeProxyConfiguration,
    node: Option<&Node>,
) -> Result<[IpAddr; 2], ObjectError> {
    let mut candidates = machine.node_ips.clone();
    if candidates.is_empty()
        && let Some(node) = node
    {
        for wanted in ["InternalIP", "ExternalIP"] {
            for (index, address) in node.status.addresses.iter().enumerate() {
                if address.address_type != wanted {
                    continue;
                }
                let path = format!("status.addresses[{index}].address");
                let ip = parse_ip(&address.address)
                    .ok_or_else(|| node_error(node, &path, &address.address, "an IP address"))?;
                candidates.push(ip);
            }
        }
    }
    let mut node_ips = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for ip in candidates.into_iter().rev() {
        node_ips[family_of(ip) as usize] = ip;
    }
    if !configuration.bind_address.is_empty() {
        let bind = parse_ip(&configuration.bind_address).ok_or_else(|| {
            configuration_error("bindAddress", &configuration.bind_address, "an IP address")
        })?;
        if !bind.is_unspecified() {
            node_ips[family_of(bind) as usize] = bind;
        }
    }
    Ok(node_ips)
}

/// kube-proxy: `getLocalDetectors`, cmd/kube-proxy/app/server_linux.go. Only the first CIDR of each family is used.
fn local_traffic(
    configuration: &KubeProxyConfiguration,
    node: Option<&Node>,
) -> Result<[Option<LocalTraffic>; 2], ObjectError> {
    const INTERFACE: &str = "the name of a network device (1 to 15 characters)";
    let detect = &configuration.detect_local;
    match configuration.detect_local_mode.as_str() {
        "" | "ClusterCIDR" => cluster_cidrs(configuration),
        "NodeCIDR" => node.map_or(Ok([None, None]), node_cidrs),
        "BridgeInterface" => {
            let name = InterfaceName::new(&detect.bridge_interface).ok_or_else(|| {
                configuration_error("detectLocal.bridgeInterface", &detect.bridge_interface, INTERFACE)
            })?;
            Ok([Some(LocalTraffic::Device(name.clone())), Some(LocalTraffic::Device(name))])
        }
        "InterfaceNamePrefix" => {
            // iptables: the prefix and its `+` share IFNAMSIZ, xtables_parse_interface, libxtables/xtables.c.
            let prefix = InterfaceName::new(&detect.interface_name_prefix)
                .filter(|prefix| prefix.as_str().len() < 15)
                .ok_or_else(|| {
                    let path = "detectLocal.interfaceNamePrefix";
                    configuration_error(path, &detect.interface_name_prefix, "a prefix of a device name")
                })?;
            Ok([Some(LocalTraffic::DevicePrefix(prefix.clone())), Some(LocalTraffic::DevicePrefix(prefix))])
        }
        mode => Err(configuration_error(
            "detectLocalMode",
            mode,
            "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix",
        )),
    }
}

fn cluster_cidrs(configuration: &KubeProxyConfiguration) -> Result<[Option<LocalTraffic>; 2], ObjectError> {
    let mut nets = Vec::new();
    for text in configuration.cluster_cidr.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        nets.push(
            parse_cidr(text)
                .ok_or_else(|| configuration_error("clusterCIDR", text, "a comma separated list of CIDRs"))?,
        );
    }
    Ok(first_of_each_family(&nets))
}

fn node_cidrs(node: &Node) -> Result<[Option<LocalTraffic>; 2], ObjectError> {
    let mut nets = Vec::new();
    for (index, text) in node.spec.pod_cidrs.iter().enumerate() {
        let path = format!("spec.podCIDRs[{index}]");
        nets.push(parse_cidr(text).ok_or_else(|| node_error(node, &path, text, "a CIDR"))?);
    }
    if nets.is_empty() && !node.spec.pod_cidr.is_empty() {
        let text = &node.spec.pod_cidr;
        nets.push(parse_cidr(text).ok_or_else(|| node_error(node, "spec.podCIDR", text, "a CIDR"))?);
    }
    Ok(first_of_each_family(&nets))
}

fn first_of_each_family(nets: &[IpNet]) -> [Option<LocalTraffic>; 2] {
    [IpFamily::V4, IpFamily::V6]
        .map(|family| nets.iter().copied().find(|net| family_of_net(net) == family).map(LocalTraffic::Source))
}

fn masquerade_bit(configuration: &KubeProxyConfiguration) -> Result<u8, ObjectError> {
    const MASQUERADE_BIT_DEFAULT: i32 = 14;
    let bit = configuration.iptables.masquerade_bit.unwrap_or(MASQUERADE_BIT_DEFAULT);
    u8::try_from(bit).ok().filter(|bit| *bit < 32).ok_or_else(|| {
        configuration_error("iptables.masqueradeBit", &bit.to_string(), "a bit number from 0 to 31")
    })
}

fn node_port_addresses(
    configuration: &KubeProxyConfiguration,
    version: KubeProxyVersion,
) -> Result<Vec<NodePortAddress>, ObjectError> {
    let list = &configuration.node_port_addresses;
    let mut addresses = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let mixes = version.mixes_node_port_address_keywords();
        let expected =
            if mixes { "a CIDR, primary, localhost or all" } else { "a list of CIDRs, or primary alone" };
        let error = || configuration_error(&format!("nodePortAddresses[{index}]"), text, expected);
        let address = match text.as_str() {
            "primary" if mixes || list.len() == 1 => NodePortAddress::Primary,
            "localhost" if mixes => NodePortAddress::Localhost,
            "all" if mixes => NodePortAddress::All,
            cidr => NodePortAddress::Cidr(parse_cidr(cidr).ok_or_else(error)?),
        };
        addresses.push(address);
    }
    Ok(addresses)
}

/// The conntrack sysctls that kube-proxy sets at start: `setupConntrack`, cmd/kube-proxy/app/server_linux.go. Defaults
/// are those of its configuration API.
fn conntrack_sysctls(
    configuration: &KubeProxyConfiguration,
    cpu_count: u32,
) -> Result<Vec<(String, String)>, ObjectError> {
    const MAX_PER_CORE_DEFAULT: i32 = 32 * 1024;
    const MIN_DEFAULT: i32 = 128 * 1024;
    let conntrack = &configuration.conntrack;
    let mut sysctls = Vec::new();
    let mut set = |name: &str, value: String| {
        sysctls.push((format!("net.netfilter.nf_conntrack_{name}"), value));
    };
    let count = |path: &str, number: Option<i32>, default: i32| {
        let number = number.unwrap_or(default);
        u64::try_from(number).map_err(|_| configuration_error(path, &number.to_string(), "0 or more"))
    };
    let per_core = count("conntrack.maxPerCore", conntrack.max_per_core, MAX_PER_CORE_DEFAULT)?;
    let floor = count("conntrack.min", conntrack.min, MIN_DEFAULT)?;
    if per_core > 0 {
        set("max", (per_core * u64::from(cpu_count)).max(floor).to_string());
    }
    let timeouts = [
        ("tcp_timeout_established", "tcpEstablishedTimeout", &conntrack.tcp_established_timeout, 24 * 3600),
        ("tcp_timeout_close_wait", "tcpCloseWaitTimeout", &conntrack.tcp_close_wait_timeout, 3600),
        ("udp_timeout", "udpTimeout", &conntrack.udp_timeout, 0),
        ("udp_timeout_stream", "udpStreamTimeout", &conntrack.udp_stream_timeout, 0),
    ];
    for (name, field, text, default) in timeouts {
        let seconds = match text {
            None => default,
            Some(text) => parse_duration(text).ok_or_else(|| {
                configuration_error(&format!("conntrack.{field}"), text, "a duration such as 1h0m0s")
            })?,
        };
        if seconds > 0 {
            set(name, seconds.to_string());
        }
        if name == "tcp_timeout_close_wait" && conntrack.tcp_be_liberal {
            set("tcp_be_liberal", "1".to_owned());
        }
    }
    Ok(sysctls)
}

/// Whole seconds of a Go duration with `h`, `m`, `s` and `ms`; `None` if it is invalid.
fn parse_duration(text: &str) -> Option<u64> {
    let mut milliseconds: u64 = 0;
    let mut rest = text;
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let factor = match &rest[..letters] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        rest = &rest[letters..];
        milliseconds = milliseconds.checked_add(number.checked_mul(factor)?)?;
    }
    Some(milliseconds / 1000)
}

#[cfg(test)]
mod tests;
