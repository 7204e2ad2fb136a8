//! Kinds that are accepted but not simulated.

/// A kind that may occur in a dump of a cluster and is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IgnoredKind {
    /// The kind.
    pub name: &'static str,
    /// A warning if the author may expect an effect on packets, else empty.
    pub warning: &'static str,
}

const fn silent(name: &'static str) -> IgnoredKind {
    IgnoredKind { name, warning: "" }
}

const fn loud(name: &'static str, warning: &'static str) -> IgnoredKind {
    IgnoredKind { name, warning }
}

const NO_PODS: &str = "it creates no Pods; list its Pods, or use a Deployment";

/// All such kinds, in any API group.
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
    // A dump with a Deployment contains its ReplicaSets and their Pods as well.
    silent("ReplicaSet"),
    loud("DaemonSet", NO_PODS),
    loud("StatefulSet", NO_PODS),
    loud("ReplicationController", NO_PODS),
    loud("Job", NO_PODS),
    loud("CronJob", NO_PODS),
    loud("NetworkPolicy", "policies are not simulated; nothing is dropped because of it"),
    loud("Ingress", "ingress controllers are not simulated"),
];
