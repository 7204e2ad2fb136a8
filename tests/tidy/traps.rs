//! The table of traps: every trap has a row, and every test in it exists.

use crate::project::{File, Finding};

const TABLE: &str = "docs/traps.md";

/// Traps that the table must contain. Some rows stand for several others.
const TRAPS: [std::ops::RangeInclusive<u32>; 2] = [1..=24, 33..=51];

pub(crate) fn table(files: &[File]) -> Vec<Finding> {
    let Some(table) = files.iter().find(|file| file.path == TABLE) else { return Vec::new() };
    let rows: Vec<(usize, &str)> = table.lines().filter(|(_, line)| line.starts_with("| D-")).collect();
    let has_row = |trap: &u32| rows.iter().any(|(_, row)| row.starts_with(&format!("| D-{trap:02} |")));
    let missing = TRAPS.into_iter().flatten().filter(|trap| !has_row(trap));
    let mut findings: Vec<Finding> =
        missing.map(|trap| table.found(1, format!("has no row for D-{trap:02}"))).collect();
    for (number, row) in rows {
        let named = row.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::"));
        let absent = named.filter(|(path, test)| !has_test(files, path, test));
        findings.extend(absent.map(|(path, test)| table.found(number, format!("{path} has no test {test}"))));
    }
    findings
}

fn has_test(files: &[File], path: &str, test: &str) -> bool {
    let head = format!("#[test]\nfn {test}() {{");
    files.iter().any(|file| file.path == path && file.text.contains(&head))
}

#[test]
fn a_trap_without_row_and_a_row_without_test_are_found() {
    let row = |trap: u32| format!("| D-{trap:02} | what it is | `a.rs::is_so` |\n");
    let text: String = TRAPS.into_iter().flatten().map(row).collect();
    let test = || File::new("a.rs", "#[test]\nfn is_so() {\n}\n");
    assert!(table(&[File::new(TABLE, &text), test()]).is_empty());
    let shorter = text.replace(&row(7), "");
    assert_eq!(table(&[File::new(TABLE, &shorter), test()]).len(), 1);
    let other = File::new("a.rs", "fn is_so() {\n}\n");
    assert_eq!(table(&[File::new(TABLE, &text), other]).len(), 43);
}
