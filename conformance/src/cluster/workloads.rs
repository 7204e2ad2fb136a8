//! The controllers of workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers and Jobs.

use std::collections::{BTreeMap, BTreeSet};

use proxy_core::objects::{self, Kind, LabelSelector, Object, ObjectMeta, Workload, WorkloadKind};

use super::schedule::is_for_daemon;
use super::status::is_finished;
use super::{Cluster, ClusterProblem, as_pod, natural_cmp};
use crate::scenario::{FieldFault, ObjectKey, ObjectName};

/// Maximum number of Pods of a workload. Far more than scenarios need; a larger number is probably a typo.
const REPLICAS_MAX: i32 = 5_000;

/// Label of a StatefulSet's Pods: their name.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label of a StatefulSet's Pods: their number.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// Labels of a Job's Pods: the name of the Job.
const JOB_NAMES: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

impl Cluster {
    /// Creates or removes Pods until every workload has the requested number.
    pub(super) fn run_workloads(&mut self, problems: &mut Vec<ClusterProblem>) {
        let workloads: Vec<(ObjectKey, Workload)> = self
            .stored
            .iter()
            .filter_map(|(key, object)| Some((key.clone(), as_workload(object)?.clone())))
            .collect();
        let mut owned: BTreeMap<ObjectKey, Vec<ObjectKey>> = BTreeMap::new();
        for (pod, owner) in &self.owners {
            owned.entry(owner.clone()).or_default().push(pod.clone());
        }
        let orphans = Orphans::of(self);
        for (key, mut workload) in workloads {
            if self.is_managed(&key, &workload) {
                continue;
            }
            let replicas = replicas(&workload);
            if !(0..=REPLICAS_MAX).contains(&replicas) {
                let fault = FieldFault::new(format!("invalid number of Pods {replicas}"));
                let fault = fault.expected(format!("0 to {REPLICAS_MAX}")).at("spec.replicas");
                problems.push(ClusterProblem::error(key, fault));
                continue;
            }
            complete(&mut workload);
            if !selects(&workload.spec.selector, &workload.spec.template.metadata) {
                let fault = FieldFault::new("`selector` does not match template `labels`")
                    .expected("labels of spec.template.metadata.labels");
                problems.push(ClusterProblem::error(key, fault.at("spec.selector")));
                continue;
            }
            let owned = owned.remove(&key).unwrap_or_default();
            let found = orphans.selected_by(&key.name.namespace, &workload.spec.selector);
            if workload.kind == WorkloadKind::DaemonSet {
                self.run_daemons(&key, &workload, &owned, &found);
                continue;
            }
            let replicas = usize::try_from(replicas).unwrap_or(0).saturating_sub(found.len());
            self.run_workload(&key, &workload, owned, replicas);
        }
    }

    /// True if the owner of this workload is there, and makes its Pods: the Deployment of a ReplicaSet.
    fn is_managed(&self, key: &ObjectKey, workload: &Workload) -> bool {
        let owner = workload.metadata.owner_references.iter().find(|owner| owner.controller == Some(true));
        let Some(owner) = owner else { return false };
        let kind = Kind::all().find(|kind| kind.name() == owner.kind);
        kind.is_some_and(|kind| {
            let name = ObjectName::new(&key.name.namespace, &owner.name);
            self.stored.get(&ObjectKey { kind, name }).and_then(as_workload).is_some()
        })
    }

    /// Replaces Pods of an earlier template, then creates or removes Pods until there are `replicas`.
    fn run_workload(&mut self, key: &ObjectKey, workload: &Workload, owned: Vec<ObjectKey>, replicas: usize) {
        let is_current = |object: &Object| as_pod(object).is_some_and(|pod| is_of_template(pod, workload));
        let (mut present, outdated): (Vec<_>, Vec<_>) =
            owned.into_iter().partition(|pod| self.stored.get(pod).is_some_and(is_current));
        // Scaling down removes the youngest Pods.
        present.sort_by(|left, right| natural_cmp(&left.name.name, &right.name.name));
        let surplus = present.split_off(replicas.min(present.len()));
        for pod in outdated.into_iter().chain(surplus) {
            self.stored.remove(&pod);
            self.owners.remove(&pod);
        }
        for _ in present.len()..replicas {
            self.make_pod(key, workload, "");
        }
    }

    /// One Pod on each node that it tolerates, unless the node has one.
    fn run_daemons(
        &mut self,
        key: &ObjectKey,
        workload: &Workload,
        owned: &[ObjectKey],
        found: &[&(ObjectMeta, String)],
    ) {
        let template = &workload.spec.template.spec;
        let nodes: Vec<String> = self.state.nodes.iter().map(|node| node.name.clone()).collect();
        let mut wanted: BTreeSet<&String> = nodes
            .iter()
            .filter(|name| self.node_object(name).is_some_and(|node| is_for_daemon(template, node)))
            .filter(|name| !found.iter().any(|(_, node)| node == *name))
            .collect();
        for pod in owned {
            let node = self.stored.get(pod).and_then(as_pod).filter(|pod| is_of_template(pod, workload));
            if !node.is_some_and(|pod| wanted.remove(&pod.spec.node_name)) {
                self.stored.remove(pod);
                self.owners.remove(pod);
            }
        }
        // In the order of nodes, so that NAME-0 is on the first one.
        for node in nodes.iter().filter(|name| wanted.contains(name)) {
            self.make_pod(key, workload, node);
        }
    }

    /// `node`: the node that the Pod is bound to, or nothing.
    fn make_pod(&mut self, owner: &ObjectKey, workload: &Workload, node: &str) {
        let first = workload.spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start);
        let first = u32::try_from(first).unwrap_or_default();
        let serial = self.serials.entry(owner.clone()).or_insert(first);
        // A StatefulSet replaces a Pod by one of the same name.
        if workload.kind == WorkloadKind::StatefulSet {
            *serial = first;
        }
        let (number, key) = loop {
            let number = *serial;
            *serial += 1;
            let name = format!("{}-{number}", owner.name.name);
            let key = ObjectKey { kind: Kind::Pod, name: ObjectName::new(&owner.name.namespace, name) };
            if !self.stored.contains_key(&key) {
                break (number, key);
            }
        };
        let mut pod = objects::Pod {
            metadata: ObjectMeta {
                name: key.name.name.clone(),
                namespace: key.name.namespace.clone(),
                ..workload.spec.template.metadata.clone()
            },
            spec: workload.spec.template.spec.clone(),
            ..objects::Pod::default()
        };
        if !node.is_empty() {
            node.clone_into(&mut pod.spec.node_name);
        }
        if workload.kind == WorkloadKind::StatefulSet {
            let labels = &mut pod.metadata.labels;
            labels.insert(POD_NAME.to_owned(), key.name.name.clone());
            labels.insert(POD_INDEX.to_owned(), number.to_string());
            pod.spec.hostname.clone_from(&key.name.name);
            pod.spec.subdomain.clone_from(&workload.spec.service_name);
        }
        self.owners.insert(key.clone(), owner.clone());
        self.stored.insert(key, Object::Pod(pod));
    }
}

fn as_workload(object: &Object) -> Option<&Workload> {
    if let Object::Workload(workload) = object { Some(workload) } else { None }
}

/// The number of Pods that a workload should have now.
///
/// Kubernetes: `manageJob`, pkg/controller/job/job_controller.go.
fn replicas(workload: &Workload) -> i32 {
    let spec = &workload.spec;
    match workload.kind {
        WorkloadKind::Deployment
        | WorkloadKind::ReplicaSet
        | WorkloadKind::StatefulSet
        | WorkloadKind::ReplicationController => spec.replicas.unwrap_or(1),
        WorkloadKind::DaemonSet => 0,
        WorkloadKind::Job if spec.suspend || workload.status.completion_time.is_some() => 0,
        WorkloadKind::Job => {
            let parallel = spec.parallelism.unwrap_or(1);
            let succeeded = workload.status.succeeded;
            // Without a number of completions, the Job is complete when one Pod has succeeded.
            let open = match spec.completions {
                Some(completions) => completions.saturating_sub(succeeded).max(0),
                None if spec.parallelism.is_some() && succeeded == 0 => parallel,
                None => 1_i32.saturating_sub(succeeded).max(0),
            };
            parallel.min(open)
        }
    }
}

/// The API server gives the Pods of a Job labels, and a selector for them, unless the Job has `manualSelector`.
///
/// Kubernetes: `generateSelector`, pkg/registry/batch/job/strategy.go.
fn complete(workload: &mut Workload) {
    if workload.kind != WorkloadKind::Job || workload.spec.selector != LabelSelector::default() {
        return;
    }
    let name = workload.metadata.name.clone();
    for label in JOB_NAMES {
        workload.spec.template.metadata.labels.insert(label.to_owned(), name.clone());
    }
    workload.spec.selector.match_labels.insert(JOB_NAMES[0].to_owned(), name);
}

/// Pods that were not generated here, such as those in a dump of a cluster, each with its node: a workload counts those
/// that match its selector. Indexed by namespace and label, so that a selector need not visit all of them.
struct Orphans(BTreeMap<(String, String, String), Vec<(ObjectMeta, String)>>);

impl Orphans {
    fn of(cluster: &Cluster) -> Self {
        let mut index: BTreeMap<_, Vec<(ObjectMeta, String)>> = BTreeMap::new();
        for (key, pod) in cluster.stored.iter().filter_map(|(key, object)| Some((key, as_pod(object)?))) {
            if is_finished(pod) || cluster.owners.contains_key(key) {
                continue;
            }
            for (name, value) in &pod.metadata.labels {
                let label = (key.name.namespace.clone(), name.clone(), value.clone());
                index.entry(label).or_default().push((pod.metadata.clone(), pod.spec.node_name.clone()));
            }
        }
        Self(index)
    }

    /// The Pods that a selector matches. A selector without an exact label matches none: upstream it could,
    /// but such selectors do not occur.
    fn selected_by(&self, namespace: &str, selector: &LabelSelector) -> Vec<&(ObjectMeta, String)> {
        let with_label = |name: &String, value: &String| {
            let label = (namespace.to_owned(), name.clone(), value.clone());
            self.0.get(&label).map_or(&[][..], Vec::as_slice)
        };
        let lists = selector.match_labels.iter().map(|(name, value)| with_label(name, value));
        let shortest = lists.min_by_key(|list| list.len()).unwrap_or_default();
        shortest.iter().filter(|(metadata, _)| selects(selector, metadata)).collect()
    }
}

/// True if a Pod was generated from the current template.
fn is_of_template(pod: &objects::Pod, workload: &Workload) -> bool {
    let template = &workload.spec.template;
    let mut bound = objects::PodSpec { node_name: pod.spec.node_name.clone(), ..template.spec.clone() };
    let mut labels = pod.metadata.labels.clone();
    if workload.kind == WorkloadKind::StatefulSet {
        bound.hostname.clone_from(&pod.metadata.name);
        bound.subdomain.clone_from(&workload.spec.service_name);
        for label in [POD_NAME, POD_INDEX] {
            labels.remove(label);
        }
    }
    let is_same_node = template.spec.node_name.is_empty() || template.spec.node_name == pod.spec.node_name;
    labels == template.metadata.labels && pod.spec == bound && is_same_node
}

/// Kubernetes: `LabelSelectorAsSelector`, apimachinery pkg/apis/meta/v1/helpers.go. An empty selector matches
/// everything, but a workload with one is rejected; here it matches nothing.
fn selects(selector: &LabelSelector, metadata: &ObjectMeta) -> bool {
    let is_empty = selector.match_labels.is_empty() && selector.match_expressions.is_empty();
    let labels = &metadata.labels;
    !is_empty
        && selector.match_labels.iter().all(|(name, value)| labels.get(name) == Some(value))
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator.as_str() {
                "In" => value.is_some_and(|value| requirement.values.contains(value)),
                "NotIn" => value.is_none_or(|value| !requirement.values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
