//! Bindings and translations.

use super::{Row, RowContext, at_hook};
use crate::palette::Tone;
use crate::walk::WalkStep;
use sim::trace::NatEvent;
use sim::tuple::{Direction, Tuple};
use sim::wire::rewrite::Side;

pub(super) fn row(words: &RowContext<'_>, step: &WalkStep<'_>, event: &NatEvent) -> Row {
    let place = at_hook(step.hook, "nat");
    match event {
        NatEvent::Bound { entry: _, manip, old_reply, new_reply } if old_reply == new_reply => {
            let side = side_name(*manip);
            Row::new(place, format!("null binding: {side} unchanged for the whole flow")).tone(Tone::Dim)
        }
        NatEvent::Bound { entry: _, manip, old_reply, new_reply } => {
            let (old, new) = (translated_end(*manip, old_reply), translated_end(*manip, new_reply));
            let change = arrow(words, *manip, old, new);
            Row::new(place, format!("binding: {change} for the whole flow")).tone(Tone::Change)
        }
        NatEvent::Translated { manip, direction, from, to } => {
            let change = arrow(words, *manip, *from, *to);
            let text = match direction {
                Direction::Original => change,
                Direction::Reply => format!("{change} (reply)"),
            };
            Row::new(place, text).tone(Tone::Change)
        }
        NatEvent::QuoteTranslated { manip } => {
            Row::new(place, format!("{} of the packet quoted in the ICMP error", side_name(*manip)))
                .tone(Tone::Change)
        }
    }
}

type End = (std::net::IpAddr, u16);

/// The end of the flow that a binding changes, taken from the reply tuple: replies come from the new destination.
const fn translated_end(manip: Side, reply: &Tuple) -> End {
    match manip {
        Side::Dst => (reply.src, reply.src_port()),
        Side::Src => (reply.dst, reply.dst_port()),
    }
}

/// `dst 10.96.0.10:80 -> 10.244.1.2:8080`.
fn arrow(words: &RowContext<'_>, manip: Side, from: End, to: End) -> String {
    format!("{} {} -> {}", side_name(manip), words.endpoint(from.0, from.1), words.endpoint(to.0, to.1))
}

const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Src => "src",
        Side::Dst => "dst",
    }
}
