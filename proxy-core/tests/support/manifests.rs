//! Reads the YAML documents of a test into objects.
#![allow(dead_code, reason = "each test uses its part of this")]

use proxy_core::objects::{Kind, Object, TypeMeta};

/// The objects of a multi-document manifest, in the order of the file.
pub(crate) fn read(yaml: &str) -> Vec<Object> {
    let documents = yaml.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
    documents.filter(|document| !document.trim().is_empty()).map(read_document).collect()
}

fn read_document(document: &str) -> Object {
    let type_meta: TypeMeta = serde_saphyr::from_str(document).unwrap();
    let kind = Kind::of(&type_meta).unwrap_or_else(|| panic!("unknown kind {type_meta:?}"));
    serde_saphyr::with_deserializer_from_str(document, |deserializer| {
        Object::deserialize_as(kind, deserializer)
    })
    .unwrap()
}
