//! What the objects of a dump tell about its cluster: ranges of addresses and ports, and kube-proxy's configuration.
//!
//! They are in objects that have no effect on packets themselves: flags of static Pods, ConfigMaps of kubeadm and of network
//! plugins, ServiceCIDRs.

use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use proxy_core::objects::{Kind, Object, TypeMeta};

use super::flags::Flags;
use super::{LoadedObject, SourceNode};
use crate::diagnostic::{Diagnostic, Place};
use crate::yaml::{self, Node};

/// What a dump tells about its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    cluster_cidrs: Vec<(Teller, Ipv4Net)>,
    service_cidrs: Vec<(Teller, Ipv4Net)>,
    node_ports: Vec<(Teller, RangeInclusive<u16>)>,
    /// True if a cluster CIDR of an option or a scenario replaces that of kube-proxy's configuration: that of a dump does,
    /// and with an option that of a document of its own, too.
    pub(crate) proxy_yields: bool,
}

/// Who tells it, the most reliable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Teller {
    /// A ServiceCIDR object.
    ServiceCidr,
    /// Flags of kube-apiserver.
    ApiServer,
    /// Flags of kube-controller-manager.
    ControllerManager,
    /// Arguments of k3s or RKE2.
    Server,
    /// kubeadm's ConfigMap.
    Kubeadm,
    /// OpenShift's Network.
    OpenShift,
    /// An IPPool of Calico, or the ConfigMap of Cilium or flannel.
    NetworkPlugin,
}

/// kube-proxy's configuration in a dump.
#[derive(Debug, Clone)]
pub(super) struct DumpedProxy {
    /// The smaller, the more it counts.
    rank: u8,
    loaded: LoadedObject,
}

impl Facts {
    /// The range of Pods' addresses.
    pub(crate) fn cluster_cidr(&self) -> Option<Ipv4Net> {
        self.cluster_cidrs.iter().min_by_key(|(by, _)| *by).map(|(_, net)| *net)
    }

    /// Ranges of ClusterIPs: several, if the cluster has several ServiceCIDRs.
    pub(crate) fn service_cidrs(&self) -> Vec<Ipv4Net> {
        let best = self.service_cidrs.iter().map(|(by, _)| *by).min();
        self.service_cidrs.iter().filter(|(by, _)| Some(*by) == best).map(|(_, net)| *net).collect()
    }

    /// The range of NodePorts.
    pub(crate) fn node_ports(&self) -> Option<RangeInclusive<u16>> {
        self.node_ports.iter().min_by_key(|(by, _)| *by).map(|(_, range)| range.clone())
    }

    /// Reads one document of any kind; returns kube-proxy's configuration if it has one.
    ///
    /// # Errors
    /// A configuration of kube-proxy that is not one.
    pub(super) fn read(
        &mut self,
        origin: &SourceNode,
        default_type: Option<&TypeMeta>,
    ) -> Result<Option<DumpedProxy>, Box<Diagnostic>> {
        let node = &origin.node;
        let text = |path: &str| node.at(path).and_then(Node::text).unwrap_or_default();
        let default = default_type.map_or("", |default| default.kind.as_str());
        match node.get("kind").and_then(Node::text).unwrap_or(default) {
            "ServiceCIDR" => {
                let cidrs = node.at("spec.cidrs").and_then(Node::items).unwrap_or_default();
                self.services(Teller::ServiceCidr, cidrs.iter().filter_map(Node::text));
            }
            "Network" if text("apiVersion").starts_with("config.openshift.io/") => {
                let cidrs = node.at("spec.clusterNetwork").and_then(Node::items).unwrap_or_default();
                self.clusters(Teller::OpenShift, cidrs.iter().filter_map(|one| one.get("cidr")?.text()));
                let cidrs = node.at("spec.serviceNetwork").and_then(Node::items).unwrap_or_default();
                self.services(Teller::OpenShift, cidrs.iter().filter_map(Node::text));
            }
            "IPPool"
                if text("apiVersion").contains("projectcalico.org/") && text("spec.disabled") != "true" =>
            {
                self.clusters(Teller::NetworkPlugin, [text("spec.cidr")].into_iter());
            }
            "Node" => self.server_arguments(node),
            "ConfigMap" => return self.config_map(origin),
            "Pod" | "DaemonSet" | "Deployment" => return Ok(self.containers(origin)),
            _ => {}
        }
        Ok(None)
    }

    fn clusters<'a>(&mut self, by: Teller, texts: impl Iterator<Item = &'a str>) {
        self.cluster_cidrs.extend(nets(texts).map(|net| (by, net)));
    }

    fn services<'a>(&mut self, by: Teller, texts: impl Iterator<Item = &'a str>) {
        self.service_cidrs.extend(nets(texts).map(|net| (by, net)));
    }

    fn ports(&mut self, by: Teller, text: Option<&str>) {
        self.node_ports.extend(text.and_then(port_range).map(|range| (by, range)));
    }

    /// k3s and RKE2 note their arguments in an annotation of the node.
    fn server_arguments(&mut self, node: &Node) {
        let annotations = node.at("metadata.annotations");
        for name in ["k3s.io/node-args", "rke2.io/node-args"] {
            let Some(text) = annotations.and_then(|all| all.get(name)?.text()) else { continue };
            let flags = Flags::of([text].into_iter());
            self.clusters(Teller::Server, flags.get("cluster-cidr").into_iter());
            self.services(Teller::Server, flags.get("service-cidr").into_iter());
            self.ports(Teller::Server, flags.get("service-node-port-range"));
        }
    }

    /// Flags of the control plane, and of kube-proxy.
    fn containers(&mut self, origin: &SourceNode) -> Option<DumpedProxy> {
        let spec = origin.node.at("spec.template.spec").or_else(|| origin.node.get("spec"))?;
        let mut proxy = None;
        for container in spec.get("containers").and_then(Node::items).unwrap_or_default() {
            let words = ["command", "args"].into_iter().filter_map(|field| container.get(field)?.items());
            let flags = Flags::of(words.flatten().filter_map(Node::text));
            if flags.are_of("kube-apiserver") {
                self.services(Teller::ApiServer, flags.get("service-cluster-ip-range").into_iter());
                self.ports(Teller::ApiServer, flags.get("service-node-port-range"));
            } else if flags.are_of("kube-controller-manager") {
                self.services(Teller::ControllerManager, flags.get("service-cluster-ip-range").into_iter());
                self.clusters(Teller::ControllerManager, flags.get("cluster-cidr").into_iter());
            } else if flags.are_of("kube-proxy") && flags.get("config").is_none() {
                let object = Object::KubeProxyConfiguration(Box::new(flags.kube_proxy_configuration()));
                proxy =
                    Some(DumpedProxy { rank: 2, loaded: LoadedObject { object, origin: origin.clone() } });
            }
        }
        proxy
    }

    fn config_map(&mut self, origin: &SourceNode) -> Result<Option<DumpedProxy>, Box<Diagnostic>> {
        let Some(data) = origin.node.get("data").and_then(Node::mapping) else { return Ok(None) };
        let is_main = origin.node.at("metadata.name").and_then(Node::text) == Some("kube-proxy");
        let mut proxy = None;
        for (key, entry) in data {
            let Some(text) = entry.value.text() else { continue };
            if &**key == "cluster-pool-ipv4-cidr" {
                self.clusters(Teller::NetworkPlugin, text.split(' '));
            }
            let is_of_interest = ["KubeProxyConfiguration", "ClusterConfiguration", "\"Network\""]
                .iter()
                .any(|word| text.contains(word));
            if !is_of_interest {
                continue;
            }
            for document in yaml::parse(text).documents {
                let kind = document.get("kind").and_then(Node::text).unwrap_or_default();
                match kind {
                    "KubeProxyConfiguration" => {
                        // A place in the inner text would be one in another text: errors are at the key.
                        let span = entry.key_span.clone();
                        let node = Node { span: span.clone(), value: entry.value.value.clone() };
                        let place = Place { source: origin.source, span };
                        let object = Object::deserialize_as(Kind::KubeProxyConfiguration, &document);
                        let object = object.map_err(|error| {
                            let message = format!("kube-proxy's configuration: {error}");
                            Box::new(Diagnostic::error(place, message))
                        })?;
                        let origin = SourceNode { source: origin.source, node };
                        let loaded = LoadedObject { object, origin };
                        proxy = Some(DumpedProxy { rank: u8::from(!is_main), loaded });
                    }
                    "ClusterConfiguration" => self.kubeadm(&document),
                    _ => {
                        let network = document.get("Network").and_then(Node::text);
                        self.clusters(Teller::NetworkPlugin, network.into_iter());
                    }
                }
            }
        }
        Ok(proxy)
    }

    fn kubeadm(&mut self, document: &Node) {
        let text = |path: &str| document.at(path).and_then(Node::text);
        self.clusters(Teller::Kubeadm, text("networking.podSubnet").into_iter());
        self.services(Teller::Kubeadm, text("networking.serviceSubnet").into_iter());
        // A mapping, or since v1beta4 a list of names and values.
        const RANGE: &str = "service-node-port-range";
        let extra = document.at("apiServer.extraArgs");
        let listed = extra.and_then(Node::items).unwrap_or_default();
        let listed = listed.iter().find(|one| one.get("name").and_then(Node::text) == Some(RANGE));
        let range = listed.and_then(|one| one.get("value")).or_else(|| extra?.get(RANGE));
        self.ports(Teller::Kubeadm, range.and_then(Node::text));
    }
}

/// The configuration that counts, of those in a dump.
pub(super) fn best(proxies: Vec<DumpedProxy>) -> Option<LoadedObject> {
    proxies.into_iter().min_by_key(|proxy| proxy.rank).map(|proxy| proxy.loaded)
}

/// The IPv4 networks of some texts, each a list with commas.
fn nets<'a>(texts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Ipv4Net> {
    texts
        .flat_map(|text| text.split(','))
        .filter_map(|text| Some(text.trim().parse::<Ipv4Net>().ok()?.trunc()))
}

/// `30000-32767`, or `30000+2767`.
///
/// Kubernetes: `ParsePortRange`, apimachinery pkg/util/net/port_range.go.
pub fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let text = text.trim();
    let (first, last) = match (text.split_once('-'), text.split_once('+')) {
        (Some((first, last)), _) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
        (None, Some((first, size))) => {
            let first: u16 = first.trim().parse().ok()?;
            (first, first.saturating_add(size.trim().parse().ok()?))
        }
        (None, None) => {
            let only = text.parse().ok()?;
            (only, only)
        }
    };
    (first <= last && first > 0).then_some(first..=last)
}
