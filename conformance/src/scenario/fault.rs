//! What is wrong with a field of a document.

use thiserror::Error;

/// A field that holds what it must not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("{path}: {message}")]
pub struct FieldFault {
    /// The field, from the document's root: `spec.steps[0].connect.to`.
    pub path: String,
    /// The key itself is at fault, not its value.
    pub is_key: bool,
    /// What is wrong.
    pub message: String,
    /// What was expected; empty if the message says it.
    pub expected: String,
    /// What to do about it; empty if that is plain.
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
