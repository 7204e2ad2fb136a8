//! Counters of `conntrack -S`.

/// Counters of a netns (`struct ip_conntrack_stat`, include/linux/netfilter/nf_conntrack_common.h).
///
/// Omitted are `search_restart`, which occurs on multiprocessors only, and `chaintoolong`: the kernel refuses to insert
/// into a hash chain longer than a random limit of 50 to 79, and there are no chains here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackStats {
    /// NAT found a tuple in use.
    pub found: u64,
    /// Packets without an entry that could not start one.
    pub invalid: u64,
    /// Entries that could not be inserted.
    pub insert_failed: u64,
    /// Packets dropped because their entry could not be allocated or inserted.
    pub drop: u64,
    /// Entries evicted to make room.
    pub early_drop: u64,
    /// Malformed ICMP packets, and ICMP errors about unknown flows.
    pub icmp_error: u64,
    /// Clashes resolved without loss.
    pub clash_resolve: u64,
}
