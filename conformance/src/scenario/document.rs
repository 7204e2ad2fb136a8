//! The Scenario document as deserialized by serde. Only names and shapes are checked here; [`super::read`] does the
//! rest.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawDocument {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: Metadata,
    pub(super) spec: RawSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default, rename = "labels")]
    _labels: IgnoredAny,
    #[serde(default, rename = "annotations")]
    _annotations: IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawSpec {
    #[serde(default)]
    pub(super) intent: String,
    #[serde(default)]
    pub(super) requirements: Vec<String>,
    #[serde(default)]
    pub(super) proxy_modes: Vec<String>,
    #[serde(default)]
    pub(super) network: RawNetwork,
    #[serde(default)]
    pub(super) steps: Vec<RawStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawNetwork {
    pub(super) cni: Option<String>,
    pub(super) masquerade: Option<String>,
    #[serde(rename = "clusterCIDR")]
    pub(super) cluster_cidr: Option<String>,
    #[serde(rename = "serviceCIDR")]
    pub(super) service_cidr: Option<String>,
    pub(super) node_port_range: Option<ScalarText>,
    #[serde(rename = "nodeCIDR")]
    pub(super) node_cidr: Option<String>,
    pub(super) gateway: Option<String>,
    pub(super) hairpin: Option<bool>,
    pub(super) mtu: Option<u16>,
    pub(super) sysctls: IndexMap<String, ScalarText>,
    pub(super) nodes: IndexMap<String, RawNodeNetwork>,
    pub(super) pods: IndexMap<String, RawPodNetwork>,
    pub(super) external_hosts: Vec<RawExternalHost>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPodNetwork {
    pub(super) listen: Vec<ScalarText>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawNodeNetwork {
    pub(super) ipset: Option<String>,
    pub(super) iptables: Option<String>,
    #[serde(default)]
    pub(super) ip_routes: Vec<String>,
    #[serde(default)]
    pub(super) ip_rules: Vec<String>,
    #[serde(default)]
    pub(super) addresses: Vec<RawNodeAddress>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawNodeAddress {
    pub(super) device: String,
    pub(super) address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawExternalHost {
    pub(super) name: String,
    pub(super) ip: String,
    pub(super) gateway: Option<String>,
    #[serde(default)]
    pub(super) routes: Vec<RawRoute>,
    #[serde(default)]
    pub(super) listen: Vec<ScalarText>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawRoute {
    pub(super) to: String,
    pub(super) via: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) name: Option<String>,
    pub(super) connect: Option<RawConnect>,
    pub(super) send: Option<RawSend>,
    pub(super) close: Option<String>,
    pub(super) ping: Option<RawPing>,
    pub(super) resolve: Option<RawResolve>,
    /// Parsed from the tree, because that depends on each manifest's kind.
    pub(super) apply: Option<IgnoredAny>,
    pub(super) delete: Option<OneOrMany>,
    pub(super) set: Option<IndexMap<String, RawSetChange>>,
    pub(super) sleep: Option<ScalarText>,
    pub(super) expect: Option<RawExpectations>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawConnect {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) protocol: Option<String>,
    pub(super) count: Option<u32>,
    pub(super) source_port: Option<u16>,
    pub(super) timeout: Option<ScalarText>,
    pub(super) send: Option<u32>,
    pub(super) receive: Option<u32>,
    pub(super) http: Option<String>,
    pub(super) keep: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawSend {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) connection: Option<String>,
    #[serde(rename = "continue")]
    pub(super) continued: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) source_port: Option<u16>,
    pub(super) timeout: Option<ScalarText>,
    pub(super) segments: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPing {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) count: Option<u32>,
    pub(super) timeout: Option<ScalarText>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawResolve {
    pub(super) from: String,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawSetChange {
    pub(super) ready: Option<bool>,
    pub(super) hairpin: Option<bool>,
    pub(super) sysctl: Option<IndexMap<String, ScalarText>>,
    pub(super) link: Option<RawLink>,
}

impl RawSetChange {
    pub(super) const fn is_empty(&self) -> bool {
        self.ready.is_none() && self.hairpin.is_none() && self.sysctl.is_none() && self.link.is_none()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawLink {
    pub(super) latency: Option<ScalarText>,
    pub(super) loss: Option<ScalarText>,
    pub(super) mtu: Option<u16>,
    pub(super) device: Option<String>,
    pub(super) port: Option<String>,
}

impl RawLink {
    pub(super) const fn is_empty(&self) -> bool {
        self.latency.is_none()
            && self.loss.is_none()
            && self.mtu.is_none()
            && self.device.is_none()
            && self.port.is_none()
    }
}

/// Either expectations, or expectations by mode; never both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawExpectations {
    pub(super) default: Option<RawExpectation>,
    pub(super) iptables: Option<RawExpectation>,
    pub(super) ipvs: Option<RawExpectation>,
    pub(super) nftables: Option<RawExpectation>,
    pub(super) userspace: Option<RawExpectation>,
    pub(super) outcome: Option<String>,
    pub(super) outcomes: Option<IndexMap<String, ScalarText>>,
    pub(super) endpoints: Option<RawEndpoints>,
    pub(super) source_seen: Option<OneOrByName>,
    pub(super) reply_from: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) addresses: Option<Vec<String>>,
    pub(super) dropped: Option<RawDropped>,
    pub(super) conntrack: Option<Vec<RawConntrack>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawExpectation {
    pub(super) outcome: Option<String>,
    pub(super) outcomes: Option<IndexMap<String, ScalarText>>,
    pub(super) endpoints: Option<RawEndpoints>,
    pub(super) source_seen: Option<OneOrByName>,
    pub(super) reply_from: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) addresses: Option<Vec<String>>,
    pub(super) dropped: Option<RawDropped>,
    pub(super) conntrack: Option<Vec<RawConntrack>>,
}

impl RawExpectations {
    /// The expectations directly under `expect`.
    pub(super) fn take_plain(&mut self) -> RawExpectation {
        RawExpectation {
            outcome: self.outcome.take(),
            outcomes: self.outcomes.take(),
            endpoints: self.endpoints.take(),
            source_seen: self.source_seen.take(),
            reply_from: self.reply_from.take(),
            status: self.status.take(),
            addresses: self.addresses.take(),
            dropped: self.dropped.take(),
            conntrack: self.conntrack.take(),
        }
    }
}

impl RawExpectation {
    /// True if there are no expectations at all.
    pub(super) fn is_empty(&self) -> bool {
        self.outcome.is_none()
            && self.outcomes.is_none()
            && self.endpoints.is_none()
            && self.source_seen.is_none()
            && self.reply_from.is_none()
            && self.status.is_none()
            && self.addresses.is_none()
            && self.dropped.is_none()
            && self.conntrack.is_none()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawDropped {
    pub(super) on: String,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawConntrack {
    pub(super) on: String,
    pub(super) protocol: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) status: Option<String>,
    pub(super) entries: u32,
}

/// A scalar read as text, whatever it looks like: `1`, `1/3`, `0.5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScalarText(pub(super) String);

impl<'de> Deserialize<'de> for ScalarText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = ScalarText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number or a string")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<ScalarText, E> {
                Ok(ScalarText(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<ScalarText, E> {
                Ok(ScalarText(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<ScalarText, E> {
                Ok(ScalarText(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<ScalarText, E> {
                Ok(ScalarText(value.to_string()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<ScalarText, E> {
                Ok(ScalarText(value.to_owned()))
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

/// One string or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<OneOrMany, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(OneOrMany::Many(items))
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

/// One string, or strings by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OneOrByName {
    One(String),
    ByName(IndexMap<String, String>),
}

impl<'de> Deserialize<'de> for OneOrByName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrByNameVisitor;

        impl<'de> Visitor<'de> for OneOrByNameVisitor {
            type Value = OneOrByName;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an address or its owner, or a mapping from endpoints to those")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<OneOrByName, E> {
                Ok(OneOrByName::One(value.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<OneOrByName, A::Error> {
                let mut entries = IndexMap::new();
                while let Some((name, value)) = access.next_entry()? {
                    entries.insert(name, value);
                }
                Ok(OneOrByName::ByName(entries))
            }
        }

        deserializer.deserialize_any(OneOrByNameVisitor)
    }
}

/// Endpoints with shares, or in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RawEndpoints {
    Shares(IndexMap<String, ScalarText>),
    InOrder(Vec<String>),
}

impl<'de> Deserialize<'de> for RawEndpoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawEndpointsVisitor;

        impl<'de> Visitor<'de> for RawEndpointsVisitor {
            type Value = RawEndpoints;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "a mapping from endpoints to shares, or a list with the endpoint of each connection",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawEndpoints, A::Error> {
                let mut endpoints = Vec::new();
                while let Some(endpoint) = access.next_element()? {
                    endpoints.push(endpoint);
                }
                Ok(RawEndpoints::InOrder(endpoints))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawEndpoints, A::Error> {
                let mut entries = IndexMap::new();
                while let Some((name, value)) = access.next_entry()? {
                    entries.insert(name, value);
                }
                Ok(RawEndpoints::Shares(entries))
            }
        }

        deserializer.deserialize_any(RawEndpointsVisitor)
    }
}
