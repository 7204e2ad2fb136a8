//! Long waits and conntrack's timeouts. On a kernel a wait takes its time, so both are scaled there by the same factor: by the
//! law of `conformance/tests/scaled_timeouts.rs`, connections end alike.

use serde_json::Value;

use crate::random::world::{RandomSysctl, RandomWait, RandomWorld, Time};

/// The factor. It divides every timeout, and the shortest is still 1 s, the unit of these sysctls.
const FACTOR: u32 = 10;

/// Conntrack's default timeouts in seconds (net/netfilter/nf_conntrack_proto_*.c).
const TIMEOUTS: [(&str, u32); 13] = [
    ("net.netfilter.nf_conntrack_icmp_timeout", 30),
    ("net.netfilter.nf_conntrack_tcp_timeout_close", 10),
    ("net.netfilter.nf_conntrack_tcp_timeout_close_wait", 60),
    ("net.netfilter.nf_conntrack_tcp_timeout_established", 432_000),
    ("net.netfilter.nf_conntrack_tcp_timeout_fin_wait", 120),
    ("net.netfilter.nf_conntrack_tcp_timeout_last_ack", 30),
    ("net.netfilter.nf_conntrack_tcp_timeout_max_retrans", 300),
    ("net.netfilter.nf_conntrack_tcp_timeout_syn_recv", 60),
    ("net.netfilter.nf_conntrack_tcp_timeout_syn_sent", 120),
    ("net.netfilter.nf_conntrack_tcp_timeout_time_wait", 120),
    ("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", 300),
    ("net.netfilter.nf_conntrack_udp_timeout", 30),
    ("net.netfilter.nf_conntrack_udp_timeout_stream", 120),
];

impl RandomWorld {
    fn is_scaled(&self) -> bool {
        self.time == Time::Real && !self.waits.is_empty()
    }

    /// The timeouts of every node, unless they are the defaults.
    pub(super) fn scaled_timeouts(&self) -> Vec<(String, Value)> {
        let timeouts = TIMEOUTS.iter().filter(|_| self.is_scaled());
        timeouts.map(|(name, seconds)| ((*name).to_owned(), (seconds / FACTOR).to_string().into())).collect()
    }

    /// The value of a sysctl, scaled if it is a timeout.
    pub(super) fn value(&self, sysctl: RandomSysctl) -> Value {
        let is_timeout = TIMEOUTS.iter().any(|(name, _)| *name == sysctl.name);
        match sysctl.value.parse::<u32>() {
            Ok(seconds) if is_timeout && self.is_scaled() => (seconds / FACTOR).to_string().into(),
            Ok(_) | Err(_) => sysctl.value.into(),
        }
    }

    /// A timeout of session affinity, in seconds. Those that a short wait crosses remain.
    pub(super) fn affinity_timeout(&self, seconds: i32) -> i32 {
        const LONG: std::ops::RangeFrom<i32> = 10..;
        if self.is_scaled() && LONG.contains(&seconds) { seconds / FACTOR.cast_signed() } else { seconds }
    }

    /// A wait as in `sleep:`.
    pub(super) fn wait(&self, wait: RandomWait) -> String {
        let factor = if self.is_scaled() { FACTOR } else { 1 };
        format!("{}ms", wait.milliseconds / factor)
    }
}
