//! Chain names of service ports and endpoints, which contain a hash.

use std::fmt;

use data_encoding::BASE32;
use sha2::{Digest, Sha256};

use crate::names::ServicePortName;

/// The purpose of the chains of a service port or endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ChainKind {
    /// Traffic to external destinations: masquerade and short circuits.
    External,
    /// Traffic that `loadBalancerSourceRanges` accepts.
    Firewall,
    /// One endpoint.
    Endpoint,
    /// Balances over all endpoints of the cluster.
    Cluster,
    /// Balances over the endpoints of this node.
    Local,
}

/// Prefix of each kind of chain. kube-proxy: pkg/proxy/iptables/proxier.go.
pub(crate) const CHAIN_PREFIXES: [(ChainKind, &str); 5] = [
    (ChainKind::External, "KUBE-EXT-"),
    (ChainKind::Firewall, "KUBE-FW-"),
    (ChainKind::Endpoint, "KUBE-SEP-"),
    (ChainKind::Cluster, "KUBE-SVC-"),
    (ChainKind::Local, "KUBE-SVL-"),
];

/// The name of a chain that belongs to one service port: `KUBE-SVC-XPGD46QRK7WJZT7O`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChainName {
    kind: ChainKind,
    /// The text, padded with zeros.
    text: [u8; ChainName::LENGTH_MAX],
}

impl ChainName {
    const LENGTH_MAX: usize = 9 + Hash::LENGTH;

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
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
    /// kube-proxy: `portProtoHash`, pkg/proxy/iptables/proxier.go. Chain names in the kernel have at most 28 characters
    /// (XT_EXTENSION_MAXNAMELEN), so names are hashed and truncated.
    pub(crate) fn of_service_port(name: &ServicePortName) -> Self {
        Self::of(&[name.as_str(), name.protocol().lower()])
    }

    /// The hash in the chain name of one endpoint; `endpoint` is `ip:port` or `[ip]:port`.
    ///
    /// kube-proxy: `servicePortEndpointChainName`, pkg/proxy/iptables/proxier.go.
    pub(crate) fn of_endpoint(name: &ServicePortName, endpoint: &str) -> Self {
        Self::of(&[name.as_str(), name.protocol().lower(), endpoint])
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
        // Ten bytes encode to sixteen characters of five bits.
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
    use crate::names::ServiceName;
    use crate::objects::Protocol;

    fn service_port(text: &str, protocol: Protocol) -> ServicePortName {
        let (namespace, rest) = text.split_once('/').unwrap();
        let (name, port) = rest.split_once(':').unwrap_or((rest, ""));
        ServicePortName::new(&ServiceName::new(namespace, name), port, protocol)
    }

    // Pairs from upstream's unit tests and from real clusters.
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
}
