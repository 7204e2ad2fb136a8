//! What the users of sockets see.

use super::{Row, Words};
use crate::frame::protocol_name;
use crate::palette::Tone;
use sim::trace::{Outcome, Refusal, SocketEvent, Unreachable};

pub(super) fn row(words: &Words<'_>, event: &SocketEvent) -> Row {
    match event {
        SocketEvent::Opened { protocol, local, remote, flow: _, socket: _ } => {
            let (local, remote) = (words.endpoint(local.0, local.1), words.endpoint(remote.0, remote.1));
            Row::new("socket", format!("{} {local} -> {remote}", protocol_name(*protocol)))
        }
        SocketEvent::Accepted { local, remote, flow: _, socket: _ } => {
            let (local, remote) = (words.endpoint(local.0, local.1), words.endpoint(remote.0, remote.1));
            Row::new("socket", format!("{local} accepts {remote}")).tone(Tone::Good)
        }
        SocketEvent::Finished { outcome, flow: _, socket: _ } => {
            Row::new("socket", outcome_text(*outcome)).tone(outcome_tone(*outcome))
        }
    }
}

/// An outcome in words: what the user of the socket is told.
pub const fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Connected => "connected",
        Outcome::Refused(Refusal::TcpReset) => "refused by a TCP reset",
        Outcome::Refused(Refusal::IcmpPortUnreachable) => "refused by an ICMP port unreachable",
        Outcome::Unreachable(Unreachable::Network) => "network unreachable",
        Outcome::Unreachable(Unreachable::Host) => "host unreachable",
        Outcome::Unreachable(Unreachable::Protocol) => "protocol unreachable",
        Outcome::Unreachable(Unreachable::Prohibited) => "prohibited",
        Outcome::Unreachable(Unreachable::MessageSize) => "message too large",
        Outcome::Timeout => "timed out",
        Outcome::Reset => "reset after it was established",
    }
}

/// Whether that is what one hopes for.
pub const fn outcome_tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Connected => Tone::Good,
        Outcome::Refused(_) | Outcome::Unreachable(_) | Outcome::Timeout | Outcome::Reset => Tone::Bad,
    }
}
