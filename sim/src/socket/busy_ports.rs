//! Ephemeral ports in use towards one destination, so that a search need not look up each of them.
//!
//! Only destinations for which a search found many ports in use have a set; ports that are not in it must be looked up.

use super::Endpoint;
use super::tcp::FourTuple;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Number of ports in use that a search may find before the set is worth its memory.
const PROBES_MIN: u32 = 64;

const PORTS: u32 = 1 << 16;

/// One bit per port.
type Bits = Box<[u64; 1024]>;

/// Ports in use, by source address and destination.
#[derive(Clone, Debug, Default)]
pub(super) struct BusyPorts(BTreeMap<(IpAddr, Endpoint), Set>);

#[derive(Clone, Debug)]
struct Set {
    bits: Bits,
    len: u32,
}

impl BusyPorts {
    /// The first port from `from` on, below `end`, at an even distance from `from`, that is not known to be in use.
    pub(super) fn next_free(&self, src: IpAddr, remote: Endpoint, from: u32, end: u32) -> Option<u16> {
        let end = end.min(PORTS);
        let mut port = from;
        let Some(set) = self.0.get(&(src, remote)) else { return as_port(port).filter(|_| port < end) };
        while port < end {
            let (word, bit) = place(port);
            let same_parity = 0x5555_5555_5555_5555 << (port & 1);
            let free = !set.bits[word] & same_parity & (u64::MAX << bit);
            if free != 0 {
                let found = port - bit + free.trailing_zeros();
                return as_port(found).filter(|_| found < end);
            }
            port = port - bit + u64::BITS + (port & 1);
        }
        None
    }

    /// Records that a search found the tuple in the table; `probes` is the number found so far.
    pub(super) fn note(&mut self, tuple: FourTuple, probes: u32) {
        let key = (tuple.local.0, tuple.remote);
        if probes < PROBES_MIN && !self.0.contains_key(&key) {
            return;
        }
        let set = self.0.entry(key).or_insert_with(|| Set { bits: Box::new([0; 1024]), len: 0 });
        let (word, bit) = place(u32::from(tuple.local.1));
        set.len += u32::from(set.bits[word] >> bit & 1 == 0);
        set.bits[word] |= 1 << bit;
    }

    /// Records that the tuple was removed from the table.
    pub(super) fn release(&mut self, tuple: FourTuple) {
        let key = (tuple.local.0, tuple.remote);
        let Some(set) = self.0.get_mut(&key) else { return };
        let (word, bit) = place(u32::from(tuple.local.1));
        set.len -= u32::from(set.bits[word] >> bit & 1 == 1);
        set.bits[word] &= !(1 << bit);
        if set.len == 0 {
            self.0.remove(&key);
        }
    }
}

fn as_port(port: u32) -> Option<u16> {
    u16::try_from(port).ok()
}

/// Word and bit of a port.
const fn place(port: u32) -> (usize, u32) {
    ((port / u64::BITS) as usize, port % u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_skips_what_is_known_to_be_in_use() {
        let (src, remote) = (IpAddr::from([10, 0, 0, 1]), (IpAddr::from([10, 0, 0, 2]), 80));
        let tuple = |port| FourTuple { local: (src, port), remote };
        let mut busy = BusyPorts::default();
        busy.note(tuple(40_000), 1);
        assert_eq!(
            busy.next_free(src, remote, 40_000, 40_010),
            Some(40_000),
            "a short search stores nothing"
        );
        for port in (40_000..50_000).step_by(2) {
            busy.note(tuple(port), PROBES_MIN);
        }
        // (from, end, found)
        let cases = [
            (40_000, 60_000, Some(50_000)),
            (40_000, 50_000, None),
            (40_001, 60_000, Some(40_001)),
            (49_998, 50_001, Some(50_000)),
            (65_535, 65_536, Some(65_535)),
            (65_536, 65_536, None),
        ];
        for (from, end, found) in cases {
            assert_eq!(busy.next_free(src, remote, from, end), found, "{from} {end}");
        }
        assert_eq!(
            busy.next_free(src, (remote.0, 81), 40_000, 60_000),
            Some(40_000),
            "of another destination"
        );
        busy.release(tuple(45_678));
        assert_eq!(busy.next_free(src, remote, 40_000, 60_000), Some(45_678));
        for port in 0..=u16::MAX {
            busy.release(tuple(port));
        }
        assert!(busy.0.is_empty(), "closed connections leave nothing behind");
    }
}
