//! One recorded case: the input and output of real kube-proxy.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use proxy_core::config::{Machine, NodeConfig};
use proxy_core::objects::{KubeProxyConfiguration, Node, Object};
use proxy_core::version::KubeProxyVersion;
use serde::Deserialize;

use super::manifests;

/// `options.json`: kube-proxy's configuration and machine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    node_name: String,
    #[serde(rename = "nodeIPs")]
    node_ips: Vec<IpAddr>,
    interface_addrs: Vec<IpNet>,
    #[serde(default, rename = "clusterCIDR")]
    cluster_cidr: String,
    #[serde(default)]
    detect_local_mode: String,
    #[serde(default)]
    bridge_interface: String,
    #[serde(default)]
    interface_name_prefix: String,
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    #[serde(default)]
    masquerade_all: bool,
    #[serde(default)]
    masquerade_bit: Option<i32>,
    #[serde(default)]
    localhost_node_ports: Option<bool>,
    #[serde(default)]
    node_port_addresses: Vec<String>,
    #[serde(default)]
    ipvs_scheduler: String,
    #[serde(default, rename = "ipvsStrictARP")]
    ipvs_strict_arp: bool,
    #[serde(default, rename = "ipvsExcludeCIDRs")]
    ipvs_exclude_cidrs: Vec<String>,
    #[serde(default)]
    tcp_be_liberal: bool,
    #[serde(default)]
    random_fully: Option<bool>,
    /// Unknown options: if they mattered, the comparison would show it.
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

impl Options {
    /// True if the machine had nfacct counters.
    fn has_nfacct(&self) -> bool {
        let is_set = |value: &serde_json::Value| match value {
            serde_json::Value::Bool(is_set) => *is_set,
            serde_json::Value::Array(counters) => !counters.is_empty(),
            _ => false,
        };
        self.others.iter().any(|(name, value)| name.to_lowercase().contains("nfacct") && is_set(value))
    }
}

/// One case folder.
pub(crate) struct Case {
    pub(crate) folder: PathBuf,
    pub(crate) input: Vec<Object>,
    pub(crate) update: Option<Vec<Object>>,
    options: Options,
}

impl Case {
    /// Reads a case folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name));
        let options = text("options.json").unwrap();
        Self {
            folder: folder.to_owned(),
            input: manifests::read(&text("input.yaml").unwrap()),
            update: text("update.yaml").ok().map(|yaml| manifests::read(&yaml)),
            options: serde_json::from_str(&options)
                .unwrap_or_else(|error| panic!("{}: options.json: {error}", folder.display())),
        }
    }

    /// The folder's name.
    pub(crate) fn name(&self) -> String {
        self.folder.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// A recorded file.
    pub(crate) fn recorded(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What kube-proxy v1.31 knew about the node, whose Node object is among `objects`.
    pub(crate) fn config(&self, objects: &[Object]) -> NodeConfig {
        let options = &self.options;
        let mut machine = Machine::new(&options.node_name);
        machine.kube_proxy_version = KubeProxyVersion::V1_31;
        machine.node_ips.clone_from(&options.node_ips);
        machine.interface_addresses.clone_from(&options.interface_addrs);
        machine.has_random_fully = options.random_fully.unwrap_or(true);
        machine.tcp_be_liberal = options.tcp_be_liberal;
        machine.has_nfacct = options.has_nfacct();
        let mut configuration = KubeProxyConfiguration::default();
        configuration.cluster_cidr.clone_from(&options.cluster_cidr);
        // "None" is not a mode of kube-proxy: it stands for ClusterCIDR without a CIDR.
        configuration.detect_local_mode = options.detect_local_mode.replace("None", "ClusterCIDR");
        configuration.detect_local.bridge_interface.clone_from(&options.bridge_interface);
        configuration.detect_local.interface_name_prefix.clone_from(&options.interface_name_prefix);
        configuration.iptables.masquerade_all = options.masquerade_all;
        configuration.iptables.masquerade_bit = options.masquerade_bit;
        configuration.iptables.localhost_node_ports = options.localhost_node_ports;
        configuration.node_port_addresses.clone_from(&options.node_port_addresses);
        configuration.ipvs.scheduler.clone_from(&options.ipvs_scheduler);
        configuration.ipvs.strict_arp = options.ipvs_strict_arp;
        configuration.ipvs.exclude_cidrs.clone_from(&options.ipvs_exclude_cidrs);
        let mut node = objects
            .iter()
            .find_map(|object| match object {
                Object::Node(node) if node.metadata.name == options.node_name => Some(node.clone()),
                _ => None,
            })
            .unwrap_or_else(Node::default);
        if !options.pod_cidrs.is_empty() {
            node.spec.pod_cidrs.clone_from(&options.pod_cidrs);
        }
        NodeConfig::new(machine, &configuration, Some(&node)).unwrap()
    }
}

/// The case folders: those of `KUBE_PROXY_CASES`, else those of the project.
pub(crate) fn folders() -> Vec<PathBuf> {
    // This file is part of tests of proxy-core and of the command.
    let own = ["tests/kube-proxy-cases", "proxy-core/tests/kube-proxy-cases"]
        .map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let own = || own.into_iter().find(|path| path.is_dir()).expect("the project has cases");
    let root = std::env::var_os("KUBE_PROXY_CASES").map_or_else(own, PathBuf::from);
    let entries = fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let mut folders: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("options.json").is_file())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "no case in {}", root.display());
    folders
}
