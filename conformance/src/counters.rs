//! Rule counters of a node, which the arms compare. The proxy mode determines the listing and the comparison.

use std::collections::BTreeMap;

use proxy_core::generator::Generator;

/// The listing that contains a node's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterListing {
    /// `iptables-save -c`.
    IptablesSave,
}

/// The number of matches of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCounter {
    /// The table.
    pub table: String,
    /// The rule, as in the listing.
    pub rule: String,
    /// Number of matching packets.
    pub packets: u64,
}

impl RuleCounter {
    /// The chain of the rule: the word after `-A`.
    pub fn chain(&self) -> &str {
        self.rule.split(' ').nth(1).unwrap_or_default()
    }
}

/// What rules have counted since `before`, as long as none was loaded meanwhile.
pub(crate) fn counted_since(before: &[RuleCounter], mut now: Vec<RuleCounter>) -> Vec<RuleCounter> {
    for (now, before) in now.iter_mut().zip(before).filter(|(now, before)| now.rule == before.rule) {
        now.packets = now.packets.saturating_sub(before.packets);
    }
    now
}

impl CounterListing {
    /// The listing for the rules of a generator.
    pub const fn of(generator: Generator) -> Self {
        match generator {
            Generator::Iptables | Generator::Ipvs => Self::IptablesSave,
        }
    }

    /// Parses the counters of a listing, in order.
    pub fn parse(self, text: &str) -> Vec<RuleCounter> {
        match self {
            Self::IptablesSave => parse_iptables_save(text),
        }
    }

    /// True if the simulator and the kernel agree on a rule.
    ///
    /// Rules of the nat table see the first packet of every flow, so both sides have equal counts. Rules of other
    /// tables also see every acknowledgment, whose number depends on timing: they must match on both sides or on
    /// neither.
    pub fn agree(self, sim: &RuleCounter, kernel: &RuleCounter) -> bool {
        match self {
            Self::IptablesSave if sim.table == NAT => sim.packets == kernel.packets,
            Self::IptablesSave => (sim.packets == 0) == (kernel.packets == 0),
        }
    }

    /// Counters of first packets of flows, by chain. They show which alternatives were drawn.
    pub fn first_packets(self, counters: &[RuleCounter]) -> BTreeMap<String, Vec<u64>> {
        let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let counts_first_packets = |counter: &&RuleCounter| match self {
            Self::IptablesSave => counter.table == NAT,
        };
        for counter in counters.iter().filter(counts_first_packets) {
            counts.entry(counter.chain().to_owned()).or_default().push(counter.packets);
        }
        counts
    }
}

/// The table that sees only first packets (`nf_nat_inet_fn`, net/netfilter/nf_nat_core.c).
const NAT: &str = "nat";

fn parse_iptables_save(saved: &str) -> Vec<RuleCounter> {
    let mut counters = Vec::new();
    let mut table = "";
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        }
        let counted = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let Some((counts, rule)) = counted.filter(|(_, rule)| rule.starts_with("-A ")) else { continue };
        let packets = counts.split(':').next().and_then(|packets| packets.parse().ok());
        counters.extend(packets.map(|packets| RuleCounter {
            table: table.to_owned(),
            rule: rule.to_owned(),
            packets,
        }));
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "# Generated\n*nat\n:PREROUTING ACCEPT [1:60]\n:SVC - [0:0]\n[3:180] -A PREROUTING -j SVC\n\
                         [0:0] -A SVC -p tcp -m comment --comment \"[9:9] -A X\" -j RETURN\n[2:120] -A SVC -j ACCEPT\nCOMMIT\n\
                         *filter\n[7:1] -A INPUT -j ACCEPT\nCOMMIT\n";

    #[test]
    fn counters_of_iptables_save_are_read_rule_by_rule() {
        let lines: Vec<String> = CounterListing::IptablesSave
            .parse(SAVED)
            .iter()
            .map(|RuleCounter { table, rule, packets }| format!("{packets} {table} {rule}"))
            .collect();
        assert_eq!(
            lines,
            [
                "3 nat -A PREROUTING -j SVC",
                "0 nat -A SVC -p tcp -m comment --comment \"[9:9] -A X\" -j RETURN",
                "2 nat -A SVC -j ACCEPT",
                "7 filter -A INPUT -j ACCEPT"
            ]
        );
    }

    #[test]
    fn only_the_nat_table_counts_first_packets() {
        let listing = CounterListing::IptablesSave;
        let counts = listing.first_packets(&listing.parse(SAVED));
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("PREROUTING".to_owned(), vec![3]), ("SVC".to_owned(), vec![0, 2])]
        );
    }

    #[test]
    fn tables_that_see_acknowledgments_agree_on_whether_a_rule_matched() {
        let counter = |table: &str, packets| RuleCounter {
            table: table.to_owned(),
            rule: "-A INPUT -j ACCEPT".to_owned(),
            packets,
        };
        for (table, sim, kernel, agree) in [
            ("nat", 1, 1, true),
            ("nat", 1, 2, false),
            ("filter", 3, 4, true),
            ("filter", 0, 0, true),
            ("filter", 0, 4, false),
        ] {
            let found = CounterListing::IptablesSave.agree(&counter(table, sim), &counter(table, kernel));
            assert_eq!(found, agree, "{table}: {sim} and {kernel}");
        }
    }
}
