//! kube-proxy's configuration file, `kubeproxy.config.k8s.io/v1alpha1`.
//!
//! Durations remain strings as in the file (`30s`, `1h0m0s`); no rule depends on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::null_is_default;

/// The file that kube-proxy reads with `--config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeProxyConfiguration {
    /// `iptables`, `ipvs`, `nftables` or empty.
    #[serde(deserialize_with = "null_is_default")]
    pub mode: String,
    /// The address to serve on; its family used to be the primary family.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub bind_address: String,
    /// Pod CIDRs of the cluster, comma separated, at most one per family.
    #[serde(rename = "clusterCIDR", deserialize_with = "null_is_default")]
    pub cluster_cidr: String,
    /// The node's name, if it differs from the host name.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub hostname_override: String,
    /// How traffic from local Pods is detected: `ClusterCIDR`, `NodeCIDR`, `BridgeInterface` or `InterfaceNamePrefix`;
    /// empty means `ClusterCIDR`.
    #[serde(deserialize_with = "null_is_default")]
    pub detect_local_mode: String,
    /// Arguments of the last two modes.
    #[serde(deserialize_with = "null_is_default")]
    pub detect_local: DetectLocalConfiguration,
    /// Node addresses that accept NodePort traffic: CIDRs and keywords.
    #[serde(deserialize_with = "null_is_default")]
    pub node_port_addresses: Vec<String>,
    /// Settings of iptables mode.
    #[serde(deserialize_with = "null_is_default")]
    pub iptables: IpTablesConfiguration,
    /// Settings of nftables mode.
    #[serde(deserialize_with = "null_is_default")]
    pub nftables: NfTablesConfiguration,
    /// Settings of ipvs mode.
    #[serde(deserialize_with = "null_is_default")]
    pub ipvs: IpvsConfiguration,
    /// Sysctls of conntrack.
    #[serde(deserialize_with = "null_is_default")]
    pub conntrack: ConntrackConfiguration,
    /// Feature gates set in the file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub feature_gates: BTreeMap<String, bool>,
}

/// Arguments of the local traffic detector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DetectLocalConfiguration {
    /// The bridge whose traffic is local.
    #[serde(deserialize_with = "null_is_default")]
    pub bridge_interface: String,
    /// Name prefix of Pod devices.
    #[serde(deserialize_with = "null_is_default")]
    pub interface_name_prefix: String,
}

/// Settings of iptables mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpTablesConfiguration {
    /// The bit of the packet mark that requests masquerade, 0 to 31; 14 when absent.
    pub masquerade_bit: Option<i32>,
    /// Masquerade all traffic to ClusterIPs.
    #[serde(deserialize_with = "null_is_default")]
    pub masquerade_all: bool,
    /// NodePorts are reachable on 127.0.0.0/8; true when absent.
    pub localhost_node_ports: Option<bool>,
    /// The longest time between two syncs.
    pub sync_period: Option<String>,
    /// The shortest time between two syncs.
    pub min_sync_period: Option<String>,
}

/// Settings of nftables mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NfTablesConfiguration {
    /// The bit of the packet mark that requests masquerade, 0 to 31; 14 when absent.
    pub masquerade_bit: Option<i32>,
    /// Masquerade all traffic to ClusterIPs.
    #[serde(deserialize_with = "null_is_default")]
    pub masquerade_all: bool,
    /// The longest time between two syncs.
    pub sync_period: Option<String>,
    /// The shortest time between two syncs.
    pub min_sync_period: Option<String>,
}

/// Settings of ipvs mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpvsConfiguration {
    /// The scheduler; `rr` when empty.
    #[serde(deserialize_with = "null_is_default")]
    pub scheduler: String,
    /// Virtual services that kube-proxy does not touch.
    #[serde(rename = "excludeCIDRs", deserialize_with = "null_is_default")]
    pub exclude_cidrs: Vec<String>,
    /// Do not reply to ARP requests for addresses of `kube-ipvs0`.
    #[serde(rename = "strictARP", deserialize_with = "null_is_default")]
    pub strict_arp: bool,
    /// Timeout of idle TCP connections.
    pub tcp_timeout: Option<String>,
    /// Timeout of TCP connections after FIN.
    pub tcp_fin_timeout: Option<String>,
    /// Timeout of idle UDP flows.
    pub udp_timeout: Option<String>,
    /// The longest time between two syncs.
    pub sync_period: Option<String>,
    /// The shortest time between two syncs.
    pub min_sync_period: Option<String>,
}

/// Sysctls of conntrack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConntrackConfiguration {
    /// Entries per CPU; 0 keeps the kernel's limit.
    pub max_per_core: Option<i32>,
    /// The minimum number of entries.
    pub min: Option<i32>,
    /// Sets `nf_conntrack_tcp_be_liberal`.
    #[serde(deserialize_with = "null_is_default")]
    pub tcp_be_liberal: bool,
    /// `nf_conntrack_tcp_timeout_established`.
    pub tcp_established_timeout: Option<String>,
    /// `nf_conntrack_tcp_timeout_close_wait`.
    pub tcp_close_wait_timeout: Option<String>,
    /// `nf_conntrack_udp_timeout`.
    pub udp_timeout: Option<String>,
    /// `nf_conntrack_udp_timeout_stream`.
    pub udp_stream_timeout: Option<String>,
}
