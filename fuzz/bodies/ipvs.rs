//! Input of `ipvsadm --restore`: any text either loads or gives an error with a location, and saved output loads to the same
//! state.

use sim::ipvs::{Clock, Ipvs, ListOrder};
use sim::time::Instant;

/// A text as a user might write it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let clock = Clock::exact(Instant::from_nanos(1_000_000_000));
    let mut ipvs = Ipvs::default();
    if let Err(error) = ipvs.restore(clock, "input", text) {
        let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
        assert!((1..=lines).contains(&error.line), "{error}");
        assert!(error.column >= 1, "{error}");
    }
    let saved = ipvs.save();
    let mut again = Ipvs::default();
    if let Err(error) = again.restore(clock, "saved", &saved) {
        panic!("{error}\n{saved}");
    }
    assert_eq!(again.save(), saved, "printing is a fixed point of parsing");
    assert_eq!(again.list(ListOrder::Sorted), ipvs.list(ListOrder::Sorted));
}
