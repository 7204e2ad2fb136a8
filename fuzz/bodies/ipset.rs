//! Input of `ipset restore`: any text either loads or gives an error with a location, and saved output loads to the
//! same state.

use sim::ipset::{Ipset, IpsetOptions};
use sim::time::Instant;

/// A text as a user might write it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let now = Instant::from_nanos(1_000_000_000);
    let mut ipset = Ipset::default();
    if let Err(error) = ipset.restore(now, "input", text, IpsetOptions::default()) {
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        assert!((1..=lines.saturating_add(1)).contains(&error.line), "{error}");
        assert!(error.column >= 1, "{error}");
    }
    let saved = ipset.save(now);
    let mut again = Ipset::default();
    if let Err(error) = again.restore(now, "saved", &saved, IpsetOptions::default()) {
        panic!("{error}\n{saved}");
    }
    assert_eq!(again.save(now), saved, "printing is a fixed point of parsing");
}
