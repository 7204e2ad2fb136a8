//! Warnings about fields that do not exist.
//!
//! The API server drops such fields with a warning (`fieldValidation: Warn`); here they have no effect either.

mod table;

use proxy_core::objects::Kind;

use super::SourceNode;
use crate::diagnostic::{Diagnostic, Place};
use crate::scenario::nearest;
use crate::yaml::Node;

/// Warnings about the unknown fields of an object.
pub(crate) fn unknown_fields(kind: Kind, origin: &SourceNode) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    Checker { origin, found: &mut found }.check(&origin.node, kind.name(), "");
    found
}

struct Checker<'a> {
    origin: &'a SourceNode,
    found: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    /// Checks the fields of a node, or of the items of a list, by the name of their type.
    fn check(&mut self, node: &Node, type_name: &str, path: &str) {
        if let Some(items) = node.items() {
            for (index, item) in items.iter().enumerate() {
                self.check(item, type_name, &format!("{path}[{index}]"));
            }
            return;
        }
        let Some(entries) = node.mapping() else { return };
        let fields = fields_of(type_name);
        for (name, entry) in entries {
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            match fields.iter().find(|(field, _)| *field == &**name) {
                Some((_, None)) => {}
                Some((_, Some(type_name))) => self.check(&entry.value, type_name, &path),
                None => {
                    let place = Place { source: self.origin.source, span: entry.key_span.clone() };
                    let warning = Diagnostic::warning(place, format!("unknown field {path:?} is ignored"));
                    let known: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
                    self.found.push(match nearest(name, &known) {
                        Some(nearest) => warning.help(format!("did you mean `{nearest}`?")),
                        None => warning,
                    });
                }
            }
        }
    }
}

/// The fields of a type, each with the type of its value, if its fields are known.
fn fields_of(type_name: &str) -> Vec<(&'static str, Option<&'static str>)> {
    let row = table::TYPES.iter().find(|(name, _)| *name == type_name);
    let fields = row.map_or("", |(_, fields)| *fields);
    let split = |field: &'static str| match field.split_once(':') {
        Some((name, type_name)) => (name, Some(type_name)),
        None => (field, None),
    };
    fields.split(' ').filter(|field| !field.is_empty()).map(split).collect()
}
