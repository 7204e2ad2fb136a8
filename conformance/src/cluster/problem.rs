//! What is wrong with a cluster, by object and field.

use proxy_core::ObjectError;

use crate::diagnostic::Severity;
use crate::manifest::ObjectKey;
use crate::scenario::FieldFault;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the cluster can exist in spite of it.
    pub severity: Severity,
    /// The object; `None` for the scenario itself.
    pub object: Option<ObjectKey>,
    /// The field, and what is wrong with it.
    pub fault: FieldFault,
    /// Another object and field that matter, and why.
    pub related: Option<(ObjectKey, String, String)>,
}

impl Problem {
    /// An error of a field of an object.
    pub(super) fn error(object: ObjectKey, fault: FieldFault) -> Self {
        Self { severity: Severity::Error, object: Some(object), fault, related: None }
    }

    /// A warning about a field of an object.
    pub(super) fn warning(object: ObjectKey, fault: FieldFault) -> Self {
        Self { severity: Severity::Warning, ..Self::error(object, fault) }
    }

    /// An error of a field of the scenario.
    pub(super) fn of_scenario(fault: FieldFault) -> Self {
        Self { severity: Severity::Error, object: None, fault, related: None }
    }

    /// What `proxy-core` says about an object.
    pub(super) fn of_object_error(error: &ObjectError) -> Self {
        let fault = FieldFault::new(format!("{} cannot be {}", error.path, error.found))
            .expected(error.expected.to_string())
            .at(error.path.to_string());
        Self::error(ObjectKey::of_error(error), fault)
    }

    /// With another field that matters.
    pub(super) fn related(
        mut self,
        object: ObjectKey,
        path: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        self.related = Some((object, path.into(), why.into()));
        self
    }

    /// Whether the cluster cannot exist because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
