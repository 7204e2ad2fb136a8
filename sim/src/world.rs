//! The world: netns, the links between them, virtual time and the event queue.
//!
//! Events are handled in the total order (time, sequence number). Nothing here knows rule syntax or a Kubernetes object:
//! text is handed through to the netns that parses it.

mod build;
mod event;
mod flow;
mod raw;
mod run;
mod text;

pub use build::{BuildError, VethEnd};
pub use flow::ConnectSpec;
pub use raw::RawSendError;
pub use run::{EVENTS_MAX, RunLimit};
pub use text::LoadError;

use crate::context::{Context, Effect};
use crate::draws::Draws;
use crate::ids::{DeviceId, FlowId, NetnsId};
use crate::link::Link;
use crate::netns::Netns;
use crate::stack;
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::trace::{Kept, Level, Trace, TraceEvent};
use event::EventQueue;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How a world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldOptions {
    /// Seed of every random decision.
    pub seed: u64,
    /// What is recorded.
    pub level: Level,
}

/// A network of netns. Cloning forks it, with everything in flight: the fork and the original go on independently. A netns is
/// shared by both until one of them changes it.
#[derive(Clone, Debug)]
pub struct World {
    now: Instant,
    queue: EventQueue,
    netns: Vec<Arc<Netns>>,
    /// By sending netns and device. For look-up only; never iterated.
    links: Arc<FxHashMap<(NetnsId, DeviceId), Link>>,
    draws: Draws,
    trace: Trace,
    effects: Vec<Effect>,
    flow_count: u32,
    /// The netns of each flow that has begun and whose result has not been taken. For look-up only; never iterated.
    flows: FxHashMap<FlowId, NetnsId>,
    /// Events that one wait may take; see [`RunLimit::Events`].
    events_max: u64,
    /// None: timers expire exactly when they are due.
    timer_wheel: Option<TimerWheel>,
}

impl World {
    /// An empty world.
    pub fn new(options: WorldOptions) -> Self {
        Self {
            now: Instant::START,
            queue: EventQueue::default(),
            netns: Vec::new(),
            links: Arc::default(),
            draws: Draws::seeded(options.seed),
            trace: Trace::new(options.level),
            effects: Vec::new(),
            flow_count: 0,
            flows: FxHashMap::default(),
            events_max: EVENTS_MAX,
            timer_wheel: None,
        }
    }

    /// A fork that does not remember what was recorded so far; see [`World`].
    pub fn fork(&self) -> Self {
        Self {
            now: self.now,
            queue: self.queue.clone(),
            netns: self.netns.clone(),
            links: Arc::clone(&self.links),
            draws: self.draws.clone(),
            trace: self.trace.without_events(),
            effects: self.effects.clone(),
            flow_count: self.flow_count,
            flows: self.flows.clone(),
            events_max: self.events_max,
            timer_wheel: self.timer_wheel,
        }
    }

    /// Virtual time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// From here on, timers expire as those of a kernel with such ticks do.
    pub fn set_timer_wheel(&mut self, wheel: TimerWheel) {
        self.timer_wheel = Some(wheel);
        self.netns.iter_mut().for_each(|netns| Arc::make_mut(netns).icmp_limit.set_wheel(wheel));
    }

    /// What was recorded so far, and the account of packets.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Changes what is recorded from here on.
    pub const fn set_level(&mut self, level: Level) {
        self.trace.set_level(level);
    }

    /// Changes which of the recorded events are kept from here on.
    pub const fn set_kept(&mut self, kept: Kept) {
        self.trace.set_kept(kept);
    }

    /// Gives the events away that were kept so far.
    pub fn take_events(&mut self) -> Vec<TraceEvent> {
        self.trace.take_events()
    }

    /// How many events one wait may take.
    pub const fn events_max(&self) -> u64 {
        self.events_max
    }

    /// Changes how many events one wait may take; [`EVENTS_MAX`] by default.
    pub const fn set_events_max(&mut self, events_max: u64) {
        self.events_max = events_max;
    }

    /// The source of random decisions, for instance to switch it to enumeration.
    pub const fn draws_mut(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// The source of random decisions.
    pub const fn draws(&self) -> &Draws {
        &self.draws
    }

    /// A netns to look at. Ids are handed out by [`World::add_netns`] alone.
    pub fn netns(&self, id: NetnsId) -> &Netns {
        &self.netns[index(id)]
    }

    /// A netns to change.
    pub fn netns_mut(&mut self, id: NetnsId) -> &mut Netns {
        Arc::make_mut(&mut self.netns[index(id)])
    }

    /// Every netns in the order of their ids.
    pub fn all_netns(&self) -> impl Iterator<Item = &Netns> {
        self.netns.iter().map(|netns| &**netns)
    }

    /// How many netns a fork and its original still share.
    pub fn shared_netns(&self, other: &Self) -> usize {
        self.netns.iter().zip(&other.netns).filter(|(own, others)| Arc::ptr_eq(own, others)).count()
    }

    /// Lets a netns act now, and carries out its effects.
    pub(crate) fn with_netns<R>(
        &mut self,
        id: NetnsId,
        act: impl FnOnce(&mut Netns, &mut Context) -> R,
    ) -> R {
        self.draws.set_now(self.now);
        let mut effects = std::mem::take(&mut self.effects);
        let mut cx = Context {
            now: self.now,
            netns: id,
            draws: &mut self.draws,
            trace: &mut self.trace,
            effects: &mut effects,
        };
        let ns = Arc::make_mut(&mut self.netns[index(id)]);
        let result = act(ns, &mut cx);
        stack::carry_out(ns, &mut cx, 0);
        for effect in effects.drain(..) {
            self.carry_out(id, effect);
        }
        self.effects = effects;
        result
    }
}

fn index(id: NetnsId) -> usize {
    usize::try_from(id.0).expect("u32 fits usize")
}

#[cfg(test)]
mod tests;
