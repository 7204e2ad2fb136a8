//! `set` steps with all references resolved.

use super::plan::{LinkEnd, StateChange};
use super::step::PreparedAction;
use super::{Preparation, resolve, sysctl};
use crate::cluster::{Cluster, ClusterChange, ClusterPod};
use crate::netns::NetnsName;
use crate::scenario::{Cni, FieldFault, ObjectName, SetChange, SetChangeKind, Target};
use crate::topology::Topology;

impl Preparation {
    pub(super) fn set(
        &mut self,
        path: &str,
        settings: &[SetChange],
        cluster: &Cluster,
    ) -> Option<(PreparedAction, Option<Cluster>)> {
        let topology = Topology::of(cluster);
        let mut next: Option<Cluster> = None;
        let (mut ready, mut changes) = (Vec::new(), Vec::new());
        for SetChange { target, change } in settings {
            let path = self.written(path, |key| Target::parse(key).as_ref() == Ok(target));
            match change {
                SetChangeKind::Ready(is_ready) => {
                    let Some(pod) = self.found_key(&path, pod(cluster, target)) else { continue };
                    let settled = next.as_ref().unwrap_or(cluster).set_ready(&pod.name, *is_ready);
                    next = Some(self.settled(settled.expect("the Pod exists"))?);
                    ready.push((pod.name.clone(), *is_ready));
                }
                SetChangeKind::Hairpin(is_on) => {
                    let Some(pod) = self.found_key(&path, pod(cluster, target)) else { continue };
                    let pod = self.found_key(&format!("{path}.hairpin"), with_hairpin_flag(cluster, pod));
                    changes.extend(pod.map(|pod| StateChange::Hairpin { pod, is_on: *is_on }));
                }
                SetChangeKind::Sysctl { name, value } => {
                    let Some(netns) = self.found_key(&path, resolve::machine(cluster, target)) else {
                        continue;
                    };
                    let path = format!("{path}.sysctl.{name}");
                    match sysctl::fault(&topology, &netns, &path, name, value) {
                        Some(fault) => self.scenario_fault(&fault),
                        None => changes.push(StateChange::Sysctl {
                            netns,
                            name: name.clone(),
                            value: value.clone(),
                        }),
                    }
                }
                SetChangeKind::Link { latency, loss, mtu, device, port } => {
                    let Some(netns) = self.found_key(&path, resolve::machine(cluster, target)) else {
                        continue;
                    };
                    let netns = self.found_key(&format!("{path}.link"), with_link(target, netns));
                    let Some(netns) = netns else { continue };
                    if latency.is_some() || loss.is_some() || mtu.is_some() {
                        changes.push(StateChange::Link {
                            netns: netns.clone(),
                            latency: *latency,
                            loss: *loss,
                            mtu: *mtu,
                        });
                    }
                    let ends = [(LinkEnd::Port, port), (LinkEnd::Device, device)];
                    changes.extend(ends.into_iter().filter_map(|(end, state)| {
                        let (netns, state) = (netns.clone(), (*state)?);
                        Some(StateChange::End { netns, end, state })
                    }));
                }
            }
        }
        let change = next.is_some().then_some(ClusterChange::Ready(ready));
        Some((PreparedAction::Set { cluster: change, changes }, next))
    }
}

fn pod<'a>(cluster: &'a Cluster, target: &Target) -> Result<&'a ClusterPod, FieldFault> {
    match target {
        Target::Pod(name) => resolve::pod(cluster, name),
        Target::Host(_) | Target::Node(_) | Target::Service(_) | Target::Address(_) | Target::Name(_) => {
            unreachable!("the reader accepts this setting for Pods only")
        }
    }
}

/// The Pod, if it has a bridge port of its own.
fn with_hairpin_flag(cluster: &Cluster, pod: &ClusterPod) -> Result<ObjectName, FieldFault> {
    if pod.is_host_network {
        return Err(shares_network(&pod.name, &pod.node, "no hairpin flag"));
    }
    match cluster.cni() {
        Cni::Bridge | Cni::Vxlan => Ok(pod.name.clone()),
        Cni::Ptp => {
            let fault = FieldFault::new("the CNI ptp has no bridge, so no Pod has a hairpin flag");
            Err(fault.help("omit it, or use `cni: bridge` in spec.network"))
        }
    }
}

/// The network namespace, if the target has one with its own link.
fn with_link(target: &Target, netns: NetnsName) -> Result<NetnsName, FieldFault> {
    if let (Target::Pod(name), NetnsName::Node(node)) = (target, &netns) {
        return Err(shares_network(name, node, "no link of its own")
            .help(format!("use node/{node} to change the link of the node")));
    }
    Ok(netns)
}

fn shares_network(pod: &ObjectName, node: &str, lacks: &str) -> FieldFault {
    FieldFault::new(format!("Pod {pod} shares the network of {node}, so it has {lacks}"))
        .expected("a Pod without hostNetwork")
}
