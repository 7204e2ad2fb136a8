//! Kinds that are accepted although nothing of them is simulated.

/// A kind that a dump of a cluster may hold and that is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IgnoredKind {
    /// The kind.
    pub name: &'static str,
    /// A warning, where its author may expect an effect on packets; empty where nobody does.
    pub warning: &'static str,
}

const fn silent(name: &'static str) -> IgnoredKind {
    IgnoredKind { name, warning: "" }
}

const fn loud(name: &'static str, warning: &'static str) -> IgnoredKind {
    IgnoredKind { name, warning }
}

const NO_PODS: &str = "no Pods are made of it; list its Pods, or write a Deployment";

/// Every such kind, whatever its API group.
pub const IGNORED_KINDS: [IgnoredKind; 32] = [
    silent("ConfigMap"),
    silent("Secret"),
    silent("ServiceAccount"),
    silent("Role"),
    silent("RoleBinding"),
    silent("ClusterRole"),
    silent("ClusterRoleBinding"),
    silent("CustomResourceDefinition"),
    silent("ControllerRevision"),
    silent("Event"),
    silent("Lease"),
    silent("LimitRange"),
    silent("ResourceQuota"),
    silent("PersistentVolume"),
    silent("PersistentVolumeClaim"),
    silent("StorageClass"),
    silent("PriorityClass"),
    silent("RuntimeClass"),
    silent("PodDisruptionBudget"),
    silent("HorizontalPodAutoscaler"),
    silent("IngressClass"),
    silent("APIService"),
    silent("MutatingWebhookConfiguration"),
    silent("ValidatingWebhookConfiguration"),
    // A dump of a Deployment holds its ReplicaSets and their Pods as well.
    silent("ReplicaSet"),
    loud("DaemonSet", NO_PODS),
    loud("StatefulSet", NO_PODS),
    loud("ReplicationController", NO_PODS),
    loud("Job", NO_PODS),
    loud("CronJob", NO_PODS),
    loud("NetworkPolicy", "policies are not simulated; nothing is dropped because of it"),
    loud("Ingress", "ingress controllers are not simulated"),
];
