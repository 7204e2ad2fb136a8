//! Input of `iptables-restore`: any text either loads or gives an error with a location, and saved output loads to the
//! same state.

use sim::hook::Family;
use sim::ipset::Ipset;
use sim::xtables::{RestoreOptions, Xtables};

/// Text as written by a user or by `iptables-save`.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for family in [Family::Ipv4, Family::Ipv6] {
        let options = RestoreOptions { noflush: false, counters: true };
        let mut xtables = Xtables::default();
        if let Err(error) = xtables.restore(&mut Ipset::default(), family, "input", text, options) {
            let lines: Vec<&str> = text.split('\n').collect();
            // The end of the text is the line after the last.
            let line = usize::try_from(error.line).expect("a usize has 32 bits");
            assert!((1..=lines.len() + 1).contains(&line), "{error}");
            let length = lines.get(line - 1).map_or(0, |line| line.chars().count());
            let column = usize::try_from(error.column).expect("a usize has 32 bits");
            assert!((1..=length + 1).contains(&column), "{error}");
        }
        let saved = xtables.save(family, true);
        let mut again = Xtables::default();
        if let Err(error) = again.restore(&mut Ipset::default(), family, "saved", &saved, options) {
            panic!("{error}\n{saved}");
        }
        assert_eq!(again.save(family, true), saved, "printing is a fixed point of parsing");
    }
}
