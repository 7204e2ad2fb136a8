//! Workloads: objects of which a controller makes Pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::Kind;
use super::meta::{LabelSelector, ObjectMeta, null_is_default};
use super::pod::PodTemplateSpec;

/// A Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController or Job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// Which of them.
    #[serde(skip)]
    pub kind: WorkloadKind,
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// The template and the number of Pods.
    pub spec: WorkloadSpec,
    /// The progress of a Job.
    #[serde(skip_serializing_if = "WorkloadStatus::is_empty")]
    pub status: WorkloadStatus,
}

/// The kinds of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
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
}

impl WorkloadKind {
    /// The kind of object.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Deployment => Kind::Deployment,
            Self::ReplicaSet => Kind::ReplicaSet,
            Self::StatefulSet => Kind::StatefulSet,
            Self::DaemonSet => Kind::DaemonSet,
            Self::ReplicationController => Kind::ReplicationController,
            Self::Job => Kind::Job,
        }
    }
}

/// The specification of a workload: the fields of all kinds together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSpec {
    /// Number of Pods, 1 by default. A DaemonSet and a Job have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Number of Pods of a Job at a time, 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// Number of Pods of a Job that must succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<i32>,
    /// True if a Job has no Pods for now.
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_default")]
    pub suspend: bool,
    /// The Service that gives the Pods of a StatefulSet their DNS names.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub service_name: String,
    /// The numbers of a StatefulSet's Pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordinals: Option<Ordinals>,
    /// Its Pods.
    #[serde(deserialize_with = "null_is_default")]
    pub selector: LabelSelector,
    /// The Pods that it creates.
    #[serde(deserialize_with = "null_is_default")]
    pub template: PodTemplateSpec,
}

/// The numbers of a StatefulSet's Pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ordinals {
    /// The first one.
    #[serde(deserialize_with = "null_is_default")]
    pub start: i32,
}

/// The progress of a Job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Pods that have succeeded.
    #[serde(deserialize_with = "null_is_default")]
    pub succeeded: i32,
    /// When the Job was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<String>,
}

impl WorkloadStatus {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The fields of a document, without its kind.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "null_is_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    spec: WorkloadSpec,
    #[serde(deserialize_with = "null_is_default")]
    status: WorkloadStatus,
}

/// The same of a ReplicationController, whose selector is a map of labels.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ControllerDocument {
    #[serde(deserialize_with = "null_is_default")]
    metadata: ObjectMeta,
    #[serde(deserialize_with = "null_is_default")]
    spec: ControllerSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ControllerSpec {
    replicas: Option<i32>,
    #[serde(deserialize_with = "null_is_default")]
    selector: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_default")]
    template: PodTemplateSpec,
}

impl Workload {
    pub(super) fn deserialize_as<'de, D: Deserializer<'de>>(
        kind: WorkloadKind,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        match kind {
            WorkloadKind::Deployment
            | WorkloadKind::ReplicaSet
            | WorkloadKind::StatefulSet
            | WorkloadKind::DaemonSet
            | WorkloadKind::Job => {
                let Document { metadata, spec, status } = Document::deserialize(deserializer)?;
                Ok(Self { kind, metadata, spec, status })
            }
            WorkloadKind::ReplicationController => {
                let ControllerDocument { metadata, spec } = ControllerDocument::deserialize(deserializer)?;
                let ControllerSpec { replicas, selector, template } = spec;
                // Kubernetes: `SetDefaults_ReplicationController`, pkg/apis/core/v1/defaults.go.
                let match_labels =
                    if selector.is_empty() { template.metadata.labels.clone() } else { selector };
                let selector = LabelSelector { match_labels, ..LabelSelector::default() };
                let spec = WorkloadSpec { replicas, selector, template, ..WorkloadSpec::default() };
                Ok(Self { kind, metadata, spec, status: WorkloadStatus::default() })
            }
        }
    }
}
