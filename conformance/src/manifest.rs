//! Reads a scenario and Kubernetes objects from texts, with their positions.
//!
//! Manifests are used verbatim: the output of `kubectl get -o yaml` works, including `kind: List`.

mod facts;
mod fields;
mod flags;
mod kinds;
mod load;

pub use facts::{Facts, port_range};
pub(crate) use fields::unknown_fields;
pub use load::{load, read_object};

use proxy_core::ObjectError;
use proxy_core::objects::Object;

use crate::diagnostic::{Diagnostic, Place, Source, SourceId};
use crate::scenario::{FieldFault, Scenario};
use crate::yaml::Node;

/// The contents of some texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifests {
    /// The texts.
    pub sources: Vec<Source>,
    /// Scenarios, in order; a run needs exactly one.
    pub scenarios: Vec<LoadedScenario>,
    /// Kubernetes objects, in order.
    pub objects: Vec<LoadedObject>,
    /// What other documents tell about the cluster.
    pub facts: Facts,
    /// Problems of the remaining documents.
    pub diagnostics: Vec<Diagnostic>,
}

/// A scenario with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedScenario {
    /// The scenario.
    pub scenario: Scenario,
    /// Its position.
    pub origin: SourceNode,
}

/// An object with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedObject {
    /// The object.
    pub object: Object,
    /// Its position.
    pub origin: SourceNode,
}

/// The tree of a document, used to find the positions of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceNode {
    /// The text.
    pub source: SourceId,
    /// The document, the item of a list, or the manifest inside a step.
    pub node: Node,
}

impl SourceNode {
    /// The position of the start of the document.
    pub fn head(&self) -> Place {
        Place { source: self.source, span: self.node.head() }
    }

    /// The position of a field's value, or of the deepest existing part of its path.
    pub fn value(&self, path: &str) -> Place {
        Place { source: self.source, span: self.node.locate(path) }
    }

    /// The position of a field's key.
    pub fn key(&self, path: &str) -> Place {
        Place { source: self.source, span: self.node.locate_key(path) }
    }

    /// A field's fault as a diagnostic.
    pub fn fault(&self, fault: &FieldFault) -> Diagnostic {
        let place = if fault.is_key { self.key(&fault.path) } else { self.value(&fault.path) };
        let mut diagnostic =
            Diagnostic::error(place, fault.message.as_str()).expected(expected_words(&fault.expected));
        if !fault.help.is_empty() {
            diagnostic = diagnostic.help(fault.help.as_str());
        }
        diagnostic
    }

    /// An error about this object as a diagnostic.
    pub fn object_error(&self, error: &ObjectError) -> Diagnostic {
        let message = format!("invalid value of {}: {}", error.path, error.found);
        Diagnostic::error(self.value(&error.path), message).expected(expected_words(&error.expected))
    }
}

pub(crate) fn expected_words(expected: &str) -> String {
    if expected.is_empty() { String::new() } else { format!("expected {expected}") }
}

#[cfg(test)]
mod tests;
