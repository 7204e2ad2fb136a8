//! From texts to a scenario and Kubernetes objects, every one with its place.
//!
//! Manifests are taken verbatim: what `kubectl get -o yaml` prints works, `kind: List` included.

mod kinds;
mod load;

pub use kinds::{IGNORED_KINDS, IgnoredKind};
pub use load::{load, read_object};

use proxy_core::ObjectError;
use proxy_core::objects::{Kind, Object};

use crate::diagnostic::{Diagnostic, Place, Source, SourceId};
use crate::scenario::{FieldFault, ObjectName, Scenario};
use crate::yaml::Node;

/// What some texts hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifests {
    /// The texts.
    pub sources: Vec<Source>,
    /// Scenarios, in order; a run needs exactly one.
    pub scenarios: Vec<LoadedScenario>,
    /// Kubernetes objects, in order.
    pub objects: Vec<LoadedObject>,
    /// What is wrong with the rest.
    pub diagnostics: Vec<Diagnostic>,
}

/// A scenario and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedScenario {
    /// The scenario.
    pub scenario: Scenario,
    /// Where it stands.
    pub origin: SourceNode,
}

/// An object and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedObject {
    /// The object.
    pub object: Object,
    /// Where it stands.
    pub origin: SourceNode,
}

/// The tree that a document was read from, by which the places of its fields are found.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceNode {
    /// The text.
    pub source: SourceId,
    /// The document, the item of a list, or the manifest inside a step.
    pub node: Node,
}

/// Kind, namespace and name: what makes an object the same object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name. Kinds without namespaces have the namespace `default` here.
    pub name: ObjectName,
}

impl ObjectKey {
    /// The key of an object. kube-proxy's configuration has no name; there is one of it.
    pub fn of(object: &Object) -> Self {
        let name = match object.metadata() {
            Some(metadata) if is_namespaced(object.kind()) => {
                ObjectName::new(metadata.namespace(), &metadata.name)
            }
            Some(metadata) => ObjectName::new("default", &metadata.name),
            None => ObjectName::new("default", ""),
        };
        Self { kind: object.kind(), name }
    }

    /// The key of the object that an error is about.
    pub fn of_error(error: &ObjectError) -> Self {
        let namespace = if is_namespaced(error.kind) { &*error.namespace } else { "default" };
        Self { kind: error.kind, name: ObjectName::new(namespace, &*error.name) }
    }
}

/// Whether objects of this kind live in a namespace.
pub const fn is_namespaced(kind: Kind) -> bool {
    match kind {
        Kind::Namespace | Kind::Node | Kind::KubeProxyConfiguration => false,
        Kind::Pod | Kind::Deployment | Kind::Service | Kind::EndpointSlice | Kind::Endpoints => true,
    }
}

impl SourceNode {
    /// The place of the document's beginning.
    pub fn head(&self) -> Place {
        Place { source: self.source, span: self.node.head() }
    }

    /// The place of a field's value, or of the deepest part of the path that exists.
    pub fn value(&self, path: &str) -> Place {
        Place { source: self.source, span: self.node.locate(path) }
    }

    /// The place of a field's key.
    pub fn key(&self, path: &str) -> Place {
        Place { source: self.source, span: self.node.locate_key(path) }
    }

    /// A fault of one of its fields, as a diagnostic.
    pub fn fault(&self, fault: &FieldFault) -> Diagnostic {
        let place = if fault.is_key { self.key(&fault.path) } else { self.value(&fault.path) };
        let mut diagnostic =
            Diagnostic::error(place, fault.message.as_str()).expected(expected_words(&fault.expected));
        if !fault.help.is_empty() {
            diagnostic = diagnostic.help(fault.help.as_str());
        }
        diagnostic
    }

    /// An error about the object that stands here, as a diagnostic.
    pub fn object_error(&self, error: &ObjectError) -> Diagnostic {
        let message = format!("{} cannot be {}", error.path, error.found);
        Diagnostic::error(self.value(&error.path), message).expected(expected_words(&error.expected))
    }
}

pub(crate) fn expected_words(expected: &str) -> String {
    if expected.is_empty() { String::new() } else { format!("expected {expected}") }
}

#[cfg(test)]
mod tests;
