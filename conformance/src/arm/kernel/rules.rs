//! Loading rule text with the real tools.

use std::fmt;

use super::lab::{LabError, Netns};
use super::requirement::Requirement;
use crate::observation::RuleCounter;

/// Which implementation of iptables loads rules. Both take the same text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// `iptables-legacy`: the xtables of the kernel.
    #[default]
    Legacy,
    /// `iptables-nft`: xtables matches and targets inside nftables chains.
    Nft,
}

impl Backend {
    /// Both, in the order in which they are reported.
    pub const ALL: [Self; 2] = [Self::Legacy, Self::Nft];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }

    /// The back end of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }

    /// The programs that it is made of.
    pub const fn requirements(self) -> [Requirement; 3] {
        match self {
            Self::Legacy => [
                Requirement::Program("iptables-legacy"),
                Requirement::Program("iptables-legacy-restore"),
                Requirement::Program("iptables-legacy-save"),
            ],
            Self::Nft => [
                Requirement::Program("iptables-nft"),
                Requirement::Program("iptables-nft-restore"),
                Requirement::Program("iptables-nft-save"),
            ],
        }
    }

    const fn restore_program(self) -> &'static str {
        match self {
            Self::Legacy => "iptables-legacy-restore",
            Self::Nft => "iptables-nft-restore",
        }
    }

    const fn save_program(self) -> &'static str {
        match self {
            Self::Legacy => "iptables-legacy-save",
            Self::Nft => "iptables-nft-save",
        }
    }

    /// Loads what `iptables-restore` reads. The lock of iptables is waited for (`-w`): it is one for the whole machine.
    ///
    /// # Errors
    /// What the tool says.
    pub fn restore(self, netns: &Netns, text: &str, is_flushing: bool) -> Result<(), LabError> {
        let args: &[&str] = if is_flushing { &["-w", "20"] } else { &["-w", "20", "--noflush"] };
        netns.run(self.restore_program(), args, text.as_bytes()).map(drop)
    }

    /// Runs `iptables` command lines, in order, by one shell. One that makes a chain may fail: the chain is there already.
    ///
    /// # Errors
    /// What the first command said that failed.
    pub fn commands(self, netns: &Netns, lines: &[String]) -> Result<(), LabError> {
        let name = self.name();
        let mut script = format!("iptables() {{ iptables-{name} -w 20 \"$@\"; }}\n");
        for line in lines {
            let may_fail = line.split(' ').any(|word| word == "-N");
            let otherwise = if may_fail { "2>/dev/null || :" } else { "|| exit" };
            script.push_str(&format!("{line} {otherwise}\n"));
        }
        netns.run("sh", &["-s"], script.as_bytes()).map(drop)
    }

    /// What is loaded, with counters (`iptables-save -c`).
    ///
    /// # Errors
    /// What the tool says.
    pub fn save(self, netns: &Netns) -> Result<String, LabError> {
        netns.run(self.save_program(), &["-c"], b"")
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Reads how often each rule matched out of what `iptables-save -c` printed, in its order.
pub fn counters(saved: &str) -> Vec<RuleCounter> {
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

    #[test]
    fn counters_are_read_rule_by_rule() {
        let saved = "# Generated\n*nat\n:PREROUTING ACCEPT [1:60]\n:SVC - [0:0]\n[3:180] -A PREROUTING -j SVC\n\
                     [0:0] -A SVC -p tcp -m comment --comment \"[9:9] -A X\" -j RETURN\n[2:120] -A SVC -j ACCEPT\nCOMMIT\n\
                     *filter\n[7:1] -A INPUT -j ACCEPT\nCOMMIT\n";
        let lines: Vec<String> = counters(saved)
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
}
