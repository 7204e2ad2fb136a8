use super::{Change, crc32c, finish, is_transport_valid, sctp, sum};
use crate::wire::protocol;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Example of RFC 1071 §3.
#[test]
fn the_sum_is_that_of_the_rfc() {
    assert_eq!(finish(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), !0xddf2);
}

/// RFC 3720 §B.4: test patterns of CRC32c.
#[test]
fn the_crc_is_that_of_the_rfc() {
    let ascending: Vec<u8> = (0..32).collect();
    for (bytes, expected) in [
        (&[0x00; 32][..], 0x8a91_36aa_u32),
        (&[0xff; 32][..], 0x62a8_ab43),
        (&ascending[..], 0x46dd_794e),
        (b"123456789", 0xe306_9283),
    ] {
        assert_eq!(!crc32c(u32::MAX, bytes), expected);
    }
}

#[test]
fn the_crc_of_sctp_counts_its_own_field_as_zero() {
    let mut packet = [7; 20];
    packet[8..12].fill(0);
    let value = sctp(&packet);
    assert_eq!(value, !crc32c(u32::MAX, &packet));
    packet[8..12].copy_from_slice(&value.to_le_bytes());
    assert_eq!(sctp(&packet), value);
    assert!(is_transport_valid(A, A, protocol::SCTP, &packet));
}

/// RFC 768: zero means no checksum.
#[test]
fn a_udp_checksum_of_zero_is_always_right() {
    assert!(is_transport_valid(A, A, protocol::UDP, &[0, 1, 0, 2, 0, 9, 0, 0, 7]));
    assert!(!is_transport_valid(A, A, protocol::UDP, &[0, 1, 0, 2, 0, 9, 0, 1, 7]));
}

proptest! {
    /// RFC 1071 §1: the sum is that of words of 16 bits.
    #[test]
    fn the_sum_is_that_of_its_words(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        let simple: u32 = bytes.chunks(2).map(word).sum();
        prop_assert_eq!(finish(sum(&bytes)), finish(simple));
    }

    /// RFC 1624 §3: the update gives the same result as a new computation.
    #[test]
    fn an_update_is_a_computation(
        mut words in prop::collection::vec(any::<u16>(), 2..20),
        at in any::<prop::sample::Index>(),
        new in any::<u16>(),
    ) {
        let whole = |words: &[u16]| {
            finish(sum(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()))
        };
        let (before, at) = (whole(&words), at.index(words.len()));
        // A sum of zeros has two representations; no header is all zero.
        prop_assume!(before != 0xffff);
        let updated = Change::of16(words[at], new).apply(before);
        words[at] = new;
        let computed = whole(&words);
        prop_assert!(updated == computed || (updated, computed) == (0, 0xffff));
    }
}
