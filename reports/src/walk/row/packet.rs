//! Creation and end of packets.

use super::{Detail, Row, RowContext, rule::drop_reason};
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

/// The end of a packet as text.
pub(super) fn ending(words: &RowContext<'_>, terminal: Terminal) -> Row {
    match terminal {
        Terminal::Delivered { socket } => {
            let text = match words.detail {
                Detail::Exact => format!("to socket {}", socket.0),
                Detail::Alike => "to a socket".to_owned(),
            };
            Row::new("delivered", text).tone(Tone::Good)
        }
        Terminal::Consumed => Row::new("consumed", "by the kernel of this netns"),
        Terminal::Reassembled { into } => match words.detail {
            Detail::Exact => Row::new("reassembled", format!("into packet {}", into.0)),
            Detail::Alike => Row::new("reassembled", "with other fragments"),
        },
        Terminal::Fragmented => Row::new("fragmented", "continues as fragments"),
        Terminal::Dropped(reason) => Row::new("dropped", drop_reason(reason)).tone(Tone::Bad),
        Terminal::Rejected(reason) => {
            Row::new("rejected", format!("{}; an error is sent to its sender", drop_reason(reason)))
                .tone(Tone::Bad)
        }
    }
}
