//! The part of the Kubernetes API that affects packets.
//!
//! Plain structs with the API's field names; unused fields are ignored. Nothing is validated here: an address is the
//! string in the manifest, a port any integer. The modules that use a field validate it and report its path
//! ([`crate::ObjectError`]).
//!
//! Every field may be absent or `null`, as in Go's decoder; the default is Go's zero value.

mod endpoint_slice;
mod endpoints;
mod kube_proxy_configuration;
mod meta;
mod node;
mod pod;
mod service;
mod workload;

pub use endpoint_slice::{
    AddressType, Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
pub use endpoints::{EndpointAddress, EndpointSubset, Endpoints, EndpointsPort};
pub use kube_proxy_configuration::{
    ConntrackConfiguration, DetectLocalConfiguration, IpTablesConfiguration, IpvsConfiguration,
    KubeProxyConfiguration, NfTablesConfiguration,
};
pub use meta::{
    IntOrString, LabelSelector, LabelSelectorRequirement, ObjectMeta, ObjectReference, OwnerReference,
    TypeMeta,
};
pub use node::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, Taint};
pub use pod::{
    Container, ContainerPort, Pod, PodCondition, PodIp, PodSpec, PodStatus, PodTemplateSpec, Toleration,
};
pub use service::{
    ClientIpConfig, IpFamily, IpFamilyPolicy, IpMode, LoadBalancerIngress, LoadBalancerStatus, Protocol,
    Service, ServiceAffinity, ServicePort, ServiceSpec, ServiceStatus, ServiceType, SessionAffinityConfig,
    TrafficPolicy,
};
pub use workload::{Ordinals, Workload, WorkloadKind, WorkloadSpec, WorkloadStatus};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kinds of object that hairpin supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Namespace; its content is ignored.
    Namespace,
    /// `v1` Node.
    Node,
    /// `v1` Pod.
    Pod,
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `v1` ReplicationController.
    ReplicationController,
    /// `batch/v1` Job.
    Job,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Endpoints.
    Endpoints,
    /// `kubeproxy.config.k8s.io/v1alpha1` KubeProxyConfiguration.
    KubeProxyConfiguration,
}

/// Kind, `apiVersion` and name of each kind, in one place.
const KINDS: [(Kind, &str, &str); 13] = [
    (Kind::Namespace, "v1", "Namespace"),
    (Kind::Node, "v1", "Node"),
    (Kind::Pod, "v1", "Pod"),
    (Kind::Deployment, "apps/v1", "Deployment"),
    (Kind::ReplicaSet, "apps/v1", "ReplicaSet"),
    (Kind::StatefulSet, "apps/v1", "StatefulSet"),
    (Kind::DaemonSet, "apps/v1", "DaemonSet"),
    (Kind::ReplicationController, "v1", "ReplicationController"),
    (Kind::Job, "batch/v1", "Job"),
    (Kind::Service, "v1", "Service"),
    (Kind::EndpointSlice, "discovery.k8s.io/v1", "EndpointSlice"),
    (Kind::Endpoints, "v1", "Endpoints"),
    (Kind::KubeProxyConfiguration, "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"),
];

impl Kind {
    /// The kind of a document with this `apiVersion` and `kind`, or `None` if hairpin does not support it.
    pub fn of(type_meta: &TypeMeta) -> Option<Self> {
        KINDS
            .iter()
            .find(|(_, api_version, name)| *api_version == type_meta.api_version && *name == type_meta.kind)
            .map(|(kind, _, _)| *kind)
    }

    /// Every kind, in a fixed order.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(kind, _, _)| *kind)
    }

    /// The `kind` field of a manifest, such as `EndpointSlice`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// The `apiVersion` field of a manifest, such as `discovery.k8s.io/v1`.
    pub fn api_version(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        &KINDS[self as usize]
    }
}

/// One object of any supported kind.
///
/// Deliberately not a tagged serde enum: with a tag, YAML readers lose the position of an error. Read the document's
/// [`TypeMeta`] first, then the document with [`Object::deserialize_as`].
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A Namespace: only its name and labels are kept.
    Namespace(ObjectMeta),
    /// A Node.
    Node(Node),
    /// A Pod.
    Pod(Pod),
    /// A workload.
    Workload(Workload),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A (legacy) Endpoints object.
    Endpoints(Endpoints),
    /// kube-proxy's configuration file.
    KubeProxyConfiguration(Box<KubeProxyConfiguration>),
}

/// A document of which only the metadata is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OnlyMeta {
    #[serde(deserialize_with = "meta::null_is_default")]
    metadata: ObjectMeta,
}

impl Object {
    /// Deserializes one document as `kind`.
    ///
    /// # Errors
    /// What the deserializer reports: a field of the wrong type, an unknown variant of a closed enum.
    pub fn deserialize_as<'de, D: Deserializer<'de>>(kind: Kind, deserializer: D) -> Result<Self, D::Error> {
        fn workload<'de, D: Deserializer<'de>>(
            kind: WorkloadKind,
            deserializer: D,
        ) -> Result<Object, D::Error> {
            Workload::deserialize_as(kind, deserializer).map(Object::Workload)
        }
        match kind {
            Kind::Namespace => {
                OnlyMeta::deserialize(deserializer).map(|document| Self::Namespace(document.metadata))
            }
            Kind::Node => Node::deserialize(deserializer).map(Self::Node),
            Kind::Pod => Pod::deserialize(deserializer).map(Self::Pod),
            Kind::Deployment => workload(WorkloadKind::Deployment, deserializer),
            Kind::ReplicaSet => workload(WorkloadKind::ReplicaSet, deserializer),
            Kind::StatefulSet => workload(WorkloadKind::StatefulSet, deserializer),
            Kind::DaemonSet => workload(WorkloadKind::DaemonSet, deserializer),
            Kind::ReplicationController => workload(WorkloadKind::ReplicationController, deserializer),
            Kind::Job => workload(WorkloadKind::Job, deserializer),
            Kind::Service => Service::deserialize(deserializer).map(Self::Service),
            Kind::EndpointSlice => EndpointSlice::deserialize(deserializer).map(Self::EndpointSlice),
            Kind::Endpoints => Endpoints::deserialize(deserializer).map(Self::Endpoints),
            Kind::KubeProxyConfiguration => KubeProxyConfiguration::deserialize(deserializer)
                .map(|configuration| Self::KubeProxyConfiguration(Box::new(configuration))),
        }
    }

    /// The kind of this object.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Workload(workload) => workload.kind.kind(),
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::KubeProxyConfiguration(_) => Kind::KubeProxyConfiguration,
        }
    }

    /// Name, namespace and labels; `None` for a configuration file, which has none.
    pub fn metadata(&self) -> Option<&ObjectMeta> {
        match self {
            Self::Namespace(metadata) => Some(metadata),
            Self::Node(node) => Some(&node.metadata),
            Self::Pod(pod) => Some(&pod.metadata),
            Self::Workload(workload) => Some(&workload.metadata),
            Self::Service(service) => Some(&service.metadata),
            Self::EndpointSlice(slice) => Some(&slice.metadata),
            Self::Endpoints(endpoints) => Some(&endpoints.metadata),
            Self::KubeProxyConfiguration(_) => None,
        }
    }
}

/// The manifest form: `apiVersion` and `kind` first, then the object's fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    object: &'a T,
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn write<T: Serialize, S: Serializer>(
            kind: Kind,
            object: &T,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            Manifest { api_version: kind.api_version(), kind: kind.name(), object }.serialize(serializer)
        }
        #[derive(Serialize)]
        struct WithMeta<'a> {
            metadata: &'a ObjectMeta,
        }
        let kind = self.kind();
        match self {
            Self::Namespace(metadata) => write(kind, &WithMeta { metadata }, serializer),
            Self::Node(object) => write(kind, object, serializer),
            Self::Pod(object) => write(kind, object, serializer),
            Self::Workload(object) => write(kind, object, serializer),
            Self::Service(object) => write(kind, object, serializer),
            Self::EndpointSlice(object) => write(kind, object, serializer),
            Self::Endpoints(object) => write(kind, object, serializer),
            Self::KubeProxyConfiguration(object) => write(kind, object, serializer),
        }
    }
}

#[cfg(test)]
mod tests;
