//! Lines of a script of raw packets, in packetdrill's notation: `> S 0:0(0) win 64240`, `< S. 0:0(0) ack 1`.

mod fragment;
mod icmp;
mod parse;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::tcp::TCP_HEADER_LEN;
use sim::wire::tcp_option::kind;
use sim::wire::{TcpFlags, TcpOption};

pub use fragment::{ScriptFragment, ScriptFragments};
pub use icmp::{ScriptEcho, ScriptIcmp, ScriptIcmpError, ScriptIcmpField, ScriptIcmpKind};
pub use parse::parse_line;

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptLine {
    /// `> …`: a packet to send.
    Send {
        /// The delay before sending.
        delay: Duration,
        /// The packet.
        packet: ScriptPacket,
        /// True to send a wrong TCP, UDP or ICMP checksum.
        is_checksum_bad: bool,
    },
    /// `< …`: the next expected packet.
    Expect(ScriptPacket),
    /// `< nothing`: no packet is expected.
    ExpectNothing,
}

/// A packet as specified by a line. A field that is `None` has its default value in a sent packet, and is ignored in an
/// expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptPacket {
    /// The payload.
    pub payload: ScriptPayload,
    /// Time to live, in hops.
    pub ttl: Option<u8>,
    /// Source address.
    pub src: Option<Ipv4Addr>,
    /// DF.
    pub dont_fragment: Option<bool>,
    /// The IP ID of a sent packet.
    pub ident: Option<u16>,
    /// The fragments in which it is sent, or arrives; `None` for a complete packet.
    pub fragments: Option<ScriptFragments>,
}

/// The payload of a script's packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptPayload {
    /// A TCP segment.
    Tcp(ScriptSegment),
    /// A UDP datagram.
    Udp {
        /// Length of the data in bytes.
        len: u16,
    },
    /// An ICMP message.
    Icmp(ScriptIcmp),
}

/// A TCP segment. Numbers are relative to the initial sequence number of the sender of the byte, which is zero until
/// known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptSegment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Length of the data in bytes.
    pub len: u16,
    /// Acknowledgment number; present if and only if ACK is set.
    pub ack: Option<u32>,
    /// The window field, unscaled.
    pub window: Option<u16>,
    /// Options to send, or expected options; if empty, none are sent and any are accepted.
    pub options: Vec<ScriptTcpOption>,
}

/// A TCP option (RFC 9293 §3.1, RFC 7323, RFC 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptTcpOption {
    /// `mss 1460`: maximum segment size.
    Mss(u16),
    /// `wscale 7`: shift count of the window.
    WindowScale(u8),
    /// `sackOK`: SACK is permitted.
    SackPermitted,
    /// `nop`: padding.
    Nop,
    /// Any other option, by kind; never sent.
    Other(u8),
}

impl From<TcpOption<'_>> for ScriptTcpOption {
    fn from(option: TcpOption<'_>) -> Self {
        match option {
            TcpOption::Nop => Self::Nop,
            TcpOption::Mss(mss) => Self::Mss(mss),
            TcpOption::WindowScale(shift) => Self::WindowScale(shift),
            TcpOption::SackPermitted => Self::SackPermitted,
            TcpOption::Sack(_) => Self::Other(kind::SACK),
            TcpOption::Timestamps(..) => Self::Other(kind::TIMESTAMPS),
            TcpOption::Other { kind, .. } => Self::Other(kind),
        }
    }
}

impl ScriptTcpOption {
    /// Its length in the header, in bytes.
    const fn len(&self) -> usize {
        match self {
            Self::Mss(_) => 4,
            Self::WindowScale(_) => 3,
            Self::SackPermitted => 2,
            Self::Nop | Self::Other(_) => 1,
        }
    }
}

impl ScriptPacket {
    /// A packet with default values of all other fields.
    pub const fn new(payload: ScriptPayload) -> Self {
        Self { payload, ttl: None, src: None, dont_fragment: None, ident: None, fragments: None }
    }

    /// The length of its data, in bytes; 0 for an ICMP error.
    pub const fn data_len(&self) -> u16 {
        match &self.payload {
            ScriptPayload::Tcp(segment) => segment.len,
            ScriptPayload::Udp { len } => *len,
            ScriptPayload::Icmp(ScriptIcmp::Echo(echo)) => echo.len,
            ScriptPayload::Icmp(ScriptIcmp::Error(_)) => 0,
        }
    }
}

impl ScriptSegment {
    /// The length of its header, in bytes: options are padded to words of 32 bits (RFC 9293 §3.1).
    pub fn header_len(&self) -> usize {
        let options: usize = self.options.iter().map(ScriptTcpOption::len).sum();
        TCP_HEADER_LEN + options.next_multiple_of(4)
    }
}

impl fmt::Display for ScriptLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { delay, packet, is_checksum_bad } => {
                if !delay.is_zero() {
                    write!(formatter, "+{} ", Seconds(*delay))?;
                }
                write!(formatter, "> {packet}{}", if *is_checksum_bad { " bad-checksum" } else { "" })
            }
            Self::Expect(packet) => write!(formatter, "< {packet}"),
            Self::ExpectNothing => formatter.write_str("< nothing"),
        }
    }
}

/// Seconds with as many decimal places as needed.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for ScriptPacket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.payload)?;
        if let Some(ttl) = self.ttl {
            write!(formatter, " ttl {ttl}")?;
        }
        if let Some(src) = self.src {
            write!(formatter, " src {src}")?;
        }
        match self.dont_fragment {
            None => {}
            Some(true) => formatter.write_str(" df")?,
            Some(false) => formatter.write_str(" nodf")?,
        }
        if let Some(ident) = self.ident {
            write!(formatter, " ipid {ident}")?;
        }
        self.fragments.map_or(Ok(()), |fragments| write!(formatter, " {fragments}"))
    }
}

impl fmt::Display for ScriptPayload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(segment) => segment.fmt(formatter),
            Self::Udp { len } => write!(formatter, "udp ({len})"),
            Self::Icmp(message) => write!(formatter, "icmp {message}"),
        }
    }
}

impl fmt::Display for ScriptSegment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flags, seq, len, ack, window, options } = self;
        write!(formatter, "{flags} {seq}:{}({len})", seq.wrapping_add(u32::from(*len)))?;
        if let Some(ack) = ack {
            write!(formatter, " ack {ack}")?;
        }
        if let Some(window) = window {
            write!(formatter, " win {window}")?;
        }
        if options.is_empty() {
            return Ok(());
        }
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        write!(formatter, " <{}>", options.join(","))
    }
}

impl fmt::Display for ScriptTcpOption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mss(size) => write!(formatter, "mss {size}"),
            Self::WindowScale(shift) => write!(formatter, "wscale {shift}"),
            Self::SackPermitted => formatter.write_str("sackOK"),
            Self::Nop => formatter.write_str("nop"),
            Self::Other(kind) => write!(formatter, "kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests;
