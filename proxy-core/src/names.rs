//! Names of Services and their ports, and the chain names that are hashed from them.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use data_encoding::BASE32;
use sha2::{Digest, Sha256};

use crate::objects::Protocol;

/// Namespace and name of an object, printed `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The Service of this namespace and name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self([namespace, "/", name].concat().into())
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What kube-proxy keeps rules for: one port of one Service, for one protocol.
///
/// Ordered by its printed form, which is the order of rules in the chains that all Services share.
#[derive(Clone)]
pub struct ServicePortName {
    text: Arc<str>,
    /// Bytes of `text` that name the Service.
    service_length: usize,
    protocol: Protocol,
}

impl ServicePortName {
    /// The port named `port` (may be empty) of a Service.
    pub fn new(service: &ServiceName, port: &str, protocol: Protocol) -> Self {
        let colon = if port.is_empty() { "" } else { ":" };
        Self {
            text: [service.as_str(), colon, port].concat().into(),
            service_length: service.as_str().len(),
            protocol,
        }
    }

    /// The two ranges in which all ports of a Service lie: the one without a name, and those with one. Other
    /// Services may lie between them (`a/b`, `a/b-c:x`, `a/b:x`).
    pub(crate) fn ranges_of(service: &ServiceName) -> [(Bound<Self>, Bound<Self>); 2] {
        let bound = |end: &str, protocol: Protocol| Self {
            text: [service.as_str(), end].concat().into(),
            service_length: 0,
            protocol,
        };
        // `;` is the character after `:`.
        [
            (Bound::Included(bound("", Protocol::Tcp)), Bound::Included(bound("", Protocol::Sctp))),
            (Bound::Included(bound(":", Protocol::Tcp)), Bound::Excluded(bound(";", Protocol::Tcp))),
        ]
    }

    /// The Service.
    pub fn service(&self) -> ServiceName {
        ServiceName(self.text[..self.service_length].into())
    }

    /// The port's name, possibly empty.
    pub fn port(&self) -> &str {
        self.text[self.service_length..].trim_start_matches(':')
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// `namespace/name:port`, without a colon when the port has no name.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ServicePortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for ServicePortName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.text, self.protocol.lower())
    }
}

// The printed form says everything but the protocol: names hold neither `/` nor `:`.
impl Ord for ServicePortName {
    fn cmp(&self, other: &Self) -> Ordering {
        // Plans of before and after an update share their names: most comparisons end with the pointer.
        let text =
            if Arc::ptr_eq(&self.text, &other.text) { Ordering::Equal } else { self.text.cmp(&other.text) };
        text.then(self.protocol.cmp(&other.protocol))
    }
}

impl PartialOrd for ServicePortName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ServicePortName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ServicePortName {}

/// What the chains of one service port, or of one endpoint, are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainKind {
    /// Traffic for external destinations: masquerade and short circuits.
    External,
    /// Traffic that `loadBalancerSourceRanges` lets through.
    Firewall,
    /// One endpoint.
    Endpoint,
    /// Choice among all endpoints of the cluster.
    Cluster,
    /// Choice among the endpoints of this node.
    Local,
}

/// Prefix of each kind of chain. kube-proxy: pkg/proxy/iptables/proxier.go.
pub const CHAIN_PREFIXES: [(ChainKind, &str); 5] = [
    (ChainKind::External, "KUBE-EXT-"),
    (ChainKind::Firewall, "KUBE-FW-"),
    (ChainKind::Endpoint, "KUBE-SEP-"),
    (ChainKind::Cluster, "KUBE-SVC-"),
    (ChainKind::Local, "KUBE-SVL-"),
];

/// The name of a chain that belongs to one service port: `KUBE-SVC-XPGD46QRK7WJZT7O`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName {
    kind: ChainKind,
    /// The text, and zeros where it is shorter.
    text: [u8; ChainName::LENGTH_MAX],
}

impl ChainName {
    const LENGTH_MAX: usize = 9 + Hash::LENGTH;

    /// What the chain is for.
    pub fn kind(&self) -> ChainKind {
        self.kind
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let length = CHAIN_PREFIXES[self.kind as usize].1.len() + Hash::LENGTH;
        std::str::from_utf8(&self.text[..length]).expect("prefixes and base32 are ASCII")
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for ChainName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The hashed part of a chain name: 16 base32 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; Hash::LENGTH]);

impl Hash {
    const LENGTH: usize = 16;

    /// The hash in all chain names of a service port.
    ///
    /// kube-proxy: `portProtoHash`, pkg/proxy/iptables/proxier.go. Chain names have at most 28 characters in
    /// the kernel (XT_EXTENSION_MAXNAMELEN), so names are hashed and cut.
    pub(crate) fn of_service_port(name: &ServicePortName) -> Self {
        Self::of(&[name.as_str(), name.protocol.lower()])
    }

    /// The hash in the chain name of one endpoint; `endpoint` is `ip:port` or `[ip]:port`.
    ///
    /// kube-proxy: `servicePortEndpointChainName`, pkg/proxy/iptables/proxier.go.
    pub(crate) fn of_endpoint(name: &ServicePortName, endpoint: &str) -> Self {
        Self::of(&[name.as_str(), name.protocol.lower(), endpoint])
    }

    /// The chain of this kind with this hash.
    pub(crate) fn chain(self, kind: ChainKind) -> ChainName {
        let prefix = CHAIN_PREFIXES[kind as usize].1.as_bytes();
        let mut text = [0; ChainName::LENGTH_MAX];
        text[..prefix.len()].copy_from_slice(prefix);
        text[prefix.len()..prefix.len() + Self::LENGTH].copy_from_slice(&self.0);
        ChainName { kind, text }
    }

    fn of(parts: &[&str]) -> Self {
        // Ten bytes make sixteen characters of five bits.
        const BYTES_USED: usize = 10;
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.as_bytes());
        }
        let mut characters = [0; Self::LENGTH];
        BASE32.encode_mut(&digest.finalize()[..BYTES_USED], &mut characters);
        Self(characters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_port(text: &str, protocol: Protocol) -> ServicePortName {
        let (namespace, rest) = text.split_once('/').unwrap();
        let (name, port) = rest.split_once(':').unwrap_or((rest, ""));
        ServicePortName::new(&ServiceName::new(namespace, name), port, protocol)
    }

    // Pairs that upstream's unit tests and well-known clusters show.
    #[test]
    fn chain_names_are_those_of_real_clusters() {
        let services = [
            ("ns1/svc1:p80", Protocol::Tcp, "KUBE-SVC-XPGD46QRK7WJZT7O"),
            ("ns2/svc2:p80", Protocol::Tcp, "KUBE-SVC-GNZBNJ2PO5MGZ6GT"),
            ("ns3/svc3:p80", Protocol::Tcp, "KUBE-SVC-X27LE4BHSL4DOUIK"),
            ("ns4/svc4:p80", Protocol::Tcp, "KUBE-SVC-4SW47YFZTEDKD3PK"),
            ("ns5/svc5:p80", Protocol::Tcp, "KUBE-SVC-NUKIZ6OKUXPJNT4C"),
            ("ns2/svc2:p8080", Protocol::Tcp, "KUBE-SVC-2VJB64SDSIJUP5T6"),
            ("default/kubernetes:https", Protocol::Tcp, "KUBE-SVC-NPX46M4PTMTKRN6Y"),
            ("kube-system/kube-dns:dns", Protocol::Udp, "KUBE-SVC-TCOU7JCQXEZGVUNU"),
            ("kube-system/kube-dns:dns-tcp", Protocol::Tcp, "KUBE-SVC-ERIFXISQEP7F7OF4"),
            ("kube-system/kube-dns:metrics", Protocol::Tcp, "KUBE-SVC-JD5MR3NA4I4DYORP"),
        ];
        for (name, protocol, expected) in services {
            let hash = Hash::of_service_port(&service_port(name, protocol));
            assert_eq!(hash.chain(ChainKind::Cluster).to_string(), expected, "{name}");
        }
        let endpoints = [
            ("ns1/svc1:p80", "10.180.0.1:80", "KUBE-SEP-SXIVWICOYRO3J4NJ"),
            ("ns1/svc1:p80", "10.0.1.1:80", "KUBE-SEP-SNQ3ZNILQDEJNDQO"),
            ("ns5/svc5:p80", "10.180.0.3:80", "KUBE-SEP-I77PXRDZVX7PMWMN"),
        ];
        for (name, endpoint, expected) in endpoints {
            let hash = Hash::of_endpoint(&service_port(name, Protocol::Tcp), endpoint);
            assert_eq!(hash.chain(ChainKind::Endpoint).to_string(), expected, "{name} {endpoint}");
        }
    }

    #[test]
    fn prefixes_stand_in_the_order_of_the_kinds() {
        for (index, (kind, _)) in CHAIN_PREFIXES.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    #[test]
    fn a_port_without_name_prints_no_colon() {
        assert_eq!(service_port("a/b", Protocol::Tcp).to_string(), "a/b");
        assert_eq!(service_port("a/b:c", Protocol::Tcp).to_string(), "a/b:c");
    }
}
