//! Parses a line of a script.

mod fragment;
mod icmp;

use std::net::Ipv4Addr;
use std::time::Duration;

use sim::wire::TcpFlags;

use super::{ScriptIcmp, ScriptLine, ScriptPacket, ScriptPayload, ScriptSegment, ScriptTcpOption};
use crate::scenario::read::unknown_word;
use crate::scenario::{FieldFault, parse_duration};

/// The maximum length of data that fits into one packet on any device with the default MTU, whatever the options.
const LEN_MAX: u16 = 1400;

/// Longer than any timer that a script can wait for; more is probably a typo.
const DELAY_MAX: Duration = Duration::from_secs(600);

const SHAPE: &str =
    "\"> …\" for a packet to send or \"< …\" for an expected one, such as \"> S 0:0(0) win 64240\"";
const LENGTH: &str = "(LENGTH), such as (8)";
const RANGE: &str = "START:END(LENGTH), such as 1:9(8)";

/// Parses a line.
///
/// # Errors
/// The problem; the path of the fault is empty.
pub fn parse_line(text: &str) -> Result<ScriptLine, FieldFault> {
    let (delay, rest) = delay(text.trim())?;
    let wrong = || FieldFault::new(format!("invalid script line {text:?}")).expected(SHAPE);
    if let Some(rest) = rest.strip_prefix('>') {
        let mut words = Words::of(rest);
        let (packet, is_checksum_bad) = packet(&mut words, PacketRole::Sent)?;
        return Ok(ScriptLine::Send { delay, packet, is_checksum_bad });
    }
    let rest = rest.strip_prefix('<').ok_or_else(wrong)?;
    if !delay.is_zero() {
        return Err(FieldFault::new("only sent packets have a delay")
            .help("expected packets are awaited up to the step's timeout"));
    }
    if rest.trim() == "nothing" {
        return Ok(ScriptLine::ExpectNothing);
    }
    let (packet, _) = packet(&mut Words::of(rest), PacketRole::Expected)?;
    Ok(ScriptLine::Expect(packet))
}

/// `+0.5` at the start of a line, if present, and the rest.
fn delay(text: &str) -> Result<(Duration, &str), FieldFault> {
    let Some(rest) = text.strip_prefix('+') else { return Ok((Duration::ZERO, text)) };
    let (number, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let delay = parse_duration(&format!("{number}s")).filter(|delay| *delay <= DELAY_MAX);
    let fault = || {
        FieldFault::new(format!("invalid delay \"+{number}\""))
            .expected(format!("seconds up to {}, such as +0.5", DELAY_MAX.as_secs()))
    };
    Ok((delay.ok_or_else(fault)?, rest.trim_start()))
}

/// The words of a line; `<mss 1460,sackOK>` is one, and so is `[udp (8)]`.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// The word after one that requires a value.
    fn value(&mut self, key: &str, expected: &str) -> Result<&'a str, FieldFault> {
        let missing = || FieldFault::new(format!("missing value after {key:?}")).expected(expected);
        self.next().ok_or_else(missing)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let end = match text.chars().next() {
            Some('<') => text.find('>').map(|end| end + 1),
            Some('[') => text.find(']').map(|end| end + 1),
            Some(_) | None => text.find(char::is_whitespace),
        };
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// What a line does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PacketRole {
    /// It is sent.
    Sent,
    /// It is expected.
    Expected,
    /// An ICMP error quotes it.
    Quoted,
}

/// Everything after the direction, and whether the checksum is wrong.
fn packet(words: &mut Words<'_>, role: PacketRole) -> Result<(ScriptPacket, bool), FieldFault> {
    let is_sent = role == PacketRole::Sent;
    let shape = "flags such as S, S., P. or R, or udp, or icmp";
    let first = words.next().ok_or_else(|| FieldFault::new("the line is incomplete").expected(shape))?;
    let payload = match first {
        "nothing" if is_sent => {
            return Err(FieldFault::new("\"nothing\" can only be expected").expected("< nothing"));
        }
        "icmp" => ScriptPayload::Icmp(icmp::message(words)?),
        "udp" => ScriptPayload::Udp { len: data(words.value(first, LENGTH)?)? },
        flags => ScriptPayload::Tcp(segment(flags, words)?),
    };
    let mut packet = ScriptPacket::new(payload);
    let mut is_checksum_bad = false;
    let mut seen: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        let key = match word.chars().next() {
            Some('<') => "<…>",
            Some('[') => "[…]",
            Some(_) | None => word,
        };
        if seen.contains(&key) {
            return Err(FieldFault::new(format!("duplicate {key}")));
        }
        seen.push(key);
        match word {
            "bad-checksum" if is_sent => is_checksum_bad = true,
            "bad-checksum" => return Err(FieldFault::new("only sent packets have a bad checksum")),
            "ipid" if is_sent => {
                let ident = words.value(word, "a number")?;
                packet.ident = Some(number(ident, "a number from 1 to 65535", 1..=u16::MAX)?);
            }
            "ipid" => return Err(FieldFault::new("only sent packets have an IP ID of the script")),
            "frag" => {
                let size = words.value(word, "a size in bytes, such as 1480")?;
                packet.fragments = Some(fragment::fragments(size, role)?);
            }
            _ => option(&mut packet, word, words)?,
        }
    }
    if let ScriptPayload::Tcp(segment) = &packet.payload
        && segment.ack.is_some() != segment.flags.contains(TcpFlags::ACK)
    {
        let fault =
            FieldFault::new("a segment has an acknowledgment number if and only if it has ACK, the \".\"");
        return Err(fault.expected("such as \". 1:1(0) ack 1\" or \"R 1:1(0)\""));
    }
    if let (ScriptPayload::Icmp(ScriptIcmp::Error(error)), true) = (&packet.payload, is_sent) {
        icmp::can_be_sent(error)?;
    }
    fragment::check(&packet, role)?;
    Ok((packet, is_checksum_bad))
}

/// One of the words after the packet, with its value.
fn option(packet: &mut ScriptPacket, word: &str, words: &mut Words<'_>) -> Result<(), FieldFault> {
    match (word, &mut packet.payload) {
        ("ttl", _) => {
            packet.ttl = Some(number(words.value(word, "1 to 255")?, "a TTL from 1 to 255", 1..=255)?)
        }
        ("src", _) => {
            let text = words.value(word, "an IPv4 address")?;
            let wrong = |_| FieldFault::new(format!("invalid address {text:?}")).expected("an IPv4 address");
            packet.src = Some(text.parse::<Ipv4Addr>().map_err(wrong)?);
        }
        ("df" | "nodf", _) if packet.dont_fragment.is_some() => {
            return Err(FieldFault::new("df and nodf are contradictory"));
        }
        ("df" | "nodf", _) => packet.dont_fragment = Some(word == "df"),
        ("ack", ScriptPayload::Tcp(segment)) => {
            segment.ack = Some(number(words.value(word, "a number")?, "a number of 32 bits", 0..=u32::MAX)?);
        }
        ("win", ScriptPayload::Tcp(segment)) => {
            segment.window =
                Some(number(words.value(word, "a number")?, "a number of 16 bits", 0..=u16::MAX)?);
        }
        (options, ScriptPayload::Tcp(segment)) if options.starts_with('<') => {
            segment.options = tcp_options(options)?
        }
        (_, ScriptPayload::Tcp(_)) => {
            return Err(unknown_option(word, &["ack", "win", "<mss 1460>"]));
        }
        (_, ScriptPayload::Icmp(message)) => icmp::option(message, word, words)?,
        (_, ScriptPayload::Udp { .. }) => {
            return Err(unknown_option(word, &[]));
        }
    }
    Ok(())
}

/// A word that is neither one of those that any packet may have, nor of `own`.
fn unknown_option(word: &str, own: &[&str]) -> FieldFault {
    let common = ["ttl", "src", "df", "nodf", "ipid", "frag", "bad-checksum"];
    unknown_word("word", word, &[own, &common].concat())
}

fn number<T: std::str::FromStr + PartialOrd>(
    text: &str,
    expected: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, FieldFault> {
    let fault = || FieldFault::new(format!("unexpected {text:?}")).expected(expected);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain);
    number.filter(|number| range.contains(number)).ok_or_else(fault)
}

fn segment(letters: &str, words: &mut Words<'_>) -> Result<ScriptSegment, FieldFault> {
    let flags = tcp_flags(letters)?;
    let range = words.value(letters, RANGE)?;
    let fault = || FieldFault::new(format!("invalid sequence range {range:?}")).expected(RANGE);
    let (seq, rest) = range.split_once(':').ok_or_else(fault)?;
    let (end, len) = rest.strip_suffix(')').and_then(|rest| rest.split_once('(')).ok_or_else(fault)?;
    let seq: u32 = number(seq, RANGE, 0..=u32::MAX)?;
    let end: u32 = number(end, RANGE, 0..=u32::MAX)?;
    let len = data_len(len)?;
    let right = seq.wrapping_add(u32::from(len));
    if end != right {
        return Err(fault().expected(format!("{seq}:{right}({len}), because the end is start plus length")));
    }
    Ok(ScriptSegment { flags, seq, len, ack: None, window: None, options: Vec::new() })
}

/// tcpdump's flag letters, each at most once.
fn tcp_flags(text: &str) -> Result<TcpFlags, FieldFault> {
    const LETTERS: [(char, TcpFlags); 8] = [
        ('F', TcpFlags::FIN),
        ('S', TcpFlags::SYN),
        ('R', TcpFlags::RST),
        ('P', TcpFlags::PSH),
        ('U', TcpFlags::URG),
        ('E', TcpFlags::ECE),
        ('W', TcpFlags::CWR),
        ('.', TcpFlags::ACK),
    ];
    let mut flags = TcpFlags::default();
    if text == "none" {
        return Ok(flags);
    }
    for letter in text.chars() {
        let known = LETTERS.iter().find(|(known, _)| *known == letter);
        match known.filter(|(_, flag)| !flags.contains(*flag)) {
            Some((_, flag)) => flags = flags.union(*flag),
            None => {
                let fault = FieldFault::new(format!("invalid packet {text:?}"));
                return Err(fault.expected("flags such as S, S., P., R or none, or udp, or icmp"));
            }
        }
    }
    Ok(flags)
}

fn data_len(text: &str) -> Result<u16, FieldFault> {
    number(text, &format!("a length from 0 to {LEN_MAX}"), 0..=u16::MAX)
}

/// `(8)`.
fn data(text: &str) -> Result<u16, FieldFault> {
    let fault = || FieldFault::new(format!("invalid length {text:?}")).expected(LENGTH);
    data_len(text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or_else(fault)?)
}

/// `<mss 1460,sackOK,nop,wscale 7>`.
fn tcp_options(text: &str) -> Result<Vec<ScriptTcpOption>, FieldFault> {
    let expected = "<…> with mss N, sackOK, nop or wscale N, separated by commas";
    let fault = || FieldFault::new(format!("invalid options {text:?}")).expected(expected);
    let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).ok_or_else(fault)?;
    let mut options = Vec::new();
    for option in inner.split(',') {
        options.push(match option.trim().split_once(' ').unwrap_or((option.trim(), "")) {
            ("mss", size) => ScriptTcpOption::Mss(number(size.trim(), "mss N", 0..=u16::MAX)?),
            ("wscale", shift) => {
                ScriptTcpOption::WindowScale(number(shift.trim(), "wscale N up to 14", 0..=14)?)
            }
            ("sackOK", "") => ScriptTcpOption::SackPermitted,
            ("nop", "") => ScriptTcpOption::Nop,
            (_, _) => return Err(fault()),
        });
    }
    // A header has room for 40 bytes of options (RFC 9293 §3.1).
    let len: usize = options.iter().map(ScriptTcpOption::len).sum();
    if len > 40 {
        return Err(fault().expected("options of at most 40 bytes"));
    }
    Ok(options)
}
