//! Shares of endpoints: expected, exact and observed.

use super::steps::{table, write_table};
use crate::share;
use conformance::result::EndpointShare;
use conformance::statistics::GTest;
use sim::draws::Weight;
use std::fmt::{self, Formatter};

pub(super) fn write(f: &mut Formatter<'_>, shares: &[EndpointShare]) -> fmt::Result {
    // With a single endpoint, the line of its flows says it all.
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

/// The exact fraction, if it is short enough to read. A step with many branches has weights with hundreds of digits;
/// those are in the JSON document only.
fn exact(weight: &Weight) -> String {
    const WIDTH_MAX: usize = 24;
    let simplest =
        || share::simplest(weight).map(|(numerator, denominator)| format!("about {numerator}/{denominator}"));
    share::fraction(weight, WIDTH_MAX).or_else(simplest).unwrap_or_else(|| "-".to_owned())
}
