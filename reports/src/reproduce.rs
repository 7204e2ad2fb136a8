//! The one command that runs it again.

use conformance::result::{ArmKind, RunResult};
use std::fmt::{self, Display, Formatter};

/// `hairpin scenario nodeport-local --mode iptables --family ipv4 --seed 0`.
#[derive(Clone, Copy, Debug)]
pub struct Reproduce<'a> {
    /// What is run again.
    pub run: &'a RunResult,
    /// How the scenario was named on the command line.
    pub argument: &'a str,
}

impl Display for Reproduce<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let RunResult { mode, family, seed, arm, .. } = self.run;
        let scenario = quoted(self.argument);
        write!(f, "hairpin scenario {scenario} --mode {mode} --family {family} --seed {seed}")?;
        match arm {
            ArmKind::Sim => Ok(()),
            ArmKind::Kernel | ArmKind::Vm => write!(f, " --against {arm}"),
        }
    }
}

/// The argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./+:@%=".contains(char);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[test]
fn arguments_are_quoted_where_a_shell_would_split_them() {
    for (argument, expected) in
        [("scenarios/a.yaml", "scenarios/a.yaml"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''")]
    {
        assert_eq!(quoted(argument), expected);
    }
}
