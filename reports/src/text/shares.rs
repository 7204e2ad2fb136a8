//! Who answered how often: what was expected, what is exactly true, and what came out this time.

use super::steps::{table, write_table};
use crate::share;
use conformance::result::EndpointShare;
use conformance::statistics::GTest;
use sim::draws::Weight;
use std::fmt::{self, Formatter};

pub(super) fn write(f: &mut Formatter<'_>, shares: &[EndpointShare]) -> fmt::Result {
    // A single endpoint that answered everything is already in the line of its flows.
    if shares.len() < 2 {
        return Ok(());
    }
    let mut table = table(&["endpoint", "expected", "exact", "decimal", "this run"]);
    for share in shares {
        table.add_row([
            share.endpoint.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string),
            share.expected.map_or_else(|| "-".to_owned(), |expected| expected.to_string()),
            share.weight.as_ref().map_or_else(|| "-".to_owned(), exact),
            share.weight.as_ref().map_or_else(|| "-".to_owned(), share::decimal),
            format!("{}/{}", share.count, share.total),
        ]);
    }
    write_table(f, &table)?;
    match share::g_test(shares) {
        Some(GTest { statistic, p_value }) => {
            writeln!(f, "  counts against exact shares: G = {statistic:.3}, p = {p_value:.3}")
        }
        None => Ok(()),
    }
}

/// The fraction itself, as long as it can be read. A step that can go many ways has weights with hundreds of digits; those are
/// in the JSON document.
fn exact(weight: &Weight) -> String {
    const WIDTH_MAX: usize = 24;
    let text = weight.to_string();
    match share::simplest(weight) {
        _ if text.len() <= WIDTH_MAX => text,
        Some((numerator, denominator)) => format!("about {numerator}/{denominator}"),
        None => "-".to_owned(),
    }
}
