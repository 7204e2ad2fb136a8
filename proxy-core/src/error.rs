//! Invalid fields of objects, with enough detail to locate the line.

use thiserror::Error;

use crate::objects::{Kind, ObjectMeta};

/// A field with a value that an API server would reject.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} {}/{}: {path}: expected {expected}, found {found}",
    kind.name(), printable(namespace), printable(name)
)]
pub struct ObjectError {
    /// The kind of the object.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// The field, from the document's root: `spec.ports[0].nodePort`. Names are those of the manifest.
    pub path: Box<str>,
    /// The invalid value as text, escaped and shortened.
    pub found: Box<str>,
    /// The expected value.
    pub expected: Box<str>,
}

impl ObjectError {
    /// An error at `path` of the object with this kind and metadata.
    pub fn new(kind: Kind, metadata: &ObjectMeta, path: &str, found: &str, expected: &str) -> Self {
        Self {
            kind,
            namespace: metadata.namespace().into(),
            name: metadata.name.as_str().into(),
            path: path.into(),
            found: quoted(found).into(),
            expected: expected.into(),
        }
    }
}

/// The text in quotes, escaped.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// Escapes control characters and truncates to 64 characters, so that no manifest can garble a terminal.
fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(CHARACTERS_MAX).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", head.escape_debug())
}
