//! How packets begin and end.

use super::{Detail, Row, Words, rule::drop_reason};
use crate::palette::Tone;
use sim::packet::Origin;
use sim::trace::Terminal;

/// Why a packet exists.
pub const fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Socket => "sent by a socket",
        Origin::Kernel => "made by the kernel",
        Origin::Clone => "a copy",
        Origin::Fragment => "a fragment",
        Origin::Injected => "injected",
    }
}

/// How a packet ended, in words.
pub(super) fn ending(words: &Words<'_>, terminal: Terminal) -> Row {
    match terminal {
        Terminal::Delivered { socket } => {
            let text = match words.detail {
                Detail::Exact => format!("to socket {}", socket.0),
                Detail::Alike => "to a socket".to_owned(),
            };
            Row::new("delivered", text).tone(Tone::Good)
        }
        Terminal::Consumed => Row::new("consumed", "by the kernel, to which it was addressed"),
        Terminal::Reassembled { into } => match words.detail {
            Detail::Exact => Row::new("reassembled", format!("into packet {}", into.0)),
            Detail::Alike => Row::new("reassembled", "with other fragments"),
        },
        Terminal::Fragmented => Row::new("fragmented", "it goes on in parts"),
        Terminal::Dropped(reason) => Row::new("dropped", drop_reason(reason)).tone(Tone::Bad),
        Terminal::Rejected(reason) => {
            Row::new("rejected", format!("{}; its sender is told", drop_reason(reason))).tone(Tone::Bad)
        }
    }
}
