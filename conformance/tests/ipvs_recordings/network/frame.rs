//! Frames as the recordings write them.

use sim::wire::icmpv4::icmp_type;
use sim::wire::{ETHERNET_HEADER_LEN, Icmpv4, Ipv4, TcpFlags, protocol};

/// A frame as text; `None` unless it is IPv4.
pub(crate) fn describe(frame: &[u8]) -> Option<String> {
    let ip = Ipv4::new_checked(&frame[ETHERNET_HEADER_LEN..])?;
    Some(packet(&ip, ip.payload()))
}

fn packet(ip: &Ipv4<&[u8]>, l4: &[u8]) -> String {
    let (src, dst, ttl) = (ip.src(), ip.dst(), ip.ttl());
    if ip.fragment_offset() > 0 {
        let (number, offset, length) = (ip.protocol(), ip.fragment_offset(), l4.len());
        return format!("{src} > {dst} proto {number} fragment offset {offset} length {length} ttl {ttl}");
    }
    let port = |at: usize| u16::from_be_bytes([l4[at], l4[at + 1]]);
    match ip.protocol() {
        protocol::TCP => {
            let flags = l4.get(13).map_or_else(String::new, |bits| letters(TcpFlags(*bits)));
            format!("{src}:{} > {dst}:{} tcp {flags} ttl {ttl}", port(0), port(2))
        }
        protocol::UDP => format!("{src}:{} > {dst}:{} udp ttl {ttl}", port(0), port(2)),
        protocol::ICMP => format!("{src} > {dst} {}", icmp(l4, ttl)),
        number => format!("{src} > {dst} proto {number} ttl {ttl}"),
    }
}

fn icmp(l4: &[u8], ttl: u8) -> String {
    let message = Icmpv4::new_checked(l4).unwrap();
    let mut text = format!("icmp {}/{} ttl {ttl}", message.icmp_type(), message.code());
    if (message.icmp_type(), message.code()) == (icmp_type::DEST_UNREACHABLE, 4) {
        text += &format!(" mtu {}", message.next_hop_mtu());
    }
    if message.is_error() {
        let ip = Ipv4::new_quoted(message.payload()).unwrap();
        text += &format!(" quoting [{}]", packet(&ip, &message.payload()[ip.header_len()..]));
    }
    text
}

/// `SA`
fn letters(flags: TcpFlags) -> String {
    let all = [
        (TcpFlags::SYN, 'S'),
        (TcpFlags::FIN, 'F'),
        (TcpFlags::RST, 'R'),
        (TcpFlags::PSH, 'P'),
        (TcpFlags::ACK, 'A'),
    ];
    all.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, letter)| letter).collect()
}
