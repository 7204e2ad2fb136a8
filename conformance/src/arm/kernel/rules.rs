//! Loading rule text with the real tools.

use std::collections::BTreeSet;

use super::lab::{LabError, LabNetns};
use super::requirement::Requirement;
use crate::backend::Backend;
use crate::observation::RuleCounter;

impl Backend {
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
    pub fn restore(self, netns: &LabNetns, text: &str, is_flushing: bool) -> Result<(), LabError> {
        let args: &[&str] = if is_flushing { &["-w", "20"] } else { &["-w", "20", "--noflush"] };
        netns.run(self.restore_program(), args, text.as_bytes()).map(drop)
    }

    /// Carries out `iptables` command lines, in order, and then loads what `iptables-restore --noflush` reads, all by one
    /// process: what stands behind the table in a command line is what `iptables-restore` takes as a line. A command that
    /// makes a chain which an earlier one has made is passed over.
    ///
    /// # Errors
    /// What the tool says; it counts lines from the first command's on.
    pub fn load(self, netns: &LabNetns, commands: &[String], restore: &str) -> Result<(), LabError> {
        self.restore(netns, &format!("{}{restore}", as_restore(commands)), false)
    }

    /// What is loaded, with counters (`iptables-save -c`).
    ///
    /// # Errors
    /// What the tool says.
    pub fn save(self, netns: &LabNetns) -> Result<String, LabError> {
        netns.run(self.save_program(), &["-c"], b"")
    }
}

/// Command lines as input of `iptables-restore --noflush`. One that names no table is left as it is, for the tool to refuse.
fn as_restore(lines: &[String]) -> String {
    let mut made = BTreeSet::new();
    let mut text = String::new();
    let mut open = "";
    for line in lines {
        let command = line.strip_prefix("iptables -t ").and_then(|rest| rest.split_once(' '));
        let (table, command) = command.unwrap_or(("filter", line));
        if command.starts_with("-N ") && !made.insert((table, command)) {
            continue;
        }
        if table != open {
            text.push_str(if open.is_empty() { "" } else { "COMMIT\n" });
            text.push_str(&format!("*{table}\n"));
            open = table;
        }
        text.push_str(&format!("{command}\n"));
    }
    text.push_str(if open.is_empty() { "" } else { "COMMIT\n" });
    text
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
    fn command_lines_are_one_input() {
        let lines = [
            "iptables -t filter -N A",
            "iptables -t filter -I INPUT -m comment --comment \"a b\" -j A",
            "iptables -t filter -N A",
            "iptables -t filter -I FORWARD -j A",
            "iptables -t nat -N A",
        ];
        assert_eq!(
            as_restore(&lines.map(str::to_owned)),
            "*filter\n-N A\n-I INPUT -m comment --comment \"a b\" -j A\n-I FORWARD -j A\nCOMMIT\n*nat\n-N A\nCOMMIT\n"
        );
        assert_eq!(as_restore(&[]), "");
    }

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
