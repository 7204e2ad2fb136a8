//! YAML as a tree of nodes with positions.
//!
//! The tree is used twice: serde reads typed documents from it ([`decode`]), and whoever later finds a field invalid
//! looks up its position by path ([`Node::locate`]). Scalars follow the YAML 1.2 core schema, plus the merge key `<<`,
//! which manifests for older readers use.
//!
//! Collections and text are shared: an alias is another reference to its anchor, and cloning a node is free. A
//! traversal still visits the anchor once per alias, so [`parse`] limits the expanded size.

mod build;
mod decode;
mod inside;
mod scalar;

pub use build::parse;
pub use decode::{DecodeError, DecodeFault, decode};
pub(crate) use inside::inside;
pub use scalar::Scalar;

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;

/// A byte range of a source text.
pub type Span = Range<usize>;

/// A node with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its byte range. An alias has the position of the alias; its descendants have those of the anchor.
    pub span: Span,
    /// Its value.
    pub value: Value,
}

/// The value of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    Sequence(Arc<[Node]>),
    /// Keys and values.
    Mapping(Arc<Mapping>),
}

/// Entries by key, in text order. Keys are text; `1` and `"1"` are the same key.
pub type Mapping = IndexMap<Arc<str>, MapEntry>;

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct MapEntry {
    /// The position of the key.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// All documents of a text that could be parsed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// Well-formed documents in order, without empty ones.
    pub documents: Vec<Node>,
    /// Faults of the other documents. A malformed document does not hide the next one.
    pub faults: Vec<SyntaxFault>,
}

/// Why a text is not valid YAML, or uses features that manifests must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxFault {
    /// The position.
    pub span: Span,
    /// The problem, as a sentence without a full stop.
    pub message: String,
    /// The first occurrence, for duplicates.
    pub first: Option<Span>,
    /// How to fix it; empty if the message says so.
    pub help: &'static str,
}

impl Node {
    /// The value of `key`, if this is a mapping that contains it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key`, if this is a mapping that contains it.
    pub fn entry(&self, key: &str) -> Option<&MapEntry> {
        self.mapping()?.get(key)
    }

    /// The entries of a mapping.
    pub fn mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// The items, if this is a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            Value::Scalar(_) | Value::Mapping(_) => None,
        }
    }

    /// The text of a scalar as written, without quotes.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// A short range at the start of this node: for a collection, its first key or item.
    pub fn head(&self) -> Span {
        match &self.value {
            Value::Scalar(_) => self.span.clone(),
            Value::Sequence(items) => items.first().map_or_else(|| self.span.clone(), Self::head),
            Value::Mapping(entries) => {
                entries.first().map_or_else(|| self.span.clone(), |(_, entry)| entry.key_span.clone())
            }
        }
    }

    /// The node at `path`, such as `spec.ports[0].nodePort`. Keys may contain dots and slashes.
    pub fn at(&self, path: &str) -> Option<&Self> {
        let (node, rest) = self.descend(path);
        rest.is_empty().then_some(node)
    }

    /// The position of `path`, or of its deepest existing part.
    pub fn locate(&self, path: &str) -> Span {
        self.descend(path).0.head()
    }

    /// The position of the last key of `path`, or else as [`Node::locate`].
    pub fn locate_key(&self, path: &str) -> Span {
        let mut node = self;
        let mut rest = path;
        let mut place = None;
        while let Some((step, after)) = node.step(rest) {
            place = Some(step.key_span);
            (node, rest) = (step.node, after);
        }
        place.flatten().filter(|_| rest.is_empty()).unwrap_or_else(|| node.head())
    }

    fn descend<'a, 'p>(&'a self, path: &'p str) -> (&'a Self, &'p str) {
        let mut node = self;
        let mut rest = path;
        while let Some((step, after)) = node.step(rest) {
            (node, rest) = (step.node, after);
        }
        (node, rest)
    }

    /// Splits one key or index off `path`. If several keys match, the longest is used, because keys may contain dots.
    fn step<'a, 'p>(&'a self, path: &'p str) -> Option<(PathStep<'a>, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        if path.is_empty() {
            return None;
        }
        match &self.value {
            Value::Scalar(_) => None,
            Value::Sequence(items) => {
                let (index, after) = path.strip_prefix('[')?.split_once(']')?;
                let node = items.get(index.parse::<usize>().ok()?)?;
                Some((PathStep { node, key_span: None }, after))
            }
            Value::Mapping(entries) => {
                let ends = path.rmatch_indices(['.', '[']).map(|(end, _)| end).filter(|end| *end > 0);
                let (end, entry) = std::iter::once(path.len())
                    .chain(ends)
                    .find_map(|end| Some((end, entries.get(&path[..end])?)))?;
                let key_span = Some(entry.key_span.clone());
                Some((PathStep { node: &entry.value, key_span }, &path[end..]))
            }
        }
    }
}

struct PathStep<'a> {
    node: &'a Node,
    key_span: Option<Span>,
}

#[cfg(test)]
mod tests;
