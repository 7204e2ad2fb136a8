//! Schedulers: which real server receives a new connection.
//!
//! Each has a file with the kernel's arithmetic. New servers are at the head of the list, and every scheduler walks it from
//! there, so that of equal servers the one added last is taken.

mod cache;
mod dh;
mod fo;
mod lblc;
mod lblcr;
mod lc;
mod load;
mod mh;
mod nq;
mod ovf;
mod rr;
mod sed;
mod sh;
mod siphash;
mod twos;
mod wlc;
mod wrr;

use super::clock::Clock;
use super::segment::{FlowKey, fold};
use super::server::{RealServer, ServerId, Servers};
use super::settings::Settings;
use crate::draws::Draws;
use crate::ids::NetnsId;
use std::fmt;

/// A scheduler by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchedulerKind {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// Locality-based least connections with replication.
    Lblcr,
    /// Source hashing.
    Sh,
    /// Destination hashing.
    Dh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Maglev hashing.
    Mh,
    /// Weighted failover.
    Fo,
    /// Weighted overflow.
    Ovf,
    /// Power of two choices.
    Twos,
}

impl SchedulerKind {
    /// Every scheduler.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Sh,
        Self::Dh,
        Self::Sed,
        Self::Nq,
        Self::Mh,
        Self::Fo,
        Self::Ovf,
        Self::Twos,
    ];

    /// The name that `ipvsadm -s` accepts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Sh => "sh",
            Self::Dh => "dh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Mh => "mh",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Twos => "twos",
        }
    }

    /// The scheduler of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Why a server was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is next in the list.
    Next,
    /// It is next among those with at least this weight.
    NextOfWeight(i64),
    /// It has the fewest connections.
    FewestConnections,
    /// It has the fewest connections by weight.
    LeastLoad,
    /// It has no active connection.
    Idle,
    /// It has the highest weight.
    HighestWeight,
    /// It owns the bucket of the hash table to which the address belongs.
    Bucket(u16),
    /// It owns this bucket; the server of the first one accepts no connections.
    FallbackBucket(u16),
    /// Earlier connections to this address were sent to it.
    SameDestination,
    /// It has less load than the other of two servers drawn by weight.
    BetterOfTwo,
    /// A template of this client names it.
    Template,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("next in the list"),
            Self::NextOfWeight(weight) => write!(f, "next with a weight of {weight} or more"),
            Self::FewestConnections => f.write_str("fewest connections"),
            Self::LeastLoad => f.write_str("fewest connections by weight"),
            Self::Idle => f.write_str("no active connection"),
            Self::HighestWeight => f.write_str("highest weight"),
            Self::Bucket(bucket) => write!(f, "owner of bucket {bucket}"),
            Self::FallbackBucket(bucket) => write!(f, "owner of fallback bucket {bucket}"),
            Self::SameDestination => f.write_str("server of earlier connections to this address"),
            Self::BetterOfTwo => f.write_str("less load than the other of two drawn servers"),
            Self::Template => f.write_str("named by the client's template"),
        }
    }
}

/// The servers of a service, in list order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool<'a> {
    pub(super) servers: &'a Servers,
    pub(super) order: &'a [ServerId],
}

impl<'a> Pool<'a> {
    fn get(self, id: ServerId) -> &'a RealServer {
        self.servers.get(id).expect("a listed server exists")
    }

    fn iter(self) -> impl Iterator<Item = (ServerId, &'a RealServer)> {
        self.order.iter().map(move |id| (*id, self.get(*id)))
    }

    /// The server at a position of the list.
    fn at(self, index: usize) -> Option<(ServerId, &'a RealServer)> {
        self.order.get(index).map(|id| (*id, self.get(*id)))
    }
}

/// A change of the list of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A server was added at the head.
    Added,
    /// The server at this position was deleted.
    Deleted(usize),
    /// The parameters of a server changed.
    Edited,
}

/// A new connection to be scheduled.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// Client and virtual address.
    pub(super) flow: FlowKey,
    /// `flag-1`: the hash schedulers look further if a server accepts no connections (`sh-fallback`, `mh-fallback`).
    pub(super) has_fallback: bool,
    /// `flag-2`: the hash schedulers use the client's port too (`sh-port`, `mh-port`).
    pub(super) uses_port: bool,
    pub(super) settings: &'a Settings,
    pub(super) clock: Clock,
    pub(super) draws: &'a mut Draws,
    pub(super) netns: NetnsId,
}

impl Ask<'_> {
    /// The client as a number: its address, plus its port if the service says so (`ip_vs_sh_hashkey`,
    /// `ip_vs_mh_hashkey`).
    fn client(&self) -> u32 {
        let port = if self.uses_port { self.flow.client.port() } else { 0 };
        fold(self.flow.client.ip()).wrapping_add(u32::from(port))
    }
}

type Choice = Option<(ServerId, Why)>;

/// A scheduler with its state for one service.
#[derive(Clone, Debug)]
pub(super) enum Scheduler {
    Rr(rr::Rr),
    Wrr(wrr::Wrr),
    Lc,
    Wlc,
    Lblc(lblc::Lblc),
    Lblcr(lblcr::Lblcr),
    Sh(sh::Sh),
    Dh(dh::Dh),
    Sed,
    Nq,
    Mh(mh::Mh),
    Fo,
    Ovf,
    Twos,
}

impl Scheduler {
    /// Starts a scheduler with the servers that the service has.
    pub(super) fn new(kind: SchedulerKind, pool: Pool<'_>, clock: Clock) -> Self {
        match kind {
            SchedulerKind::Rr => Self::Rr(rr::Rr::default()),
            SchedulerKind::Wrr => Self::Wrr(wrr::Wrr::new(pool)),
            SchedulerKind::Lc => Self::Lc,
            SchedulerKind::Wlc => Self::Wlc,
            SchedulerKind::Lblc => Self::Lblc(lblc::Lblc::new(clock)),
            SchedulerKind::Lblcr => Self::Lblcr(lblcr::Lblcr::new(clock)),
            SchedulerKind::Sh => Self::Sh(sh::Sh::new(pool)),
            SchedulerKind::Dh => Self::Dh(dh::Dh::new(pool)),
            SchedulerKind::Sed => Self::Sed,
            SchedulerKind::Nq => Self::Nq,
            SchedulerKind::Mh => Self::Mh(mh::Mh::new(pool)),
            SchedulerKind::Fo => Self::Fo,
            SchedulerKind::Ovf => Self::Ovf,
            SchedulerKind::Twos => Self::Twos,
        }
    }

    /// Its name.
    pub(super) const fn kind(&self) -> SchedulerKind {
        match self {
            Self::Rr(_) => SchedulerKind::Rr,
            Self::Wrr(_) => SchedulerKind::Wrr,
            Self::Lc => SchedulerKind::Lc,
            Self::Wlc => SchedulerKind::Wlc,
            Self::Lblc(_) => SchedulerKind::Lblc,
            Self::Lblcr(_) => SchedulerKind::Lblcr,
            Self::Sh(_) => SchedulerKind::Sh,
            Self::Dh(_) => SchedulerKind::Dh,
            Self::Sed => SchedulerKind::Sed,
            Self::Nq => SchedulerKind::Nq,
            Self::Mh(_) => SchedulerKind::Mh,
            Self::Fo => SchedulerKind::Fo,
            Self::Ovf => SchedulerKind::Ovf,
            Self::Twos => SchedulerKind::Twos,
        }
    }

    /// Notes a change of the servers.
    pub(super) fn changed(&mut self, change: Change, pool: Pool<'_>) {
        match self {
            Self::Rr(rr) => rr.changed(change),
            Self::Wrr(wrr) => wrr.changed(pool),
            Self::Sh(sh) => *sh = sh::Sh::new(pool),
            Self::Dh(dh) => *dh = dh::Dh::new(pool),
            Self::Mh(mh) => *mh = mh::Mh::new(pool),
            Self::Lc
            | Self::Wlc
            | Self::Lblc(_)
            | Self::Lblcr(_)
            | Self::Sed
            | Self::Nq
            | Self::Fo
            | Self::Ovf
            | Self::Twos => {}
        }
    }

    /// Selects a server; `None` if no server can take the connection.
    pub(super) fn schedule(&mut self, pool: Pool<'_>, ask: &mut Ask<'_>) -> Choice {
        match self {
            Self::Rr(rr) => rr.schedule(pool),
            Self::Wrr(wrr) => wrr.schedule(pool),
            Self::Lc => lc::schedule(pool),
            Self::Wlc => wlc::schedule(pool),
            Self::Lblc(lblc) => lblc.schedule(pool, ask),
            Self::Lblcr(lblcr) => lblcr.schedule(pool, ask),
            Self::Sh(sh) => sh.schedule(pool, ask),
            Self::Dh(dh) => dh.schedule(pool, ask),
            Self::Sed => sed::schedule(pool),
            Self::Nq => nq::schedule(pool),
            Self::Mh(mh) => mh.schedule(pool, ask),
            Self::Fo => fo::schedule(pool),
            Self::Ovf => ovf::schedule(pool),
            Self::Twos => twos::schedule(pool, ask),
        }
    }

    /// True if the scheduler remembers a server, which then outlives its deletion.
    pub(super) fn holds(&self, server: ServerId) -> bool {
        match self {
            Self::Lblc(lblc) => lblc.holds(server),
            Self::Lblcr(lblcr) => lblcr.holds(server),
            Self::Rr(_)
            | Self::Wrr(_)
            | Self::Lc
            | Self::Wlc
            | Self::Sh(_)
            | Self::Dh(_)
            | Self::Sed
            | Self::Nq
            | Self::Mh(_)
            | Self::Fo
            | Self::Ovf
            | Self::Twos => false,
        }
    }
}
