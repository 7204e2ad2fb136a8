//! The API server's validation rules that keep manifests from producing malformed rules.

use rustc_hash::FxHashSet;

use crate::error::ObjectError;
use crate::objects::{Kind, Object, ObjectMeta};

/// The expected form of a port number.
pub(crate) const PORT: &str = "a port number from 1 to 65535";

/// Creates errors about the fields of one object.
pub(crate) struct Fields<'a> {
    kind: Kind,
    metadata: &'a ObjectMeta,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(kind: Kind, metadata: &'a ObjectMeta) -> Self {
        Self { kind, metadata }
    }

    pub(crate) fn error(&self, path: &str, found: &str, expected: &str) -> ObjectError {
        ObjectError::new(self.kind, self.metadata, path, found, expected)
    }
}

/// A valid port number, or `None`.
pub(crate) fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// Validates a DNS label: namespaces, Services and port names.
///
/// Kubernetes: `IsDNS1123Label`, apimachinery pkg/util/validation/validation.go.
pub(crate) fn label(text: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = concat!(
        "a DNS label: at most 63 lower case letters, digits and '-', ",
        "beginning and ending with a letter or digit"
    );
    if text.len() <= 63 && is_label(text) { Ok(()) } else { Err(EXPECTED) }
}

/// Validates a DNS subdomain: names of nodes, Pods and slices.
///
/// Kubernetes: `IsDNS1123Subdomain`, apimachinery pkg/util/validation/validation.go.
pub(crate) fn subdomain(text: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "a DNS name: at most 253 characters, labels of lower case letters, digits and '-'";
    if text.len() <= 253 && text.split('.').all(is_label) { Ok(()) } else { Err(EXPECTED) }
}

/// Validates name and namespace of an object whose name appears in rules.
pub(crate) fn service_metadata(metadata: &ObjectMeta, kind: Kind) -> Result<(), ObjectError> {
    let fields = Fields::new(kind, metadata);
    label(&metadata.name).map_err(|expected| fields.error("metadata.name", &metadata.name, expected))?;
    let namespace = metadata.namespace();
    label(namespace).map_err(|expected| fields.error("metadata.namespace", namespace, expected))
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
        && bytes.first().is_some_and(|byte| alphanumeric(*byte))
        && bytes.last().is_some_and(|byte| alphanumeric(*byte))
}

/// Rejects two objects of one kind with the same name.
pub(crate) fn check_names(objects: &[Object]) -> Result<(), ObjectError> {
    // Only used for lookups; iteration order never shows.
    let mut seen = FxHashSet::default();
    for object in objects {
        if let Some(metadata) = object.metadata()
            && !seen.insert(key(object))
        {
            let fields = Fields::new(object.kind(), metadata);
            return Err(fields.error("metadata.name", &metadata.name, "a unique name"));
        }
    }
    Ok(())
}

/// The identity of an object: kind, namespace, name.
pub(crate) fn key(object: &Object) -> (Kind, &str, &str) {
    let (namespace, name) =
        object.metadata().map_or(("", ""), |metadata| (metadata.namespace(), metadata.name.as_str()));
    (object.kind(), namespace, name)
}
