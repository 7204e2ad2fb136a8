//! Parses the ICMP message of a line, after the word `icmp`.

use std::net::Ipv4Addr;

use sim::wire::icmpv4;

use super::super::icmp::{ECHO_NAMES, ERROR_NAMES};
use super::super::{
    ScriptEcho, ScriptIcmp, ScriptIcmpError, ScriptIcmpField, ScriptIcmpKind, ScriptPacket, ScriptPayload,
};
use super::{LENGTH, PacketRole, Words, data, number, packet, unknown_option};
use crate::scenario::FieldFault;
use crate::scenario::read::unknown_word;

/// The name of the message, and the length of an echo.
pub(super) fn message(words: &mut Words<'_>) -> Result<ScriptIcmp, FieldFault> {
    let name = words.value("icmp", "echo-request, echo-reply, or the name of an error")?;
    match ECHO_NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, is_reply)) => {
            let len = data(words.value(name, LENGTH)?)?;
            Ok(ScriptIcmp::Echo(ScriptEcho { is_reply: *is_reply, len, seq: None }))
        }
        None => Ok(ScriptIcmp::Error(ScriptIcmpError { kind: kind(name)?, field: None, quote: None })),
    }
}

/// A name, or type and code as `3/9`.
fn kind(text: &str) -> Result<ScriptIcmpKind, FieldFault> {
    if let Some((_, kind)) = ERROR_NAMES.iter().find(|(name, _)| *name == text) {
        return Ok(*kind);
    }
    let numbers = text.split_once('/').and_then(|(icmp_type, code)| {
        Some(ScriptIcmpKind { icmp_type: icmp_type.parse().ok()?, code: code.parse().ok()? })
    });
    match numbers {
        Some(kind) if icmpv4::is_error(kind.icmp_type) => Ok(kind),
        Some(kind) => Err(FieldFault::new(format!("ICMP type {} is not an error", kind.icmp_type))
            .expected("type 3, 4, 5, 11 or 12, or echo-request, or echo-reply")),
        None => {
            let names = ERROR_NAMES.iter().map(|(name, _)| *name);
            let known: Vec<&str> = names.chain(ECHO_NAMES.iter().map(|(name, _)| *name)).collect();
            Err(unknown_word("ICMP message", text, &known))
        }
    }
}

/// A word after the name, with its value.
pub(super) fn option(message: &mut ScriptIcmp, word: &str, words: &mut Words<'_>) -> Result<(), FieldFault> {
    match message {
        ScriptIcmp::Echo(echo) if word == "seq" => {
            let seq = words.value(word, "a number")?;
            echo.seq = Some(number(seq, "a number of 16 bits", 0..=u16::MAX)?);
        }
        ScriptIcmp::Echo(_) => {
            return Err(unknown_option(word, &["seq"]));
        }
        ScriptIcmp::Error(error) if word.starts_with('[') => error.quote = Some(Box::new(quote(word)?)),
        ScriptIcmp::Error(error) => error.field = Some(field(error.kind, word, words)?),
    }
    Ok(())
}

/// `mtu 1200`, `gateway 192.168.0.1` or `pointer 8`.
fn field(kind: ScriptIcmpKind, word: &str, words: &mut Words<'_>) -> Result<ScriptIcmpField, FieldFault> {
    let field = match word {
        "mtu" => {
            let mtu = words.value(word, "a number")?;
            ScriptIcmpField::Mtu(number(mtu, "a number of 16 bits", 0..=u16::MAX)?)
        }
        "gateway" => {
            let text = words.value(word, "an IPv4 address")?;
            let wrong = |_| FieldFault::new(format!("invalid address {text:?}")).expected("an IPv4 address");
            ScriptIcmpField::Gateway(text.parse::<Ipv4Addr>().map_err(wrong)?)
        }
        "pointer" => {
            let pointer = words.value(word, "a number")?;
            ScriptIcmpField::Pointer(number(pointer, "a number of 8 bits", 0..=u8::MAX)?)
        }
        _ => return Err(unknown_option(word, &["mtu", "gateway", "pointer", "[udp (8)]"])),
    };
    if kind.field_name() == Some(word) {
        return Ok(field);
    }
    let fault = FieldFault::new(format!("ICMP {kind} has no {word}"));
    Err(match kind.field_name() {
        Some(name) => fault.expected(name),
        None => fault.expected("mtu only with unreachable/message-size, gateway only with a redirect, pointer only with parameter-problem"),
    })
}

/// `[udp (8) ttl 63]`: the quoted packet.
fn quote(word: &str) -> Result<ScriptPacket, FieldFault> {
    let inner = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(|| {
        FieldFault::new(format!("invalid quote {word:?}")).expected("a packet in brackets, such as [udp (8)]")
    })?;
    let (quote, _) = packet(&mut Words::of(inner), PacketRole::Quoted)?;
    if let ScriptPayload::Icmp(ScriptIcmp::Error(_)) = quote.payload {
        // RFC 1122 §3.2.2.
        return Err(FieldFault::new("an ICMP error is never about an ICMP error")
            .expected("a quoted segment, datagram or echo"));
    }
    Ok(quote)
}

/// A redirect needs a gateway; the other fields may be zero.
pub(super) fn can_be_sent(error: &ScriptIcmpError) -> Result<(), FieldFault> {
    if error.kind.field_name() == Some("gateway") && error.field.is_none() {
        return Err(FieldFault::new(format!("ICMP {} needs a gateway", error.kind))
            .expected(format!("icmp {} gateway ADDRESS", error.kind)));
    }
    Ok(())
}
