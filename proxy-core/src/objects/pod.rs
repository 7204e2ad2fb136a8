//! Pod, and templates of Pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::{ObjectMeta, null_is_default};
use super::service::Protocol;

/// A Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Name, namespace, labels, and whether it is terminating.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Node, containers and ports.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: PodSpec,
    /// Addresses and readiness.
    #[serde(deserialize_with = "null_is_default")]
    pub status: PodStatus,
}

/// The specification of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it is bound to; empty while unscheduled.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub node_name: String,
    /// True if it uses the node's netns.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_default")]
    pub host_network: bool,
    /// The Pod's host name, published as an endpoint's `hostname` for headless Services.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub hostname: String,
    /// The headless Service that publishes the host name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub subdomain: String,
    /// `Always`, `OnFailure` or `Never`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub restart_policy: String,
    /// Labels of the nodes that it may be bound to.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that it tolerates.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub tolerations: Vec<Toleration>,
    /// Containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub containers: Vec<Container>,
    /// Init containers; those with `restartPolicy: Always` (sidecars) may have named ports too.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub init_containers: Vec<Container>,
}

/// Taints that a Pod tolerates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// The taint's key; empty for all taints.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub key: String,
    /// `Exists`, or `Equal` by default.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub operator: String,
    /// The taint's value, for `Equal`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub value: String,
    /// The taint's effect; empty for all effects.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub effect: String,
}

/// One container of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// The container's name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub name: String,
    /// `Always` on an init container makes it a sidecar.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub restart_policy: String,
    /// Declared ports.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub ports: Vec<ContainerPort>,
}

/// One port of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// The name that a Service's `targetPort` may refer to.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub name: String,
    /// The port in the Pod.
    pub container_port: i32,
    /// The port on the node, 0 for none.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_is_default")]
    pub host_port: i32,
    /// The node address of the host port; empty for all.
    #[serde(
        rename = "hostIP",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub host_ip: String,
    /// The protocol, TCP by default.
    #[serde(deserialize_with = "null_is_default")]
    pub protocol: Protocol,
}

/// The status of a Pod, as reported by the kubelet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub phase: String,
    /// Conditions; only `Ready` is used.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub conditions: Vec<PodCondition>,
    /// The node's address.
    #[serde(
        rename = "hostIP",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub host_ip: String,
    /// The first address.
    #[serde(
        rename = "podIP",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub pod_ip: String,
    /// All addresses, at most one per family.
    #[serde(rename = "podIPs", skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub pod_ips: Vec<PodIp>,
}

/// One condition of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// Such as `Ready`.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// One address of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// The template of a workload's Pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplateSpec {
    /// Labels and annotations of the Pods.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Their spec.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: PodSpec,
}

// `skip_serializing_if` requires this signature.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
