//! Releases of Linux, and where they differ in what is simulated.
//!
//! Unless told otherwise, a world behaves like [`Release::NEWEST`]. Comparison with a kernel selects that kernel's release.

use std::fmt;
use std::str::FromStr;

/// A release of Linux, such as 6.12. Stable updates do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    major: u16,
    minor: u16,
}

impl Release {
    /// The newest release whose behaviour is known.
    pub const NEWEST: Self = Self::new(6, 18);

    /// The release `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// True if the release contains that change.
    pub fn has(self, change: Change) -> bool {
        self >= change.row().since
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is not a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a release of Linux such as 6.12, found {0:?}")]
pub struct ReleaseError(String);

impl FromStr for Release {
    type Err = ReleaseError;

    /// Reads `6.12`, or what `uname -r` prints, such as `6.1.0-57-cloud-amd64`.
    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let digits = |part: &str| {
            let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse().ok()
        };
        let (major, rest) = text.split_once('.').ok_or_else(|| ReleaseError(text.to_owned()))?;
        let (Ok(major), Some(minor)) = (major.parse(), digits(rest)) else {
            return Err(ReleaseError(text.to_owned()));
        };
        Ok(Self { major, minor })
    }
}

/// A change of Linux's behaviour between the releases that are simulated, 6.1 to [`Release::NEWEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// `tcp_syn_linear_timeouts`.
    LinearSynTimeouts,
    /// `nf_nat_may_kill`.
    FlowsGiveUpPorts,
    /// `tcp_cwnd_test`.
    FinWaitsForWindow,
    /// `tcp_grow_skb`.
    SegmentsAreFilled,
    /// `tcp_ack`.
    UnsentAckIsAnswered,
    /// `udp_err`.
    UdpErrorsNeedSocket,
}

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The first release with it.
    pub since: Release,
    /// What happens since then, and what happened before.
    pub text: &'static str,
    /// Where to find it.
    pub source: &'static str,
}

impl Change {
    /// All changes, from the oldest.
    pub const ALL: [Self; 6] = [
        Self::LinearSynTimeouts,
        Self::FlowsGiveUpPorts,
        Self::FinWaitsForWindow,
        Self::SegmentsAreFilled,
        Self::UnsentAckIsAnswered,
        Self::UdpErrorsNeedSocket,
    ];

    /// What is known of it.
    pub const fn row(self) -> Row {
        match self {
            Self::LinearSynTimeouts => Row {
                since: Release::new(6, 5),
                text: "TCP repeats a SYN four times after a second each, and then at growing intervals; before, they grow from the \
                       start",
                source: "tcp_syn_linear_timeouts, tcp_retransmit_timer in net/ipv4/tcp_timer.c",
            },
            Self::FlowsGiveUpPorts => Row {
                since: Release::new(6, 7),
                text: "a flow whose port search fails takes the port of one that is closing; before, its packet is dropped",
                source: "nf_nat_may_kill in net/netfilter/nf_nat_core.c",
            },
            Self::FinWaitsForWindow => Row {
                since: Release::new(6, 10),
                text: "a FIN waits for the congestion window, as other segments do; before, it is sent at once",
                source: "tcp_cwnd_test in net/ipv4/tcp_output.c",
            },
            Self::SegmentsAreFilled => Row {
                since: Release::new(6, 10),
                text: "a segment is filled with data that was written for the next one; before, a lower MSS leaves a small segment \
                       of each that was written but not yet sent",
                source: "tcp_grow_skb in net/ipv4/tcp_output.c",
            },
            Self::UnsentAckIsAnswered => Row {
                since: Release::new(6, 18),
                text: "an ACK of data that was never sent is answered by a challenge ACK; before, it is dropped",
                source: "tcp_ack in net/ipv4/tcp_input.c",
            },
            // Stable updates of older releases differ from their first versions: seen in 6.1.192 and 6.12.117, where udp_err calls
            // ipv4_redirect and ipv4_update_pmtu, and not in 6.18.44.
            Self::UdpErrorsNeedSocket => Row {
                since: Release::new(6, 18),
                text: "a redirect or path MTU is learned from an error about a UDP datagram only if a socket sent it; before (6.1.192, \
                       6.12.117), also without, such as for a raw socket's datagram",
                source: "udp_err in net/ipv4/udp.c",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_and_compared() {
        for (text, expected) in [
            ("6.1", Some(Release::new(6, 1))),
            ("6.1.0-57-cloud-amd64", Some(Release::new(6, 1))),
            ("6.12.30+deb12", Some(Release::new(6, 12))),
            ("6.18-rc1", Some(Release::new(6, 18))),
            ("6", None),
            ("6.x", None),
            ("", None),
            ("v6.1", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
        assert!(Release::new(6, 9) < Release::new(6, 10));
    }

    #[test]
    fn the_book_lists_every_change() {
        let book = include_str!("../../docs/src/kernel.md");
        let rows: Vec<&str> = book
            .lines()
            .skip_while(|line| !line.starts_with("| since |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let documented = Change::ALL.map(|change| {
            let Row { since, text, source } = change.row();
            format!("| {since} | {text} | {source} |")
        });
        assert_eq!(rows, documented);
    }

    #[test]
    fn changes_are_listed_from_the_oldest() {
        assert!(Change::ALL.is_sorted_by_key(|change| change.row().since));
        assert!(Change::ALL.iter().all(|change| Release::NEWEST.has(*change)));
        assert!(!Release::new(6, 1).has(Change::LinearSynTimeouts));
    }
}
