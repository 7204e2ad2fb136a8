//! Formats frames: the text contains every byte of a frame except values that the kernel draws at random
//! (identifications of whole packets) or leaves to hardware (unfinished checksums of sockets).

use sim::wire::arp::{Arp, ArpOperation};
use sim::wire::{EtherType, Ethernet, Icmpv4, Ipv4, MacAddr, Quote, Tcp, Udp, checksum, protocol};
use std::fmt::Write as _;

/// `DEVICE > …`. `ident` is the identification of the incoming packet, which fragments may repeat; other
/// identifications are random.
pub(super) fn frame(device: &str, bytes: &[u8], ident: Option<u16>) -> String {
    let Some(ethernet) = Ethernet::new_checked(bytes) else { return format!("{device} > {bytes:02x?}") };
    let l3 = &bytes[14..];
    let what = match ethernet.ethertype() {
        EtherType::Ipv4 => ipv4(l3, ident),
        EtherType::Arp => arp(l3),
        EtherType::Ipv6 | EtherType::Other(_) => format!("{:?} {}", ethernet.ethertype(), hex(l3)),
    };
    format!("{device} > {} to {} {what}", mac(ethernet.src()), mac(ethernet.dst()))
}

/// The last two bytes of an address of this network.
fn mac(addr: MacAddr) -> String {
    match addr.0 {
        [2, 0, 0, 0, number, last] => format!("{number:02x}:{last:02x}"),
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => "broadcast".to_owned(),
        other => hex(&other),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Payload: `N bytes` of x, text, or hex.
fn payload(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == b'x') {
        return format!("{} bytes", bytes.len());
    }
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ' || *byte == b'\n');
    if is_text { format!("{:?}", String::from_utf8_lossy(bytes)) } else { hex(bytes) }
}

fn arp(l3: &[u8]) -> String {
    let Some(arp) = Arp::parse(l3) else { return format!("arp {}", hex(l3)) };
    match arp.operation {
        ArpOperation::Request => format!("arp who-has {} tell {}", arp.target_ip, arp.sender_ip),
        ArpOperation::Reply => {
            format!("arp reply {} is-at {} to {}", arp.sender_ip, mac(arp.sender_mac), arp.target_ip)
        }
    }
}

fn ipv4(l3: &[u8], ident: Option<u16>) -> String {
    let Some(ip) = Ipv4::new_checked(l3) else { return format!("ip? {}", hex(l3)) };
    // The identification matters for fragments; otherwise the kernel may draw it.
    let part = if ip.fragment_offset() > 0 || ip.more_fragments() {
        let more = if ip.more_fragments() { "+" } else { "" };
        let ident = if ident == Some(ip.ident()) { ip.ident().to_string() } else { "drawn".to_owned() };
        format!(" id {ident} part {}{more}", ip.fragment_offset())
    } else {
        String::new()
    };
    let mut text = l4(&ip, ip.payload());
    _ = write!(text, " ttl {}", ip.ttl());
    if ip.tos() != 0 {
        _ = write!(text, " tos {:#x}", ip.tos());
    }
    if ip.dont_fragment() {
        text.push_str(" df");
    }
    text.push_str(&part);
    if !ip.is_checksum_valid() {
        text.push_str(" header checksum wrong");
    }
    text
}

fn l4<T: AsRef<[u8]>>(ip: &Ipv4<T>, bytes: &[u8]) -> String {
    let (src, dst) = (ip.src(), ip.dst());
    let whole = ip.fragment_offset() == 0;
    match ip.protocol() {
        protocol::UDP if whole && Udp::new_checked(bytes).is_some() => {
            let udp = Udp::new_checked(bytes).unwrap();
            let (from, to) = (udp.src_port(), udp.dst_port());
            format!("udp {src}:{from} {dst}:{to} {}{}", payload(&bytes[8..]), sum(ip, bytes, 6))
        }
        protocol::TCP if whole && Tcp::new_checked(bytes).is_some() => {
            let tcp = Tcp::new_checked(bytes).unwrap();
            let flags: String = ["F", "S", "R", "P", ".", "U", "E", "C"]
                .iter()
                .enumerate()
                .filter(|(bit, _)| tcp.flags().0 & (1 << bit) != 0)
                .map(|(_, letter)| *letter)
                .collect();
            let options = if tcp.options().is_empty() {
                String::new()
            } else {
                format!(" options {}", hex(tcp.options()))
            };
            format!(
                "tcp {src}:{} {dst}:{} {flags} seq {} ack {} win {}{options} {}{}",
                tcp.src_port(),
                tcp.dst_port(),
                tcp.sequence(),
                tcp.acknowledgment(),
                tcp.window(),
                payload(tcp.payload()),
                sum(ip, bytes, 16),
            )
        }
        protocol::ICMP if whole && Icmpv4::new_checked(bytes).is_some() => {
            let icmp = Icmpv4::new_checked(bytes).unwrap();
            let body = if icmp.is_error() {
                format!("about ({})", quoted(icmp.payload()))
            } else {
                payload(icmp.payload())
            };
            let state = if icmp.is_checksum_valid() || ip.more_fragments() { "" } else { " checksum wrong" };
            let rest = hex(&bytes[4..8]);
            format!("icmp {src} {dst} {}/{} {rest} {body}{state}", icmp.icmp_type(), icmp.code())
        }
        number => format!("ip {src} {dst} protocol {number} {}", payload(bytes)),
    }
}

/// A packet in an ICMP error; it may be truncated.
fn quoted(bytes: &[u8]) -> String {
    let Some(quote @ Quote { ip, l4 }) = Quote::parse(bytes) else { return hex(bytes) };
    let ports = match (ip.protocol(), quote.ports()) {
        (protocol::UDP | protocol::TCP, Some((src, dst))) => format!(" {src}>{dst}"),
        _ => String::new(),
    };
    let (src, dst) = (ip.src(), ip.dst());
    let rest = if l4.len() > 4 { hex(&l4[4..l4.len().min(32)]) } else { String::new() };
    format!(
        "protocol {} {src} {dst}{ports} ttl {} length {} quoted {} then {rest}",
        ip.protocol(),
        ip.ttl(),
        ip.total_len(),
        bytes.len()
    )
}

/// Reports a transport checksum that is neither right nor left to the hardware (`CHECKSUM_PARTIAL`: the field holds the
/// sum of the pseudo-header).
fn sum<T: AsRef<[u8]>>(ip: &Ipv4<T>, l4: &[u8], at: usize) -> &'static str {
    let len = u16::try_from(l4.len()).unwrap();
    let pseudo = checksum::finish(checksum::pseudo_header(ip.src(), ip.dst(), ip.protocol(), len));
    let held = u16::from_be_bytes([l4[at], l4[at + 1]]);
    let is_right = checksum::is_transport_valid(ip.src(), ip.dst(), ip.protocol(), l4) || held == !pseudo;
    if is_right || ip.more_fragments() { "" } else { " checksum wrong" }
}
