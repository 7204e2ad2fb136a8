//! Reassembles the fragments that a script receives: a packet socket sees them as they arrive.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sim::wire::Ipv4;

use crate::scenario::segment::ScriptFragment;

/// The packets of which some fragments have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reassembly {
    packets: BTreeMap<Key, Parts>,
}

/// What fragments of a packet have in common (RFC 791 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    ident: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    /// The header of the first fragment.
    header: Option<Vec<u8>>,
    /// Data by offset.
    parts: BTreeMap<u16, Vec<u8>>,
    /// The length of the complete data, in bytes, once the last fragment has arrived.
    len: Option<usize>,
}

/// A complete packet.
pub(super) struct Reassembled {
    /// Its bytes, starting with the IP header.
    pub(super) bytes: Vec<u8>,
    /// The size of the largest fragment, in bytes without its IP header.
    pub(super) largest: u16,
}

impl Reassembly {
    /// Adds a fragment; returns the packet if this completes it.
    pub(super) fn add(&mut self, ip: &Ipv4<&[u8]>) -> Option<Reassembled> {
        let key = Key { src: ip.src(), dst: ip.dst(), protocol: ip.protocol(), ident: ip.ident() };
        let packet = self.packets.entry(key).or_default();
        let (offset, data) = (ip.fragment_offset(), ip.payload());
        if offset == 0 {
            packet.header = Some(ip.header().to_vec());
        }
        if !ip.more_fragments() {
            packet.len = Some(usize::from(offset) + data.len());
        }
        packet.parts.insert(offset, data.to_vec());
        let whole = packet.whole()?;
        self.packets.remove(&key);
        Some(whole)
    }

    /// The fragments of incomplete packets.
    pub(super) fn fragments(&self) -> Vec<ScriptFragment> {
        let of = |packet: &Parts| {
            let len = packet.len;
            let fragment = |(offset, data): (&u16, &Vec<u8>)| ScriptFragment {
                size: u16::try_from(data.len()).unwrap_or(u16::MAX),
                offset: *offset,
                has_more: len != Some(usize::from(*offset) + data.len()),
            };
            packet.parts.iter().map(fragment).collect::<Vec<_>>()
        };
        self.packets.values().flat_map(of).collect()
    }
}

impl Parts {
    fn whole(&self) -> Option<Reassembled> {
        let (header, len) = (self.header.as_ref()?, self.len?);
        let mut data = Vec::new();
        for (offset, part) in &self.parts {
            // What overlaps is equal: it comes from one packet.
            let known = data.len().checked_sub(usize::from(*offset))?;
            data.extend_from_slice(part.get(known..).unwrap_or_default());
        }
        let total_len = u16::try_from(header.len() + data.len()).ok().filter(|_| data.len() == len)?;
        let mut bytes = [&header[..], &data].concat();
        let mut ip = Ipv4::new_unchecked(&mut bytes[..]);
        let dont_fragment = ip.dont_fragment();
        ip.set_part(total_len, 0, false, dont_fragment);
        let largest = self.parts.values().map(Vec::len).max().and_then(|len| u16::try_from(len).ok())?;
        Some(Reassembled { bytes, largest })
    }
}
