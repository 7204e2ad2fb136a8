//! Events that users of sockets observe.

use super::{Row, RowContext};
use crate::frame::protocol_name;
use crate::outcome::{outcome_text, outcome_tone};
use crate::palette::Tone;
use sim::trace::SocketEvent;

pub(super) fn row(words: &RowContext<'_>, event: &SocketEvent) -> Row {
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
