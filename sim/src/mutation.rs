//! Mutations: faults that tests build into the simulator, to learn whether its judges find them.
//!
//! The code asks `Mutation::is_on` at the place of each fault. Without the feature `mutations`, the answer is a constant,
//! so that a normal build has no trace of them. With it, one mutation of the process can be selected: one build serves
//! all of them, and code that draws no conclusion from its own state needs no argument for it. Only tests build it.

#[cfg(feature = "mutations")]
mod table;

#[cfg(feature = "mutations")]
pub use table::{ROWS, Row};

#[cfg(feature = "mutations")]
use std::sync::atomic::{AtomicU8, Ordering};

/// A fault. `ROWS` says what each breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "described in the table")]
pub enum Mutation {
    NatReplyUntranslated,
    NatChecksumStale,
    NatQuoteUntranslated,
    NatRedirectPasses,
    NatClashIgnored,
    NatLowPortsIgnored,
    NatAsksEveryPacket,
    MasqueradeKeepsPort,
    MasqueradeTakesFirstDevice,
    LocalFlowsUnconfirmed,
    ErrorsInvalid,
    MidstreamRefused,
    WindowUnchecked,
    ResetUnchecked,
    ResetKeepsEntry,
    SynRetryRefreshes,
    ReopenRefused,
    UdpNeverAssured,
    UdpTimeoutShort,
    UdpStreamTimeoutLong,
    UdpStreamAtOnce,
    SynSentTimeoutShort,
    EstablishedTimeoutShort,
    TimeWaitTimeoutShort,
    CloseTimeoutLong,
    IcmpTimeoutShort,
    SourceUnvalidated,
    StrictFilterLoose,
    LoopbackRouted,
    ForwardingAlwaysOn,
    RedirectsUnsent,
    RedirectPauseLong,
    RouteErrorsUnsent,
    TtlKept,
    TtlZeroForwarded,
    ArpIgnoreUnread,
    ArpAnnounceUnread,
    ArpAnswersForOwnDevice,
    ArpAskersUnlearned,
    ArpFailureSilent,
    ArpQueueHoldsOne,
    HairpinAlwaysOn,
    BridgeNeverLearns,
    BridgeSkipsIptables,
    BridgedDnatPassedUp,
    BridgedDnatTakesOwnMac,
    RecentSecondsIgnored,
    RecentSetOnce,
    RecentListShared,
    StatisticHalved,
    RejectWithHostUnreachable,
    RejectResetTtl,
    RejectResetAcksShort,
    RejectResetLeavesOpen,
    SynTimeoutLong,
    ErrorFromRouteSource,
    ErrorQuotesEightBytes,
    ErrorPrecedenceMissing,
    ErrorUntracked,
    ErrorsAboutGroups,
    ErrorsUnlimited,
    ErrorTokensSlow,
    FragmentsUnassembled,
    FragmentSizesForgotten,
    FragmentOverlapKept,
    IpsetTimeoutIgnored,
    IpsetNomatchIgnored,
    IpsetPortOfSource,
    AllSettingUnread,
    DeviceSettingUnread,
    DefaultTtlUnread,
    EchoIgnoreUnread,
}

impl Mutation {
    /// True if this fault is selected.
    #[cfg(not(feature = "mutations"))]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    /// True if this fault is selected.
    #[cfg(feature = "mutations")]
    pub(crate) fn is_on(self) -> bool {
        SELECTED.load(Ordering::Relaxed) == self.number()
    }

    /// `mutated` if this fault is selected, else `right`.
    pub(crate) fn or<T>(self, mutated: T, right: T) -> T {
        if self.is_on() { mutated } else { right }
    }

    /// The mutation with that name, such as `TtlKept`.
    #[cfg(feature = "mutations")]
    pub fn by_name(name: &str) -> Option<Self> {
        ROWS.iter().map(|row| row.mutation).find(|mutation| format!("{mutation:?}") == name)
    }

    /// Selects this fault in every world of the process.
    #[cfg(feature = "mutations")]
    pub fn select(self) {
        SELECTED.store(self.number(), Ordering::Relaxed);
    }

    /// From 1; 0 is none.
    #[cfg(feature = "mutations")]
    const fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// The selected mutation, by number.
#[cfg(feature = "mutations")]
static SELECTED: AtomicU8 = AtomicU8::new(0);
