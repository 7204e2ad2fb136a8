//! Headers of later fragments, which captures on a kernel do not show as they were.
//!
//! A packet socket shares the data of a frame with the stack until it is read. A router that sends the fragments of a
//! reassembled packet again writes their new headers over the old ones, without a copy for the socket
//! (`ip_fraglist_prepare`, net/ipv4/ip_output.c). The first fragment is copied before (`skb_unclone`,
//! `inet_frag_reasm_prepare`, net/ipv4/inet_fragment.c), and the others have the same fields as it on every device.

use std::collections::BTreeMap;

use sim::wire::{Ethernet, Ipv4};

use super::{Body, Frame, FrameDirection, FrameSummary, IpSummary};

/// Where fragments of one packet are seen: netns, device and direction, protocol and IP ID, which no translation changes.
type Place<'a> = (&'a str, &'a str, FrameDirection, u8, u16);

/// The first fragments among some frames.
pub(super) struct FirstFragments<'a> {
    frames: &'a [Frame],
    /// Their positions.
    positions: BTreeMap<Place<'a>, Vec<usize>>,
}

impl<'a> FirstFragments<'a> {
    pub(super) fn of(frames: &'a [Frame]) -> Self {
        let mut positions: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (position, frame) in frames.iter().enumerate() {
            if let Some((place, 0)) = fragment(frame) {
                positions.entry(place).or_default().push(position);
            }
        }
        Self { frames, positions }
    }

    /// Gives the frame at that position the header of the first fragment, except for size and offset, if it is a later one.
    pub(super) fn restore(&self, position: usize, frame: &Frame, summary: &mut FrameSummary) {
        let Some((place, 1..)) = fragment(frame) else { return };
        let known = self.positions.get(&place).into_iter().flatten();
        // IP IDs are used again.
        let Some(first) = known.min_by_key(|first| first.abs_diff(position)) else { return };
        let first = &self.frames[*first];
        let (Some(ethernet), Some(ip)) = (Ethernet::new_checked(&*first.bytes), ipv4(first)) else { return };
        (summary.src, summary.dst) = (ethernet.src(), ethernet.dst());
        if let Body::Ipv4(body) = &mut summary.body {
            *body = IpSummary {
                src: ip.src(),
                dst: ip.dst(),
                ttl: ip.ttl(),
                tos: ip.tos(),
                dont_fragment: ip.dont_fragment(),
                ..body.clone()
            };
        }
    }
}

/// The place of a fragment, and its offset.
fn fragment(frame: &Frame) -> Option<(Place<'_>, u16)> {
    let ip = ipv4(frame).filter(|ip| ip.more_fragments() || ip.fragment_offset() > 0)?;
    let place = (&*frame.netns, &*frame.device, frame.direction, ip.protocol(), ip.ident());
    Some((place, ip.fragment_offset()))
}

fn ipv4(frame: &Frame) -> Option<Ipv4<&[u8]>> {
    frame.ipv4().and_then(Ipv4::new_checked)
}
