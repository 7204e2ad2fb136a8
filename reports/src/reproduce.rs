//! The command that reproduces a run.

use conformance::arm::vm::GuestTime;
use conformance::backend::Backend;
use conformance::result::{ArmKind, RunResult};
use conformance::scenario::{IpFamilies, ProxyMode};
use std::fmt::{self, Display, Formatter};

/// `hairpin scenario nodeport-local --mode iptables --family ipv4 --seed 0`.
#[derive(Clone, Copy, Debug)]
pub struct Reproduce<'a> {
    /// How the scenario is named on the command line.
    pub argument: &'a str,
    /// How kube-proxy implements Services.
    pub mode: ProxyMode,
    /// Address families.
    pub family: IpFamilies,
    /// The seed of every random decision.
    pub seed: u64,
    /// The arm to run on.
    pub arm: ArmKind,
    /// Which iptables loads the rules; `None` on the simulator.
    pub backend: Option<Backend>,
    /// How time passes in a virtual machine.
    pub time: GuestTime,
}

impl<'a> Reproduce<'a> {
    /// The command for a run whose scenario was given as `argument`.
    pub fn new(run: &RunResult, argument: &'a str) -> Self {
        let RunResult { mode, family, seed, arm, backend, .. } = *run;
        let time = run.guest.as_ref().map_or(GuestTime::Virtual, |guest| guest.time);
        Self { argument, mode, family, seed, arm, backend, time }
    }
}

impl Display for Reproduce<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { argument, mode, family, seed, arm, backend, time } = self;
        let scenario = quoted(argument);
        write!(f, "hairpin scenario {scenario} --mode {mode} --family {family} --seed {seed}")?;
        match arm {
            ArmKind::Sim => {}
            ArmKind::Kernel | ArmKind::Vm => write!(f, " --against {arm}")?,
        }
        backend.map_or(Ok(()), |backend| write!(f, " --backend {backend}"))?;
        match time {
            GuestTime::Virtual => Ok(()),
            GuestTime::WallClock => f.write_str(" --wall-clock"),
        }
    }
}

/// Quotes the argument for a shell if necessary.
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
