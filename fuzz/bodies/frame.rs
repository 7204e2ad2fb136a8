//! Frames: parsing never panics, and rewriting keeps valid checksums valid.

use reports::frame::{FrameLine, PacketKind};
use sim::wire::rewrite::{Side, set_addr, set_port};
use sim::wire::{ETHERNET_HEADER_LEN, Headers, Ip, arp::Arp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A frame, including its Ethernet header.
pub(crate) fn run(frame: &[u8]) {
    let _ = FrameLine::new(frame).to_string();
    let _ = PacketKind(frame).to_string();
    let Some(payload) = frame.get(ETHERNET_HEADER_LEN..) else { return };
    if let Some(arp) = Arp::parse(payload) {
        assert_eq!(Arp::parse(&arp.emit()), Some(arp), "ARP survives a round trip");
    }
    if let Some(headers) = Headers::parse(payload) {
        rewrite(payload, &headers);
    }
}

fn rewrite(packet: &[u8], headers: &Headers) {
    let mut rewritten = packet.to_vec();
    let address: IpAddr = match headers.src {
        IpAddr::V4(_) => Ipv4Addr::new(10, 96, 0, 10).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 10).into(),
    };
    for side in [Side::Src, Side::Dst] {
        set_addr(&mut rewritten, side, address);
        set_port(&mut rewritten, side, 8080);
    }
    let is_valid = |packet: &[u8]| match Ip::new_unchecked(packet) {
        Ip::V4(ip) => ip.is_checksum_valid(),
        Ip::V6(_) => true,
    };
    assert_eq!(is_valid(&rewritten), is_valid(packet), "rewriting keeps the header checksum");
    let read = Headers::parse(&rewritten).expect("a rewritten packet can be parsed");
    assert_eq!((read.src, read.dst), (address, address));
    assert_eq!((read.protocol, read.total_len), (headers.protocol, headers.total_len));
}
