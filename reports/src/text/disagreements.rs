//! Differences between the simulator and a kernel.

use crate::palette::{Palette, Tone};
use conformance::disagreement::Disagreement;
use std::fmt::{self, Formatter};

/// Maximum number of differences shown. One cause often shows on every device behind it, so the first ones matter most.
const SHOWN_MAX: usize = 12;

pub(crate) fn write(f: &mut Formatter<'_>, palette: Palette, disagreements: &[Disagreement]) -> fmt::Result {
    if disagreements.is_empty() {
        return Ok(());
    }
    let bad = palette.style(Tone::Bad);
    writeln!(f, "\n{bad}the simulator and the kernel disagree{bad:#}")?;
    for disagreement in disagreements.iter().take(SHOWN_MAX) {
        let text = disagreement.to_string();
        text.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
    }
    match disagreements.len().checked_sub(SHOWN_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "  and {more} more"),
    }
}
