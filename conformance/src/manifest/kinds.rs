//! Kinds that are accepted but not simulated.
//!
//! Every kind that hairpin does not model is passed over: custom resources, and the rest of the built-in kinds. Of some of
//! them, an author may expect an effect on packets.

/// A warning about kinds that have an effect on packets in a real cluster, by API group and kind.
const WARNINGS: [(&str, &str, &str); 8] = [
    ("batch", "CronJob", "it creates no Jobs; list its Pods, or use a Job"),
    ("networking.k8s.io", "NetworkPolicy", NO_POLICIES),
    ("policy.networking.k8s.io", "AdminNetworkPolicy", NO_POLICIES),
    ("crd.projectcalico.org", "GlobalNetworkPolicy", NO_POLICIES),
    ("projectcalico.org", "GlobalNetworkPolicy", NO_POLICIES),
    ("cilium.io", "CiliumNetworkPolicy", NO_POLICIES),
    ("cilium.io", "CiliumClusterwideNetworkPolicy", NO_POLICIES),
    ("networking.k8s.io", "Ingress", "ingress controllers are not simulated"),
];

const NO_POLICIES: &str = "policies are not simulated; nothing is dropped because of it";

/// What to say about an object of a kind that is passed over; nothing for most.
pub(super) fn warning(group: &str, kind: &str) -> Option<&'static str> {
    WARNINGS.iter().find(|(of, name, _)| *of == group && *name == kind).map(|(_, _, warning)| *warning)
}

/// The group of an `apiVersion`; empty for the core group.
pub(super) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// True if only Kubernetes itself defines kinds in a group.
///
/// Kubernetes: groups of custom resources have a dot; those under k8s.io need approval (KEP-1111).
pub(super) fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group == "k8s.io" || group.ends_with(".k8s.io")
}
