//! Loads rule text with the real tools.

use std::collections::BTreeSet;

use proxy_core::load::{Ensure, Table};

use super::lab::{LabError, LabNetns};
use super::requirement::Requirement;
use crate::backend::Backend;
use crate::scenario::NodeNetwork;

impl Backend {
    /// The programs that it consists of.
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

    /// Loads input of `iptables-restore`. Waits for the iptables lock (`-w`), which is global.
    ///
    /// # Errors
    /// The tool's error message.
    pub fn restore(self, netns: &LabNetns, text: &str, is_flushing: bool) -> Result<(), LabError> {
        let args: &[&str] = if is_flushing { &["-w", "20"] } else { &["-w", "20", "--noflush"] };
        netns.run(self.restore_program(), args, text.as_bytes()).map(drop)
    }

    /// The loaded rules with counters (`iptables-save -c`).
    ///
    /// # Errors
    /// The tool's error message.
    pub fn save(self, netns: &LabNetns) -> Result<String, LabError> {
        netns.run(self.save_program(), &["-c"], b"")
    }
}

/// Adds a node's own routes and policy rules.
///
/// # Errors
/// The tool's error message.
pub(super) fn own_routes(netns: &LabNetns, own: &NodeNetwork) -> Result<(), LabError> {
    let routes = own.ip_routes.iter().map(|line| format!("route add {line}\n"));
    let input: String = routes.chain(own.ip_rules.iter().map(|line| format!("rule add {line}\n"))).collect();
    if input.is_empty() {
        return Ok(());
    }
    netns.run("ip", &["-4", "-batch", "-"], input.as_bytes()).map(drop)
}

/// Input of `iptables-restore --noflush`. Consecutive chains, jumps and texts are merged into one input, because starting a
/// process takes longer than most of its work.
#[derive(Debug, Default)]
pub(super) struct RestoreInput {
    text: String,
    open: Option<Table>,
    /// The chains that exist, and what follows `-A` in rules that existed before.
    chains: BTreeSet<(String, String)>,
    rules: BTreeSet<(String, String)>,
}

impl RestoreInput {
    /// For a node that has the rules in this output of `iptables-save`.
    pub(super) fn beside(saved: &str) -> Self {
        let mut input = Self::default();
        let mut table = "";
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some((chain, _)) = line.strip_prefix(':').and_then(|rest| rest.split_once(' ')) {
                input.chains.insert((table.to_owned(), chain.to_owned()));
            } else if let Some((_, rule)) = line.split_once("-A ") {
                input.rules.insert((table.to_owned(), rule.to_owned()));
            }
        }
        input
    }

    /// Creates a chain or a jump, unless it exists.
    pub(super) fn ensure(&mut self, ensure: &Ensure) {
        match ensure {
            Ensure::Chain { table, chain, .. } => {
                if self.chains.insert((table.to_string(), (*chain).to_owned())) {
                    self.line(*table, &format!("-N {chain}"));
                }
            }
            Ensure::Jump { table, from, rule, .. } => {
                if !self.rules.contains(&(table.to_string(), format!("{from} {rule}"))) {
                    self.line(*table, &format!("-I {from} {rule}"));
                }
            }
            Ensure::Device { .. } => unreachable!("a device is not a rule"),
        }
    }

    /// Appends whole tables.
    pub(super) fn push(&mut self, text: &str) {
        self.close();
        self.text.push_str(text);
    }

    /// The input since the last call; empty if there is nothing to load. Later input does not create the same chains again.
    pub(super) fn take(&mut self) -> String {
        self.close();
        std::mem::take(&mut self.text)
    }

    fn line(&mut self, table: Table, line: &str) {
        if self.open != Some(table) {
            self.close();
            self.open = Some(table);
            self.text.push_str(&format!("*{table}\n"));
        }
        self.text.extend([line, "\n"]);
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.text.push_str("COMMIT\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::objects::IpFamily;

    use super::*;

    #[test]
    fn chains_and_jumps_are_one_input() {
        let family = IpFamily::V4;
        let chain = |table, chain| Ensure::Chain { family, table, chain };
        let jump =
            |from, rule: &str| Ensure::Jump { family, table: Table::Filter, from, rule: rule.to_owned() };
        let mut input = RestoreInput::default();
        for ensure in [
            chain(Table::Filter, "A"),
            jump("INPUT", "-m comment --comment \"a b\" -j A"),
            chain(Table::Filter, "A"),
            jump("FORWARD", "-j A"),
            chain(Table::Nat, "A"),
        ] {
            input.ensure(&ensure);
        }
        input.push("*nat\n-A A -j RETURN\nCOMMIT\n");
        assert_eq!(
            input.take(),
            "*filter\n-N A\n-I INPUT -m comment --comment \"a b\" -j A\n-I FORWARD -j A\nCOMMIT\n*nat\n-N A\nCOMMIT\n\
             *nat\n-A A -j RETURN\nCOMMIT\n"
        );
        assert_eq!(input.take(), "");
        input.ensure(&chain(Table::Filter, "A"));
        assert_eq!(input.take(), "", "the chain exists");
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n[0:0] -A INPUT -m comment --comment \"a b\" -j A\nCOMMIT\n";
        let mut input = RestoreInput::beside(saved);
        for ensure in [
            chain(Table::Filter, "A"),
            jump("INPUT", "-m comment --comment \"a b\" -j A"),
            jump("FORWARD", "-j A"),
            chain(Table::Nat, "A"),
        ] {
            input.ensure(&ensure);
        }
        assert_eq!(input.take(), "*filter\n-I FORWARD -j A\nCOMMIT\n*nat\n-N A\nCOMMIT\n");
    }
}
