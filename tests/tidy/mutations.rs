//! The table of mutations (`sim::mutation`) and the code that asks for them.

use crate::project::{File, Finding};

const ENUM: &str = "sim/src/mutation.rs";
const TABLE: &str = "sim/src/mutation/table.rs";

/// Mutations without a row, and rows whose mutation is not in the file that they name.
pub(crate) fn places(files: &[File]) -> Vec<Finding> {
    let file = |path: &str| files.iter().find(|file| file.path == path);
    let (Some(names), Some(table)) = (file(ENUM), file(TABLE)) else { return Vec::new() };
    let rows = rows(&table.text);
    let lacks_row = |name: &String| rows.iter().all(|(mutation, _)| mutation != name);
    let mut findings: Vec<Finding> = variants(names)
        .iter()
        .filter(|name| lacks_row(name))
        .map(|name| names.found(1, format!("{name} has no row in {TABLE}")))
        .collect();
    for (mutation, place) in &rows {
        let asks = |file: &File| {
            file.path == format!("sim/src/{place}") && file.text.contains(&format!("Mutation::{mutation}."))
        };
        if !files.iter().any(asks) {
            findings.push(table.found(1, format!("{place} does not ask for {mutation}")));
        }
    }
    findings
}

fn variants(file: &File) -> Vec<String> {
    let items = file.syntax().items.iter();
    let variants =
        items.filter_map(|item| if let syn::Item::Enum(item) = item { Some(&item.variants) } else { None });
    variants.flatten().map(|variant| variant.ident.to_string()).collect()
}

/// Mutation and place of each `row(M::Name, "place", …)`.
fn rows(text: &str) -> Vec<(String, String)> {
    let row = |text: &str| {
        let (mutation, rest) = text.split_once(',')?;
        Some((mutation.trim().to_owned(), rest.split('"').nth(1)?.to_owned()))
    };
    text.split("M::").skip(1).filter_map(row).collect()
}

#[test]
fn a_mutation_without_row_or_place_is_found() {
    let names = File::new(ENUM, "//! X.\npub enum Mutation { A, B, C }\n");
    let table = File::new(TABLE, "row(M::A, \"a.rs\", \"x\"),\nrow(\n  M::B,\n  \"b.rs\",\n  \"y\"),\n");
    let code = |path, text| File::new(path, text);
    let files = [
        names,
        table,
        code("sim/src/a.rs", "Mutation::A.is_on()"),
        code("sim/src/b.rs", "Mutation::A.is_on()"),
    ];
    let found: Vec<String> = places(&files).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [format!("{ENUM}:1: C has no row in {TABLE}"), format!("{TABLE}:1: b.rs does not ask for B")]
    );
}
