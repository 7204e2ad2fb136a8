//! Frames that a case sends, in words.
//!
//! ```text
//! udp SRC:PORT DST:PORT                         tcp SRC:PORT DST:PORT FLAGS
//! icmp SRC DST TYPE/CODE                        ip SRC DST PROTOCOL
//! error SRC DST TYPE/CODE about WORDS OF A PACKET
//! arp who-has TARGET tell SENDER
//! ```
//!
//! and behind them: `len=` bytes of payload, `ttl=`, `tos=`, `df`, `id=` of IP, `to=` and `from=` MAC, `part=A-B` of the IP
//! payload as a fragment, `badsum`, `mark=` of the sender; `seq=`, `ack=`, `win=` of TCP; `ident=` of ICMP; `quote=` bytes.

use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::build::{self, Ipv4Fields};
use sim::wire::{EtherType, Ethernet, MacAddr, checksum, protocol};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The MAC address of a host, from its device and the last byte of its IP address. The host under test always has 01.
pub(crate) fn mac(device: &str, last: u8) -> MacAddr {
    let number = device.bytes().last().unwrap() - b'0';
    MacAddr([2, 0, 0, 0, number, last])
}

/// `NETWORK:HOST` in hexadecimal, as frames are shown, or `broadcast`.
pub(crate) fn parse_mac(text: &str) -> MacAddr {
    let byte = |text| u8::from_str_radix(text, 16).unwrap();
    match text.split_once(':') {
        None => MacAddr::BROADCAST,
        Some((network, host)) => MacAddr([2, 0, 0, 0, byte(network), byte(host)]),
    }
}

/// A frame that arrives on a device, and the mark set by its sender.
pub(crate) fn parse(device: &str, words: &[&str]) -> (Vec<u8>, u32) {
    let mark = option(words, "mark").map_or(0, |text| text.parse().unwrap());
    if let ["arp", "who-has", target, "tell", sender, ..] = words {
        let (target_ip, sender_ip): (Ipv4Addr, Ipv4Addr) = (target.parse().unwrap(), sender.parse().unwrap());
        return (arp(mac(device, sender_ip.octets()[3]), sender_ip, target_ip), mark);
    }
    if let ["arp", "reply", sender, "is-at", is_at, "to", target, ..] = words {
        let sender_mac = parse_mac(is_at);
        let target_mac = mac(device, 1);
        let arp = Arp {
            operation: ArpOperation::Reply,
            sender_mac,
            sender_ip: sender.parse().unwrap(),
            target_mac,
            target_ip: target.parse().unwrap(),
        };
        return (build::arp_frame(target_mac, sender_mac, &arp), mark);
    }
    let (src, mut bytes) = packet(words);
    let to = option(words, "to").map_or(mac(device, 1), parse_mac);
    let from = option(words, "from").map_or(mac(device, src.octets()[3]), parse_mac);
    Ethernet::new_checked(&mut bytes[..]).unwrap().set(to, from, EtherType::Ipv4);
    (bytes, mark)
}

fn arp(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    let operation = ArpOperation::Request;
    let arp = Arp { operation, sender_mac, sender_ip, target_mac: MacAddr::ZERO, target_ip };
    build::arp_frame(MacAddr::BROADCAST, sender_mac, &arp)
}

fn option<'w>(words: &[&'w str], name: &str) -> Option<&'w str> {
    // The words after `about` belong to the quoted packet.
    let own = words.iter().take_while(|word| **word != "about");
    own.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(words: &[&str], name: &str, default: u32) -> u32 {
    option(words, name).map_or(default, |text| text.parse().unwrap())
}

/// An IP packet with room for an Ethernet header, and its source.
fn packet(words: &[&str]) -> (Ipv4Addr, Vec<u8>) {
    let payload = vec![b'x'; number(words, "len", 4) as usize];
    let ends = || -> (SocketAddrV4, SocketAddrV4) { (words[1].parse().unwrap(), words[2].parse().unwrap()) };
    let (src, dst, protocol, mut l4) = match words[0] {
        "udp" => {
            let (src, dst) = ends();
            let l4 = build::udp((*src.ip(), src.port()), (*dst.ip(), dst.port()), &payload);
            (*src.ip(), *dst.ip(), protocol::UDP, l4)
        }
        "tcp" => {
            let (src, dst) = ends();
            (*src.ip(), *dst.ip(), protocol::TCP, tcp(words, src, dst))
        }
        kind @ ("icmp" | "error") => {
            let (icmp_type, code) = words[3].split_once('/').unwrap();
            let (rest, body) = if kind == "icmp" {
                let [.., high, low] = number(words, "ident", 7).to_be_bytes();
                ([high, low, 0, 1], payload)
            } else {
                let at = words.iter().position(|word| *word == "about").unwrap();
                let quoted = packet(&words[at + 1..]).1[14..].to_vec();
                let len = number(words, "quote", 1000) as usize;
                (number(words, "mtu", 0).to_be_bytes(), quoted[..len.min(quoted.len())].to_vec())
            };
            let l4 = build::icmpv4(icmp_type.parse().unwrap(), code.parse().unwrap(), rest, &body);
            (words[1].parse().unwrap(), words[2].parse().unwrap(), protocol::ICMP, l4)
        }
        "ip" => (words[1].parse().unwrap(), words[2].parse().unwrap(), words[3].parse().unwrap(), payload),
        other => panic!("invalid packet {other}"),
    };
    if words.contains(&"badsum") {
        let at = match protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => 2,
        };
        l4[at] ^= 0x55;
    }
    let part = option(words, "part").map(|text| text.split_once('-').unwrap());
    let part = part.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()));
    (src, ipv4(words, src, dst, protocol, &l4, part))
}

fn ipv4(
    words: &[&str],
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    l4: &[u8],
    part: Option<(usize, usize)>,
) -> Vec<u8> {
    let byte = |name, default| u8::try_from(number(words, name, default)).unwrap();
    let fields = Ipv4Fields {
        src,
        dst,
        protocol,
        ttl: byte("ttl", 64),
        tos: byte("tos", 0),
        ident: u16::try_from(number(words, "id", 1)).unwrap(),
        dont_fragment: words.contains(&"df"),
    };
    let Some((from, to)) = part else { return build::ipv4(fields, l4) };
    let mut bytes = build::ipv4(fields, &l4[from..to.min(l4.len())]);
    let more = if to < l4.len() { 0x2000 } else { 0 };
    let df = if fields.dont_fragment { 0x4000 } else { 0 };
    let offset = u16::try_from(from / 8).unwrap() | more | df;
    bytes[20..22].copy_from_slice(&offset.to_be_bytes());
    bytes[24..26].fill(0);
    let sum = checksum::finish(checksum::sum(&bytes[14..34]));
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn tcp(words: &[&str], src: SocketAddrV4, dst: SocketAddrV4) -> Vec<u8> {
    let bit = |letter| match letter {
        'F' => 1,
        'S' => 2,
        'R' => 4,
        'P' => 8,
        '.' => 16,
        'U' => 32,
        other => panic!("invalid flag {other}"),
    };
    let mut l4 = Vec::new();
    l4.extend(src.port().to_be_bytes());
    l4.extend(dst.port().to_be_bytes());
    l4.extend(number(words, "seq", 1000).to_be_bytes());
    l4.extend(number(words, "ack", 0).to_be_bytes());
    l4.extend([0x50, words[3].chars().map(bit).sum::<u8>()]);
    l4.extend(u16::try_from(number(words, "win", 65_535)).unwrap().to_be_bytes());
    l4.extend([0; 4]);
    l4.extend(vec![b'x'; number(words, "len", 0) as usize]);
    build::finish_transport_checksum(*src.ip(), *dst.ip(), protocol::TCP, &mut l4);
    l4
}
