//! Conntrack events.

use super::{Row, RowContext, at_hook};
use crate::palette::Tone;
use crate::walk::WalkStep;
use sim::ct::{CtInfo, TcpState};
use sim::trace::ConntrackEvent;
use sim::tuple::Tuple;

pub(super) fn row(words: &RowContext<'_>, step: &WalkStep<'_>, event: &ConntrackEvent) -> Row {
    let place = at_hook(step.hook, "conntrack");
    match event {
        ConntrackEvent::New { entry: _, original } => {
            Row::new(place, format!("NEW {}", words.tuple(original)))
        }
        ConntrackEvent::Found { entry: _, info, original, reply } => {
            Row::new(place, format!("{} {}", info_name(*info), tuples(words, original, reply)))
        }
        ConntrackEvent::Invalid { why } => Row::new(place, format!("INVALID: {why}")).tone(Tone::Bad),
        ConntrackEvent::Untracked => Row::new(place, "UNTRACKED"),
        ConntrackEvent::TcpStateChanged { entry: _, from, to } => {
            Row::new(place, format!("{} -> {}", tcp_state_name(*from), tcp_state_name(*to))).tone(Tone::Dim)
        }
        ConntrackEvent::Confirmed { entry: _, original, reply } => {
            Row::new(place, format!("confirmed {}", tuples(words, original, reply)))
        }
        ConntrackEvent::Deleted { entry: _, original } => {
            Row::new(place, format!("deleted {}", words.tuple(original)))
        }
    }
}

/// Both tuples if NAT made the reply differ from the inverted original, else the original only.
fn tuples(words: &RowContext<'_>, original: &Tuple, reply: &Tuple) -> String {
    if original.reply().as_ref() == Some(reply) {
        return words.tuple(original);
    }
    format!("{}, reply {}", words.tuple(original), words.tuple(reply))
}

/// The state as in `-m conntrack --ctstate`, with the direction for replies.
const fn info_name(info: CtInfo) -> &'static str {
    match info {
        CtInfo::Established => "ESTABLISHED",
        CtInfo::Related => "RELATED",
        CtInfo::New => "NEW",
        CtInfo::EstablishedReply => "ESTABLISHED reply to",
        CtInfo::RelatedReply => "RELATED reply to",
    }
}

/// Names as `conntrack -L` prints them (`tcp_conntrack_names`, net/netfilter/nf_conntrack_proto_tcp.c).
const fn tcp_state_name(state: TcpState) -> &'static str {
    match state {
        TcpState::None => "NONE",
        TcpState::SynSent => "SYN_SENT",
        TcpState::SynRecv => "SYN_RECV",
        TcpState::Established => "ESTABLISHED",
        TcpState::FinWait => "FIN_WAIT",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::TimeWait => "TIME_WAIT",
        TcpState::Close => "CLOSE",
        TcpState::SynSent2 => "SYN_SENT2",
    }
}
