//! The Deployment controller, including the ReplicaSet controller.

use std::collections::BTreeMap;

use proxy_core::objects::{self, Deployment, Kind, LabelSelector, Object, ObjectMeta};

use super::pods::is_finished;
use super::{Cluster, ClusterProblem, as_pod, natural_cmp};
use crate::scenario::{FieldFault, ObjectKey, ObjectName};

/// Maximum number of Pods of a Deployment. Far more than scenarios need; a larger number is probably a typo.
const REPLICAS_MAX: i32 = 5_000;

impl Cluster {
    /// Creates or removes Pods until every Deployment has the requested number.
    pub(super) fn run_deployments(&mut self, problems: &mut Vec<ClusterProblem>) {
        let deployments: Vec<(ObjectKey, Deployment)> = self
            .stored
            .iter()
            .filter_map(|(key, object)| match object {
                Object::Deployment(deployment) => Some((key.clone(), deployment.clone())),
                Object::Namespace(_)
                | Object::Node(_)
                | Object::Pod(_)
                | Object::Service(_)
                | Object::EndpointSlice(_)
                | Object::Endpoints(_)
                | Object::KubeProxyConfiguration(_) => None,
            })
            .collect();
        let mut owned: BTreeMap<ObjectKey, Vec<ObjectKey>> = BTreeMap::new();
        for (pod, owner) in &self.owners {
            owned.entry(owner.clone()).or_default().push(pod.clone());
        }
        let orphans = Orphans::of(self);
        for (key, deployment) in deployments {
            let replicas = deployment.spec.replicas.unwrap_or(1);
            if !(0..=REPLICAS_MAX).contains(&replicas) {
                let fault = FieldFault::new(format!("invalid number of Pods {replicas}"));
                let fault = fault.expected(format!("0 to {REPLICAS_MAX}")).at("spec.replicas");
                problems.push(ClusterProblem::error(key, fault));
                continue;
            }
            if !selects(&deployment.spec.selector, &deployment.spec.template.metadata) {
                let fault = FieldFault::new("the selector does not match the Pod template")
                    .expected("labels of spec.template.metadata.labels");
                problems.push(ClusterProblem::error(key, fault.at("spec.selector")));
                continue;
            }
            let owned = owned.remove(&key).unwrap_or_default();
            let adopted = orphans.selected_by(&key.name.namespace, &deployment.spec.selector);
            let replicas = usize::try_from(replicas).unwrap_or(0).saturating_sub(adopted);
            self.run_deployment(&key, &deployment, owned, replicas);
        }
    }

    /// Replaces Pods of an earlier template, then creates or removes Pods until there are `replicas`.
    fn run_deployment(
        &mut self,
        key: &ObjectKey,
        deployment: &Deployment,
        owned: Vec<ObjectKey>,
        replicas: usize,
    ) {
        let is_current = |object: &Object| as_pod(object).is_some_and(|pod| is_of_template(pod, deployment));
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
            self.make_pod(key, deployment);
        }
    }

    fn make_pod(&mut self, owner: &ObjectKey, deployment: &Deployment) {
        let serial = self.serials.entry(owner.clone()).or_default();
        let key = loop {
            let name = format!("{}-{serial}", owner.name.name);
            *serial += 1;
            let key = ObjectKey { kind: Kind::Pod, name: ObjectName::new(&owner.name.namespace, name) };
            if !self.stored.contains_key(&key) {
                break key;
            }
        };
        let pod = objects::Pod {
            metadata: ObjectMeta {
                name: key.name.name.clone(),
                namespace: key.name.namespace.clone(),
                ..deployment.spec.template.metadata.clone()
            },
            spec: deployment.spec.template.spec.clone(),
            ..objects::Pod::default()
        };
        self.owners.insert(key.clone(), owner.clone());
        self.stored.insert(key, Object::Pod(pod));
    }
}

/// Pods that were not generated here, such as those in a dump of a cluster: a Deployment counts those that match its
/// selector. Indexed by namespace and label, so that a selector need not visit all of them.
struct Orphans(BTreeMap<(String, String, String), Vec<ObjectMeta>>);

impl Orphans {
    fn of(cluster: &Cluster) -> Self {
        let mut index: BTreeMap<_, Vec<ObjectMeta>> = BTreeMap::new();
        for (key, pod) in cluster.stored.iter().filter_map(|(key, object)| Some((key, as_pod(object)?))) {
            if is_finished(pod) || cluster.owners.contains_key(key) {
                continue;
            }
            for (name, value) in &pod.metadata.labels {
                let label = (key.name.namespace.clone(), name.clone(), value.clone());
                index.entry(label).or_default().push(pod.metadata.clone());
            }
        }
        Self(index)
    }

    /// The number of Pods that a selector matches. A selector without an exact label matches none: upstream it could,
    /// but such selectors do not occur.
    fn selected_by(&self, namespace: &str, selector: &LabelSelector) -> usize {
        let with_label = |name: &String, value: &String| {
            let label = (namespace.to_owned(), name.clone(), value.clone());
            self.0.get(&label).map_or(&[][..], Vec::as_slice)
        };
        let lists = selector.match_labels.iter().map(|(name, value)| with_label(name, value));
        let shortest = lists.min_by_key(|list| list.len()).unwrap_or_default();
        shortest.iter().filter(|metadata| selects(selector, metadata)).count()
    }
}

/// True if a Pod was generated from the current template.
fn is_of_template(pod: &objects::Pod, deployment: &Deployment) -> bool {
    let template = &deployment.spec.template;
    let bound = objects::PodSpec { node_name: pod.spec.node_name.clone(), ..template.spec.clone() };
    let is_same_node = template.spec.node_name.is_empty() || template.spec.node_name == pod.spec.node_name;
    pod.metadata.labels == template.metadata.labels && pod.spec == bound && is_same_node
}

/// Kubernetes: `LabelSelectorAsSelector`, apimachinery pkg/apis/meta/v1/helpers.go. An empty selector matches
/// everything, but a Deployment with one is rejected; here it matches nothing.
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
