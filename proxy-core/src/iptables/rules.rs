//! The content of a table in restore input: chains and rules.

use std::fmt;

use super::chain_name::ChainName;
use crate::load::Table;

/// The restore input of one table.
#[derive(Debug)]
pub(crate) struct TableRules {
    /// The table.
    pub(crate) table: Table,
    /// Chains to create, or to empty if they exist.
    pub(crate) chains: Vec<Chain>,
    /// Rules to append.
    pub(crate) rules: Rules,
}

impl TableRules {
    /// An empty table with capacity for this many bytes of rules.
    pub(crate) fn with_capacity(table: Table, bytes: usize) -> Self {
        Self {
            table,
            chains: Vec::new(),
            rules: Rules { text: String::with_capacity(bytes), ends: Vec::new() },
        }
    }

    /// Declares fixed chains.
    pub(crate) fn declare(&mut self, chains: impl IntoIterator<Item = &'static str>) {
        self.chains.extend(chains.into_iter().map(Chain::Fixed));
    }
}

/// A chain of kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Exists independent of Services.
    Fixed(&'static str),
    /// Belongs to one service port.
    OfService(ChainName),
}

impl Chain {
    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Fixed(name) => name,
            Self::OfService(name) => name.as_str(),
        }
    }
}

/// Rules, as the lines that append them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    text: String,
    /// For each rule, the offset after `-A CHAIN `, and the end of the line.
    ends: Vec<(usize, usize)>,
}

/// A rule in [`Rules`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleLine<'a> {
    /// The chain.
    pub(crate) chain: &'a str,
    /// The rule without `-A CHAIN`.
    pub(crate) rule: &'a str,
    /// `-A CHAIN RULE`, including the line break.
    pub(crate) text: &'a str,
}

const APPEND: &str = "-A ";

impl Rules {
    /// Appends a rule to a chain.
    pub(crate) fn push(&mut self, chain: &str, rule: fmt::Arguments<'_>) {
        let start = self.begin(chain);
        fmt::Write::write_fmt(&mut self.text, rule).expect("writing to a String does not fail");
        self.end(start);
    }

    /// Appends a rule made of groups of parts. Faster than formatting, for rules that occur by the hundred thousand.
    pub(crate) fn concat(&mut self, chain: &str, groups: &[&[&str]]) {
        let start = self.begin(chain);
        for part in groups.iter().copied().flatten() {
            self.text.push_str(part);
        }
        self.end(start);
    }

    /// All rules, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RuleLine<'_>> {
        self.ends.iter().scan(0, |from, (rule, end)| {
            let start = std::mem::replace(from, *end);
            Some(RuleLine {
                chain: &self.text[start + APPEND.len()..rule - 1],
                rule: &self.text[*rule..end - 1],
                text: &self.text[start..*end],
            })
        })
    }

    /// All lines.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Writes `-A CHAIN ` and returns the offset after it.
    fn begin(&mut self, chain: &str) -> usize {
        for part in [APPEND, chain, " "] {
            self.text.push_str(part);
        }
        self.text.len()
    }

    fn end(&mut self, start: usize) {
        self.text.push('\n');
        self.ends.push((start, self.text.len()));
    }
}

/// Restore input, table by table.
#[derive(Debug, Default)]
pub(crate) struct RestoreText(String);

impl RestoreText {
    /// An empty text with capacity for this many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Appends a table: chains to create or to empty, and lines.
    pub(crate) fn table<'a>(
        &mut self,
        table: Table,
        chains: impl Iterator<Item = &'a str>,
        lines: impl IntoIterator<Item = &'a str>,
    ) {
        let name = match table {
            Table::Filter => "*filter\n",
            Table::Nat => "*nat\n",
        };
        self.0.push_str(name);
        for chain in chains {
            self.0.extend([":", chain, " - [0:0]\n"]);
        }
        self.0.extend(lines);
        self.0.push_str("COMMIT\n");
    }

    /// The text.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_back_as_they_were_written() {
        let mut rules = Rules::default();
        rules.push("A", format_args!("-j {}", "B"));
        rules.concat("LONGER", &[&["-s ", "10.0.0.1"], &[" -j A"]]);
        let lines: Vec<_> = rules.iter().map(|line| (line.chain, line.rule, line.text)).collect();
        let expected =
            [("A", "-j B", "-A A -j B\n"), ("LONGER", "-s 10.0.0.1 -j A", "-A LONGER -s 10.0.0.1 -j A\n")];
        assert_eq!(lines, expected);
        assert_eq!(rules.as_str(), expected.map(|(_, _, text)| text).concat());
    }
}
