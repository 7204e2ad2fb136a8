//! Timers of a socket, as data.

use super::{SocketIo, SocketOut};
use crate::ids::{SocketId, SocketTimer, TimerKind};
use crate::time::{Duration, Instant};

const KINDS: usize = 4;

/// The timers of one socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    generation: u32,
    armed: [Option<Armed>; KINDS],
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    at: Instant,
    generation: u32,
}

impl Timers {
    /// Sets a timer, replacing an active one of the same kind (`mod_timer`).
    pub(super) fn arm(
        &mut self,
        io: &mut SocketIo<'_, '_>,
        socket: SocketId,
        kind: TimerKind,
        after: Duration,
    ) {
        let at = io.cx.now + after;
        self.generation += 1;
        let generation = self.generation;
        self.armed[kind as usize] = Some(Armed { at, generation });
        io.out.push(SocketOut::Timer { at, timer: SocketTimer { socket, kind, generation } });
    }

    pub(super) const fn cancel(&mut self, kind: TimerKind) {
        self.armed[kind as usize] = None;
    }

    /// The expiry of the timer of that kind, if active.
    pub(super) fn at(&self, kind: TimerKind) -> Option<Instant> {
        self.armed[kind as usize].map(|armed| armed.at)
    }

    pub(super) fn is_armed(&self, timer: SocketTimer) -> bool {
        self.armed[timer.kind as usize].is_some_and(|armed| armed.generation == timer.generation)
    }

    /// Consumes an expired timer; false if it was replaced or cancelled.
    pub(super) fn take(&mut self, timer: SocketTimer) -> bool {
        let is_due = self.is_armed(timer);
        if is_due {
            self.cancel(timer.kind);
        }
        is_due
    }
}
