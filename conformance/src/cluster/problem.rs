//! Problems of a cluster, by object and field.

use proxy_core::ObjectError;

use crate::diagnostic::Severity;
use crate::scenario::{FieldFault, ObjectKey};

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterProblem {
    /// Error or warning.
    pub severity: Severity,
    /// The object; `None` for the scenario itself.
    pub object: Option<ObjectKey>,
    /// The field and the problem.
    pub fault: FieldFault,
    /// A related object and field, and the relation.
    pub related: Option<(ObjectKey, String, String)>,
}

impl ClusterProblem {
    /// An error in a field of an object.
    pub(super) fn error(object: ObjectKey, fault: FieldFault) -> Self {
        Self { severity: Severity::Error, object: Some(object), fault, related: None }
    }

    /// A warning about a field of an object.
    pub(super) fn warning(object: ObjectKey, fault: FieldFault) -> Self {
        Self { severity: Severity::Warning, ..Self::error(object, fault) }
    }

    /// An error in a field of the scenario.
    pub(super) fn of_scenario(fault: FieldFault) -> Self {
        Self { severity: Severity::Error, object: None, fault, related: None }
    }

    /// A warning about a field of the scenario.
    pub(super) fn warning_of_scenario(fault: FieldFault) -> Self {
        Self { severity: Severity::Warning, ..Self::of_scenario(fault) }
    }

    /// An error reported by `proxy-core`.
    pub(super) fn of_object_error(error: &ObjectError) -> Self {
        let fault = FieldFault::new(format!("invalid value of {}: {}", error.path, error.found))
            .expected(error.expected.to_string())
            .at(error.path.to_string());
        Self::error(ObjectKey::of_error(error), fault)
    }

    /// Adds a related field.
    pub(super) fn related(
        mut self,
        object: ObjectKey,
        path: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        self.related = Some((object, path.into(), why.into()));
        self
    }

    /// True for an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
