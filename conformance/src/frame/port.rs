//! Finding a packet again after its source was translated.

use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, Icmpv4, Ipv4, Tcp, Udp, protocol};

use super::{Direction, Frame};

/// The source port (identifier, for ICMP) that the first packet of a client got when its source was translated; `None` if
/// it kept its own everywhere. `own` is the port that the client has.
///
/// The packet is known again by its IP identification, which no translation changes.
pub fn translated_port(frames: &[Frame], client: &str, own: u16) -> Option<u16> {
    let mut packets = frames.iter().filter_map(|frame| Some((frame, Packet::of(frame)?)));
    let is_first =
        |(frame, _): &(&Frame, Packet)| frame.netns == client && frame.direction == Direction::Transmitted;
    let (_, first) = packets.find(is_first)?;
    let same = |packet: &Packet| (packet.ident, packet.protocol) == (first.ident, first.protocol);
    let ports = frames.iter().filter_map(Packet::of).filter(same).map(|packet| packet.src_port);
    ports.into_iter().find(|port| *port != own)
}

struct Packet {
    ident: u16,
    protocol: u8,
    src_port: u16,
}

impl Packet {
    fn of(frame: &Frame) -> Option<Self> {
        let is_ip = Ethernet::new_checked(&*frame.bytes)?.ethertype() == EtherType::Ipv4;
        let ip = Ipv4::new_checked(frame.bytes.get(ETHERNET_HEADER_LEN..)?).filter(|_| is_ip)?;
        let src_port = match ip.protocol() {
            protocol::TCP => Tcp::new_checked(ip.payload())?.src_port(),
            protocol::UDP => Udp::new_checked(ip.payload())?.src_port(),
            protocol::ICMP => Icmpv4::new_checked(ip.payload()).filter(|icmp| !icmp.is_error())?.id(),
            _ => return None,
        };
        Some(Self { ident: ip.ident(), protocol: ip.protocol(), src_port })
    }
}
