use super::{FragmentHeader, IPV6_HEADER_LEN, Ipv6, UpperLayer, extension};
use crate::wire::build::{self, Ipv6Fields};
use crate::wire::protocol::{ICMPV6, NO_NEXT_HEADER, TCP, UDP};
use etherparse::{IpNumber, Ipv6ExtensionsSlice, Ipv6FlowLabel, Ipv6Header, Ipv6HeaderSlice};
use proptest::prelude::*;
use std::net::Ipv6Addr;

/// An extension header with its length field filled in, and its next-header field open.
fn extension_bytes(number: u8) -> Vec<u8> {
    match number {
        extension::HOP_BY_HOP => vec![0, 0, 1, 4, 0, 0, 0, 0],
        extension::ROUTING => [&[0, 2, 0, 0], &[0; 20][..]].concat(),
        // The only fragment, identification 7.
        extension::FRAGMENT => vec![0, 0, 0, 0, 0, 0, 0, 7],
        extension::AUTHENTICATION => [&[0, 4], &[0; 22][..]].concat(),
        extension::DESTINATION => [&[0, 1, 1, 12], &[0; 12][..]].concat(),
        other => panic!("{other} is not an extension header"),
    }
}

/// The number of the first header, and the headers in a chain that ends with `last`.
fn chain(numbers: &[u8], last: u8) -> (u8, Vec<u8>) {
    let mut bytes = Vec::new();
    for (at, number) in numbers.iter().enumerate() {
        let mut header = extension_bytes(*number);
        header[0] = numbers.get(at + 1).copied().unwrap_or(last);
        bytes.extend(header);
    }
    (numbers.first().copied().unwrap_or(last), bytes)
}

fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    let fields = Ipv6Fields { src, dst, next_header, hop_limit: 64, traffic_class: 0, flow_label: 0 };
    build::ipv6(fields, payload).split_off(14)
}

#[test]
fn extension_headers_are_skipped() {
    use extension::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
    let whole = Some(FragmentHeader { offset: 0, more_fragments: false, ident: 7 });
    let cases: [(&[u8], u8, usize, Option<FragmentHeader>); 8] = [
        (&[], TCP, 40, None),
        (&[HOP_BY_HOP], UDP, 48, None),
        (&[ROUTING], UDP, 64, None),
        (&[FRAGMENT], UDP, 48, whole),
        (&[AUTHENTICATION], UDP, 64, None),
        (&[DESTINATION], ICMPV6, 56, None),
        (&[HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION], TCP, 136, whole),
        (&[DESTINATION], NO_NEXT_HEADER, 56, None),
    ];
    for (numbers, protocol, offset, fragment) in cases {
        let (next_header, mut payload) = chain(numbers, protocol);
        payload.extend(b"payload");
        let l3 = packet(next_header, &payload);
        let ip = Ipv6::new_checked(&l3[..]).expect("a valid packet");
        let expected = UpperLayer { protocol, offset, fragment };
        assert_eq!(ip.upper_layer(), Some(expected), "{numbers:?}");
        assert_eq!(ip.payload(), b"payload", "{numbers:?}");
    }
}

/// Offset and flag of the Fragment header, and whether the walk goes on behind it.
#[test]
fn the_walk_ends_at_a_fragment_after_the_first() {
    for (place, offset, more_fragments, goes_on) in [
        (0x0000_u16, 0, false, true),
        (0x0001, 0, true, true),
        (0x0008, 8, false, false),
        (0xfff9, 0xfff8, true, false),
    ] {
        let [high, low] = place.to_be_bytes();
        let options = extension_bytes(extension::DESTINATION);
        let payload =
            [&[extension::DESTINATION, 0, high, low, 0xde, 0xad, 0xbe, 0xef][..], &[UDP], &options[1..]]
                .concat();
        let l3 = packet(extension::FRAGMENT, &payload);
        let found = Ipv6::new_checked(&l3[..]).and_then(|ip| ip.upper_layer()).expect("a whole chain");
        assert_eq!(
            found.fragment,
            Some(FragmentHeader { offset, more_fragments, ident: 0xdead_beef }),
            "{place:#06x}"
        );
        let expected = if goes_on { (UDP, 64) } else { (extension::DESTINATION, 48) };
        assert_eq!((found.protocol, found.offset), expected, "{place:#06x}");
    }
}

#[test]
fn a_chain_that_is_cut_has_no_upper_layer() {
    let (next_header, chain) = chain(&[extension::HOP_BY_HOP, extension::FRAGMENT, extension::ROUTING], TCP);
    let l3 = packet(next_header, &chain);
    for len in IPV6_HEADER_LEN..=l3.len() {
        let ip = Ipv6::new_quoted(&l3[..len]).expect("a whole header");
        assert_eq!(ip.upper_layer().is_some(), len == l3.len(), "{len} bytes");
        assert_eq!(ip.upper_layer_or_none().protocol == TCP, len == l3.len(), "{len} bytes");
        assert!(ip.payload().is_empty(), "{len} bytes");
        // The payload length ends the packet in the same place.
        let mut shorter = l3.clone();
        shorter[4..6].copy_from_slice(&u16::try_from(len - IPV6_HEADER_LEN).unwrap().to_be_bytes());
        let ip = Ipv6::new_checked(&shorter[..]).expect("more bytes than the length says");
        assert_eq!(ip.upper_layer().is_some(), len == l3.len(), "length {len}");
    }
}

#[test]
fn malformed_headers_are_refused() {
    let l3 = packet(UDP, b"12345678");
    let with = |at: usize, byte: u8| {
        let mut bytes = l3.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, is_packet, is_quote) in [
        (l3.clone(), true, true),
        ([&l3[..], b"link-layer padding"].concat(), true, true),
        (l3[..47].to_vec(), false, true),
        (l3[..40].to_vec(), false, true),
        (l3[..39].to_vec(), false, false),
        (Vec::new(), false, false),
        // A quote has the family of the error.
        (with(0, 0x40), false, true),
        (with(0, 0x70), false, true),
        (with(5, 9), false, true),
        (with(5, 0), true, true),
    ] {
        assert_eq!(Ipv6::new_checked(&bytes[..]).is_some(), is_packet, "{bytes:02x?}");
        assert_eq!(Ipv6::new_quoted(&bytes[..]).is_some(), is_quote, "{bytes:02x?}");
    }
}

/// Header fields, in the order of RFC 8200.
fn header() -> impl Strategy<Value = Ipv6Header> {
    (any::<u8>(), 0_u32..1 << 20, any::<u16>(), any::<(u8, u8)>(), any::<([u8; 16], [u8; 16])>()).prop_map(
        |(traffic_class, label, payload_length, (next_header, hop_limit), (source, destination))| {
            Ipv6Header {
                traffic_class,
                flow_label: Ipv6FlowLabel::try_new(label).unwrap(),
                payload_length,
                next_header: IpNumber(next_header),
                hop_limit,
                source,
                destination,
            }
        },
    )
}

proptest! {
    #[test]
    fn fields_are_read_as_etherparse_writes_them(header in header()) {
        let bytes = header.to_bytes();
        let ip = Ipv6::new_quoted(&bytes[..]).expect("a whole header");
        prop_assert_eq!(ip.traffic_class(), header.traffic_class);
        prop_assert_eq!(ip.flow_label(), header.flow_label.value());
        prop_assert_eq!(ip.payload_len(), header.payload_length);
        prop_assert_eq!(ip.next_header(), header.next_header.0);
        prop_assert_eq!(ip.hop_limit(), header.hop_limit);
        prop_assert_eq!((ip.src().octets(), ip.dst().octets()), (header.source, header.destination));
    }

    #[test]
    fn packets_are_built_as_etherparse_builds_them(
        mut header in header(),
        payload in prop::collection::vec(any::<u8>(), 0..20),
        above_the_label in 0_u32..1 << 12,
    ) {
        header.payload_length = u16::try_from(payload.len()).unwrap();
        let fields = Ipv6Fields {
            src: header.source_addr(),
            dst: header.destination_addr(),
            next_header: header.next_header.0,
            hop_limit: header.hop_limit,
            traffic_class: header.traffic_class,
            flow_label: header.flow_label.value() | above_the_label << 20,
        };
        prop_assert_eq!(build::ipv6(fields, &payload)[14..].to_vec(), [&header.to_bytes()[..], &payload].concat());
    }

    #[test]
    fn fields_are_written_as_etherparse_writes_them(mut header in header(), src: [u8; 16], dst: [u8; 16]) {
        let mut bytes = header.to_bytes();
        let mut ip = Ipv6::new_unchecked(&mut bytes[..]);
        ip.set_src(Ipv6Addr::from_octets(src));
        ip.set_dst(Ipv6Addr::from_octets(dst));
        if header.hop_limit > 0 {
            ip.decrement_hop_limit();
            header.hop_limit -= 1;
        }
        (header.source, header.destination) = (src, dst);
        prop_assert_eq!(bytes, header.to_bytes());
    }

    #[test]
    fn a_header_is_one_if_etherparse_says_so(mut bytes in prop::collection::vec(any::<u8>(), 0..48), is_six: bool) {
        if let Some(first) = bytes.first_mut().filter(|_| is_six) {
            *first = 0x60 | (*first & 0x0f);
        }
        // etherparse checks the version too.
        let is_header = Ipv6::new_quoted(&bytes[..]).is_some() && bytes[0] >> 4 == 6;
        prop_assert_eq!(is_header, Ipv6HeaderSlice::from_slice(&bytes).is_ok());
    }

    /// Chains in any order, but for the Hop-by-Hop Options, which etherparse takes in the first place only.
    #[test]
    fn the_upper_layer_is_where_etherparse_finds_it(
        has_hop_by_hop: bool,
        mut numbers in prop::collection::vec(
            prop::sample::select(vec![
                extension::ROUTING,
                extension::FRAGMENT,
                extension::AUTHENTICATION,
                extension::DESTINATION,
            ]),
            0..6,
        ),
        last in prop::sample::select(vec![TCP, UDP, ICMPV6, NO_NEXT_HEADER, 253]),
        keep in any::<prop::sample::Index>(),
    ) {
        if has_hop_by_hop {
            numbers.insert(0, extension::HOP_BY_HOP);
        }
        let (next_header, mut payload) = chain(&numbers, last);
        payload.truncate(keep.index(payload.len() + 1));
        let l3 = packet(next_header, &payload);
        let found = Ipv6::new_checked(&l3[..]).expect("a valid packet").upper_layer();
        match Ipv6ExtensionsSlice::from_slice(IpNumber(next_header), &payload) {
            Ok((_, protocol, rest)) => {
                let found = found.expect("etherparse finds one");
                prop_assert_eq!((found.protocol, found.offset), (protocol.0, l3.len() - rest.len()));
            }
            Err(_) => prop_assert_eq!(found, None),
        }
    }
}
