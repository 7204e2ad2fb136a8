//! What `conntrack -S` counts.

/// Events of a netns since it began (`struct ip_conntrack_stat`, include/linux/netfilter/nf_conntrack_common.h).
///
/// Those that only a shared-memory multiprocessor has are left out (`search_restart`), as is `chaintoolong`: the kernel
/// refuses to insert into a hash chain longer than a random limit of 50 to 79, and there are no chains here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// NAT found a tuple taken.
    pub found: u64,
    /// Packets that belong to no entry and could not start one.
    pub invalid: u64,
    /// Entries that could not go into the table.
    pub insert_failed: u64,
    /// Packets dropped because their entry could not be made or inserted.
    pub drop: u64,
    /// Entries deleted to make room.
    pub early_drop: u64,
    /// ICMP packets that were malformed, or reported an error about no known flow.
    pub icmp_error: u64,
    /// Clashes that were settled without loss.
    pub clash_resolve: u64,
}
