//! Hand-made suite results, with every possible verdict.

use super::run::{disputed, failed, passed};
use conformance::arm::ArmError;
use conformance::backend::Backend;
use conformance::prepare::prepare;
use conformance::scenario::{IpFamilies, ProxyMode};
use conformance::suite::known::CaseStatus;
use conformance::suite::run::{Case, Finished, SuiteMember};
use conformance::suite::{BuiltIn, find};
use std::time::Duration;

fn member(name: &str, argument: &str) -> SuiteMember {
    let scenario = find("clusterip").map(BuiltIn::load).expect("it is built in");
    let prepared = prepare(scenario).expect("the scenario is valid");
    SuiteMember { name: name.to_owned(), argument: argument.to_owned(), prepared }
}

/// The scenarios of [`on_the_simulator`] and [`on_the_kernel`].
pub(crate) fn members() -> Vec<SuiteMember> {
    vec![
        member("nodeport-local", "nodeport-local"),
        member("mine", "my scenarios/mine.yaml"),
        member("external-ip", "external-ip"),
    ]
}

fn case(member: &SuiteMember, backend: Option<Backend>) -> Case<'_> {
    Case { member, mode: ProxyMode::Iptables, family: IpFamilies::Ipv4, seed: 0, backend, machines: None }
}

/// One passed and one failed run.
pub(crate) fn on_the_simulator(members: &[SuiteMember]) -> Vec<Finished<'_>> {
    let finished = |index: usize, outcome, verdict| Finished {
        case: case(&members[index], None),
        outcome: Ok(outcome),
        verdict,
        earlier: Vec::new(),
        elapsed: None,
    };
    vec![finished(0, passed(), CaseStatus::Passed), finished(1, failed(), CaseStatus::Failed)]
}

/// Runs on two back ends with the same flows as on the simulator, some of them with differences.
pub(crate) fn on_the_kernel(members: &[SuiteMember]) -> Vec<Finished<'_>> {
    const REASON: &str = "this kernel \u{8} counts <differently>";
    let missing =
        || Err(ArmError::Missing("the kernel cannot delay frames: load the module `sch_netem`".into()));
    [
        (0, Backend::Legacy, Ok(passed()), CaseStatus::Passed),
        (0, Backend::Nft, Ok(disputed()), CaseStatus::Failed),
        (1, Backend::Legacy, Ok(disputed()), CaseStatus::KnownDifference(REASON)),
        (1, Backend::Nft, Ok(passed()), CaseStatus::UnexpectedPass(REASON)),
        (2, Backend::Legacy, missing(), CaseStatus::NotRun),
    ]
    .into_iter()
    .map(|(index, backend, outcome, verdict)| Finished {
        case: case(&members[index], Some(backend)),
        outcome,
        verdict,
        earlier: match (index, backend) {
            (0, Backend::Legacy) => vec![Ok(disputed()), missing()],
            (0, Backend::Nft) => Vec::new(),
            _ => vec![missing(), missing()],
        },
        elapsed: Some(Duration::from_millis(1_240)),
    })
    .collect()
}
