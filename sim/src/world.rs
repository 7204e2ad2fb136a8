//! The world: netns, the links between them, virtual time and the event queue.
//!
//! Events are handled in the total order of (time, sequence number). This module knows neither rule syntax nor
//! Kubernetes objects; text is passed on to the netns that parses it.

mod build;
mod event;
mod flow;
mod ip_batch;
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
use crate::release::Release;
use crate::stack;
use crate::sysctl::Sysctls;
use crate::time::{Duration, Instant};
use crate::timer_wheel::TimerWheel;
use crate::trace::{Kept, Level, Trace, TraceEvent};
use event::EventQueue;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Options of a new world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldOptions {
    /// Seed of every random decision.
    pub seed: u64,
    /// Detail of the trace.
    pub level: Level,
}

/// A network of netns. Cloning forks it, with everything in flight: the fork and the original continue independently.
/// They share each netns until one of them changes it.
#[derive(Clone, Debug)]
pub struct World {
    now: Instant,
    queue: EventQueue,
    netns: Vec<Arc<Netns>>,
    /// By sending netns and device. Only for lookup; never iterated.
    links: Arc<FxHashMap<(NetnsId, DeviceId), Link>>,
    draws: Draws,
    trace: Trace,
    effects: Vec<Effect>,
    flow_count: u32,
    /// The netns of each flow whose result has not been taken. Only for lookup; never iterated.
    flows: FxHashMap<FlowId, NetnsId>,
    /// Maximum number of events per wait; see [`RunLimit::Events`].
    events_max: u64,
    /// `None`: timers expire exactly when due.
    timer_wheel: Option<TimerWheel>,
    /// How long a system call takes that sends something.
    call_duration: Duration,
    rmem_max: u32,
    release: Release,
    /// The netns that have virtual services.
    with_ipvs: Vec<NetnsId>,
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
            call_duration: Duration::ZERO,
            rmem_max: Sysctls::default().rmem_max(),
            release: Release::NEWEST,
            with_ipvs: Vec::new(),
        }
    }

    /// A fork without the trace recorded so far; see [`World`].
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
            call_duration: self.call_duration,
            rmem_max: self.rmem_max,
            release: self.release,
            with_ipvs: self.with_ipvs.clone(),
        }
    }

    /// Virtual time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// From now on, timers expire as in a kernel with such ticks.
    pub fn set_timer_wheel(&mut self, wheel: TimerWheel) {
        self.timer_wheel = Some(wheel);
        for netns in &mut self.netns {
            let ns = Arc::make_mut(netns);
            ns.icmp_limit.set_wheel(wheel);
            ns.timer_wheel = Some(wheel);
        }
    }

    /// From now on, system calls that send on a TCP socket take that long; zero by default. Until then, the socket ignores
    /// ICMP redirects (`tcp_v4_err`, net/ipv4/tcp_ipv4.c). On a network without latency, such as one of veth pairs, a
    /// router answers before the call returns.
    pub fn set_call_duration(&mut self, duration: Duration) {
        self.call_duration = duration;
        self.netns.iter_mut().for_each(|netns| Arc::make_mut(netns).sockets.set_call_duration(duration));
    }

    /// Sets `net.core.rmem_max` of every netns, in bytes: it is a setting of the machine.
    pub fn set_rmem_max(&mut self, bytes: u32) {
        self.rmem_max = bytes;
        self.netns.iter_mut().for_each(|netns| Arc::make_mut(netns).sysctls.set_rmem_max(bytes));
    }

    /// From now on, all netns behave like that release of Linux; until then, like [`Release::NEWEST`].
    pub fn set_release(&mut self, release: Release) {
        self.release = release;
        self.netns.iter_mut().for_each(|netns| Arc::make_mut(netns).sysctls.set_release(release));
    }

    /// The trace recorded so far, and the packet ledger.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Changes the detail of the trace from now on.
    pub const fn set_level(&mut self, level: Level) {
        self.trace.set_level(level);
    }

    /// Changes which recorded events are kept from now on.
    pub const fn set_kept(&mut self, kept: Kept) {
        self.trace.set_kept(kept);
    }

    /// Takes the kept events.
    pub fn take_events(&mut self) -> Vec<TraceEvent> {
        self.trace.take_events()
    }

    /// Maximum number of events per wait.
    pub const fn events_max(&self) -> u64 {
        self.events_max
    }

    /// Changes the maximum number of events per wait; [`EVENTS_MAX`] by default.
    pub const fn set_events_max(&mut self, events_max: u64) {
        self.events_max = events_max;
    }

    /// Mutable access to the source of random decisions, for instance to switch it to enumeration.
    pub const fn draws_mut(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// The source of random decisions.
    pub const fn draws(&self) -> &Draws {
        &self.draws
    }

    /// A netns. Ids come only from [`World::add_netns`].
    pub fn netns(&self, id: NetnsId) -> &Netns {
        &self.netns[index(id)]
    }

    /// Mutable version of [`World::netns`].
    pub fn netns_mut(&mut self, id: NetnsId) -> &mut Netns {
        Arc::make_mut(&mut self.netns[index(id)])
    }

    /// All netns, ordered by id.
    pub fn all_netns(&self) -> impl Iterator<Item = &Netns> {
        self.netns.iter().map(|netns| &**netns)
    }

    /// Number of netns that a fork and its original still share.
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
        ns.fib.expire(self.now);
        stack::ipvs::expire(ns, &mut cx);
        let result = act(ns, &mut cx);
        stack::carry_out(ns, &mut cx, 0);
        self.carry_out(id, effects);
        result
    }
}

fn index(id: NetnsId) -> usize {
    usize::try_from(id.0).expect("u32 fits usize")
}

#[cfg(test)]
mod tests;
