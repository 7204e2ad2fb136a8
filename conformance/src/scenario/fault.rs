//! Invalid fields of a document.

use thiserror::Error;

/// A field with an invalid value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("{path}: {message}")]
pub struct FieldFault {
    /// The field, from the document's root: `spec.steps[0].connect.to`.
    pub path: String,
    /// True if the key is invalid, not its value.
    pub is_key: bool,
    /// The problem.
    pub message: String,
    /// What was expected; empty if the message says so.
    pub expected: String,
    /// How to fix it; empty if obvious.
    pub help: String,
}

impl FieldFault {
    /// A fault whose path is not known yet.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(crate) fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    pub(crate) fn at_key(self, path: impl Into<String>) -> Self {
        Self { is_key: true, ..self.at(path) }
    }
}
