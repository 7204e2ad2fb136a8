use super::*;
use crate::draws::Draws;
use crate::ids::NetnsId;
use crate::packet::Origin;
use crate::trace::{Level, Trace};
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4, protocol};
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// A fragment of a datagram with this payload.
fn fragment(payload: &[u8], from: usize, to: usize) -> Vec<u8> {
    let (src, dst) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
    let fields =
        Ipv4Fields { src, dst, protocol: protocol::UDP, ttl: 64, tos: 0, ident: 7, dont_fragment: false };
    let mut bytes = build::ipv4(fields, &payload[from..to]);
    let total_len = u16::try_from(20 + to - from).unwrap();
    let offset = u32::try_from(from).unwrap();
    let mut ip = Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]);
    ip.set_part(total_len, offset, to < payload.len(), false);
    bytes
}

proptest! {
    /// However a datagram is fragmented, and in whatever order its fragments arrive, some of them twice: it is
    /// reassembled once, when the last fragment arrives, and every packet is accounted for.
    #[test]
    fn a_datagram_becomes_whole(
        mut cuts in prop::collection::btree_set(1_usize..40, 1..6),
        rest in 1_usize..8,
        order in prop::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        let payload: Vec<u8> = (0..=255).cycle().take(40 * 8 + rest).collect();
        cuts.insert(0);
        let starts: Vec<usize> = cuts.iter().map(|cut| cut * 8).collect();
        let ends = starts.iter().skip(1).copied().chain([payload.len()]);
        let parts: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
        let (mut draws, mut trace, mut effects) = (Draws::seeded(0), Trace::new(Level::Nothing), Vec::new());
        let now = Instant::START;
        let mut cx =
            Context { now, netns: NetnsId(0), draws: &mut draws, trace: &mut trace, effects: &mut effects };
        let (mut defrag, sysctls) = (Defrag::default(), Sysctls::default());
        let mut seen = BTreeSet::new();
        for index in order.iter().map(|index| index.index(parts.len())).chain(0..parts.len()) {
            let (from, to) = parts[index];
            seen.insert(index);
            let packet = cx.create(Origin::Injected, None, None, fragment(&payload, from, to));
            let whole = defrag.ip_defrag(&mut cx, &sysctls, DefragUser::LocalDeliver, packet);
            prop_assert_eq!(whole.is_some(), seen.len() == parts.len());
            if let Some(whole) = whole {
                let ip = whole.ipv4();
                prop_assert!(ip.is_checksum_valid());
                prop_assert_eq!(ip.payload(), &payload[..]);
                let sizes: Vec<usize> =
                    whole.meta.defragmented.iter().flat_map(|all| &all.sizes).map(|size| usize::from(*size)).collect();
                prop_assert_eq!(sizes, parts.iter().map(|(from, to)| to - from).collect::<Vec<_>>());
                cx.end(whole, Terminal::Consumed);
                for effect in std::mem::take(cx.effects) {
                    if let Effect::End { packet: QueuedPacket(part), terminal } = effect {
                        cx.end(part, terminal);
                    }
                }
                prop_assert_eq!(cx.trace.ledger().in_flight(), 0);
                break;
            }
        }
        prop_assert_eq!(seen.len(), parts.len());
        prop_assert!(defrag.expire(now + Duration::from_secs(1000)).is_empty());
    }
}
