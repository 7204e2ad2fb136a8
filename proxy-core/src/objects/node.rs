//! Node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::{ObjectMeta, Quantity, null_is_default};

/// A Kubernetes node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Name and labels; the label `topology.kubernetes.io/zone` is used for topology hints.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Pod CIDRs.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodeSpec,
    /// Addresses.
    #[serde(deserialize_with = "null_is_default")]
    pub status: NodeStatus,
}

/// The specification of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// The first pod CIDR.
    #[serde(
        rename = "podCIDR",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub pod_cidr: String,
    /// All pod CIDRs, at most one per family.
    #[serde(
        rename = "podCIDRs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub pod_cidrs: Vec<String>,
    /// True if no Pod is bound to it (`kubectl cordon`).
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_default")]
    pub unschedulable: bool,
    /// Only Pods that tolerate these are bound to it.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub taints: Vec<Taint>,
}

/// A taint of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Its key.
    #[serde(deserialize_with = "null_is_default")]
    pub key: String,
    /// Its value.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[serde(deserialize_with = "null_is_default")]
    pub effect: String,
}

/// The status of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Addresses, in the node's order of preference.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub addresses: Vec<NodeAddress>,
    /// What Pods may use, such as `cpu`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub allocatable: BTreeMap<String, Quantity>,
    /// Conditions, such as `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub conditions: Vec<NodeCondition>,
}

/// A condition of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCondition {
    /// Such as `Ready`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "null_is_default")]
    pub status: String,
}

/// One address of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, `InternalDNS` or `ExternalDNS`.
    #[serde(rename = "type")]
    pub address_type: String,
    /// The address or name.
    pub address: String,
}
