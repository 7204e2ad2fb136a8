//! The nodes on which a Pod may run.

use proxy_core::objects::{Node, PodSpec, Taint, Toleration};

/// True if the scheduler may bind a Pod to a node.
///
/// Kubernetes: the plug-ins NodeUnschedulable, NodeAffinity and TaintToleration, pkg/scheduler/framework/plugins.
/// Deviation: `affinity` and `topologySpreadConstraints` are not considered.
pub(super) fn is_schedulable(pod: &PodSpec, node: &Node) -> bool {
    let cordon = Taint { key: UNSCHEDULABLE.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() };
    has_labels(pod, node)
        && (!node.spec.unschedulable || is_tolerated(&pod.tolerations, &cordon))
        && node.spec.taints.iter().all(|taint| is_tolerated(&pod.tolerations, taint))
}

/// True if the DaemonSet controller makes a Pod for a node: its Pods tolerate the taints of nodes in trouble.
///
/// Kubernetes: `AddOrUpdateDaemonPodTolerations`, pkg/controller/daemon/util/daemonset_util.go.
pub(super) fn is_for_daemon(pod: &PodSpec, node: &Node) -> bool {
    const TROUBLE: [&str; 7] = [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/pid-pressure",
        "node.kubernetes.io/network-unavailable",
        UNSCHEDULABLE,
    ];
    let taints = node.spec.taints.iter().filter(|taint| !TROUBLE.contains(&taint.key.as_str()));
    has_labels(pod, node) && taints.into_iter().all(|taint| is_tolerated(&pod.tolerations, taint))
}

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";

fn has_labels(pod: &PodSpec, node: &Node) -> bool {
    pod.node_selector.iter().all(|(name, value)| node.metadata.labels.get(name) == Some(value))
}

/// Kubernetes: `ToleratesTaint`, staging/src/k8s.io/api/core/v1/toleration.go. `PreferNoSchedule` is only a preference.
fn is_tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    let is_hard = matches!(taint.effect.as_str(), NO_SCHEDULE | "NoExecute");
    let tolerates = |toleration: &Toleration| {
        let is_value = toleration.operator == "Exists" || toleration.value == taint.value;
        (toleration.effect.is_empty() || toleration.effect == taint.effect)
            && (toleration.key.is_empty() || toleration.key == taint.key)
            && is_value
    };
    !is_hard || tolerations.iter().any(tolerates)
}
