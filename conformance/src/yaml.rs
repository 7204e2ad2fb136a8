//! YAML as a tree in which every node knows its place.
//!
//! The tree is read once and then asked twice: serde reads typed documents from it ([`decode`]), and whoever finds
//! fault with a field later finds its place by path ([`Node::locate`]). Scalars follow the YAML 1.2 core schema, plus
//! the merge key `<<`, which manifests written for older readers use.
//!
//! Collections and text are shared: an alias is one more reference to its anchor, and a clone of a node costs nothing. A
//! walk over the tree still meets the anchor once per alias, so [`parse`] bounds what the aliases of a text stand for.

mod build;
mod decode;
mod scalar;

pub use build::parse;
pub use decode::{DecodeError, DecodeFault, decode};
pub use scalar::Scalar;

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;

/// Bytes of a source text.
pub type Span = Range<usize>;

/// One node and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The bytes from its beginning to its end. An alias has the place of the alias, what is in it that of the anchor.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    Sequence(Arc<[Node]>),
    /// Keys and values.
    Mapping(Arc<Mapping>),
}

/// Entries by key, in the order of the text. A key is text; `1` and `"1"` are the same key.
pub type Mapping = IndexMap<Arc<str>, Entry>;

/// What a mapping has under one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The place of the key.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// All documents of a text, as far as they could be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// Documents that are well formed, in order; empty ones are left out.
    pub documents: Vec<Node>,
    /// What is wrong with the others. A broken document does not hide the next one.
    pub faults: Vec<Fault>,
}

/// Why a text is no YAML, or no YAML that a manifest may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub span: Span,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// The first use, if something is there twice.
    pub first: Option<Span>,
    /// What to do about it; empty if the message says it.
    pub help: &'static str,
}

impl Node {
    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry under `key`, if this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.mapping()?.get(key)
    }

    /// The entries, if this is a mapping.
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

    /// The text of a scalar as it was written, without quotes.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// A short place at which this node begins: of a collection, that of its first key or item.
    pub fn head(&self) -> Span {
        match &self.value {
            Value::Scalar(_) => self.span.clone(),
            Value::Sequence(items) => items.first().map_or_else(|| self.span.clone(), Self::head),
            Value::Mapping(entries) => {
                entries.first().map_or_else(|| self.span.clone(), |(_, entry)| entry.key_span.clone())
            }
        }
    }

    /// The node at `path`, such as `spec.ports[0].nodePort`. Keys may hold dots and slashes.
    pub fn at(&self, path: &str) -> Option<&Self> {
        let (node, rest) = self.descend(path);
        rest.is_empty().then_some(node)
    }

    /// The place of `path`, or of the deepest part of it that exists: a missing field is missing somewhere.
    pub fn locate(&self, path: &str) -> Span {
        self.descend(path).0.head()
    }

    /// The place of the last key of `path`, or else as [`Node::locate`].
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

    /// Takes one key or index off `path`. Of several keys that fit, the longest is meant, because keys may hold dots.
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
