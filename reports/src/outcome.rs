//! Outcomes as text.

use crate::palette::Tone;
use sim::trace::{Outcome, Refusal, Unreachable};

/// An outcome as text: what the user of the socket observes.
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
        Outcome::Reset => "reset after the connection was established",
    }
}

/// The tone of an outcome: connections stand out. Whether the outcome was expected is reported elsewhere.
pub const fn outcome_tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Connected => Tone::Good,
        Outcome::Refused(_) | Outcome::Unreachable(_) | Outcome::Timeout | Outcome::Reset => Tone::Change,
    }
}
