use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;

use super::*;
use crate::arm::kernel::testing::can_run;
use crate::diagnostic::Source;
use crate::manifest;
use crate::prepare::prepare;
use crate::suite::{BuiltIn, SCENARIOS};

static MEMBERS: LazyLock<Vec<SuiteMember>> = LazyLock::new(|| {
    let member = |built_in: &BuiltIn| SuiteMember {
        name: built_in.name.to_owned(),
        argument: built_in.name.to_owned(),
        prepared: prepare(built_in.load()).expect("the scenario is valid"),
    };
    SCENARIOS.iter().map(member).collect()
});

fn everything() -> Selection {
    Selection {
        mode: ModeChoice::Named,
        family: IpFamilies::Ipv4,
        backends: Vec::new(),
        filter: None,
        shard: None,
    }
}

fn names(cases: &[Case<'_>]) -> Vec<String> {
    let backend = |case: &Case<'_>| case.backend.map(|backend| format!("/{backend}")).unwrap_or_default();
    cases.iter().map(|case| format!("{}/{}{}", case.member.name, case.mode, backend(case))).collect()
}

#[test]
fn runs_are_those_that_are_meant_back_end_by_back_end() {
    let selection = Selection {
        backends: Backend::ALL.to_vec(),
        filter: Filter::parse("name(hairpin) and mode(iptables)").ok(),
        ..everything()
    };
    assert_eq!(
        names(&selection.cases(&MEMBERS, 0)),
        [
            "hairpin-veth/iptables/legacy",
            "hairpin-veth/iptables/nft",
            "hairpin-off/iptables/legacy",
            "hairpin-off/iptables/nft",
        ]
    );
    let other_mode = Selection { mode: ModeChoice::One(ProxyMode::Userspace), ..everything() };
    assert_eq!(names(&other_mode.cases(&MEMBERS, 0)), Vec::<String>::new());
}

#[test]
fn a_filter_looks_at_names_of_scenarios_and_not_at_what_reports_call_them() {
    let mut members = good_and_bad();
    "good (folder/bad.yaml)".clone_into(&mut members[0].name);
    for (filter, expected) in [
        ("name(=good)", &["good (folder/bad.yaml)/iptables"][..]),
        ("name(=bad)", &["bad/iptables"]),
        ("folder", &[]),
    ] {
        let selection = Selection { filter: Filter::parse(filter).ok(), ..everything() };
        assert_eq!(names(&selection.cases(&members, 0)), expected, "{filter}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let filter = Filter::parse("clusterip or udp").ok();
    let cases = Selection { filter, ..everything() }.cases(&MEMBERS, 3);
    let heard = Mutex::new(BTreeMap::new());
    let is_done = |case: &Case<'_>| {
        *heard.lock().expect("nobody panicked").entry(case.member.name.clone()).or_insert(0) += 1;
    };
    let run = |jobs| run_all(&cases, NonZeroUsize::new(jobs), 2, &[], &is_done).expect("there are threads");
    let alone = run(1);
    assert_eq!(run(4), alone);
    for finished in &alone {
        assert_eq!(finished.verdict, CaseStatus::Passed, "{}", finished.case.member.name);
        assert_eq!((finished.elapsed, finished.tries()), (None, 1));
        let hash = finished.outcome.as_ref().expect("the run completed").trace_hash;
        assert!(hash.is_some_and(|hash| hash != 0));
        assert_eq!(heard.lock().expect("nobody panicked")[&finished.case.member.name], 2);
    }
}

/// A scenario that passes on the simulator, and one that fails.
fn good_and_bad() -> Vec<SuiteMember> {
    let text = SCENARIOS[0].text;
    let wrong = text.replacen("outcome: connected", "outcome: timeout", 1);
    assert_ne!(wrong, text);
    let member = |name: &str, text: &str| {
        let text = text.replacen("name: clusterip\n", &format!("name: {name}\n"), 1);
        let source = Source { name: name.to_owned(), text };
        let prepared = prepare(manifest::load(vec![source])).expect("the scenario is valid");
        SuiteMember { name: name.to_owned(), argument: name.to_owned(), prepared }
    };
    vec![member("good", text), member("bad", &wrong)]
}

#[test]
fn on_a_kernel_what_is_not_as_expected_is_run_again() {
    if !can_run("on_a_kernel_what_is_not_as_expected_is_run_again") {
        return;
    }
    const REASON: &str = "for a test";
    let members = good_and_bad();
    let selection = Selection { backends: vec![Backend::Nft], ..everything() };
    let cases = selection.cases(&members, 0);
    let row =
        KnownDifference { scenario: "bad", mode: ProxyMode::Iptables, backend: Backend::Nft, reason: REASON };
    for (retries, known, verdict, tries) in [
        (0, &[][..], CaseStatus::Failed, 1),
        (2, &[], CaseStatus::Failed, 3),
        (2, &[row], CaseStatus::KnownDifference(REASON), 1),
    ] {
        let heard = Mutex::new(Vec::new());
        let is_done = |case: &Case<'_>| heard.lock().expect("nobody panicked").push(case.member.name.clone());
        let finished = run_all(&cases, None, retries, known, &is_done).expect("there are threads");
        let seen = |index: usize| {
            let run: &Finished<'_> = &finished[index];
            (run.verdict, run.tries(), run.elapsed.is_some())
        };
        assert_eq!([seen(0), seen(1)], [(CaseStatus::Passed, 1, true), (verdict, tries, true)]);
        let mut heard = heard.into_inner().expect("nobody panicked");
        heard.sort();
        assert_eq!(heard, ["bad", "good"]);
    }
}

/// A case with a failing assertion, between two that pass.
fn check_panic(backend: Option<Backend>, retries: usize) {
    let members = good_and_bad();
    let selection = Selection { backends: backend.into_iter().collect(), ..everything() };
    let good = selection.cases(&members[..1], 0)[0];
    let asserted = Case { mode: ProxyMode::Userspace, ..good };
    let finished = run_all(&[good, asserted, good], None, retries, &[], &|_| {}).expect("there are threads");
    let verdicts: Vec<_> = finished.iter().map(|run| (run.verdict, run.tries())).collect();
    assert_eq!(
        verdicts,
        [(CaseStatus::Passed, 1), (CaseStatus::NotRun, retries + 1), (CaseStatus::Passed, 1)]
    );
    let told = "an assertion failed: the mode userspace does not run in this version";
    assert_eq!(finished[1].outcome, Err(ArmError::Internal(told.to_owned())));
}

#[test]
fn a_panic_is_what_one_case_came_to() {
    check_panic(None, 0);
}

#[test]
fn a_panic_on_a_kernel_is_what_one_case_came_to() {
    if can_run("a_panic_on_a_kernel_is_what_one_case_came_to") {
        check_panic(Some(Backend::Nft), 1);
    }
}

fn as_expected(verdicts: &[CaseStatus]) -> Vec<bool> {
    verdicts.iter().map(|verdict| verdict.is_as_expected()).collect()
}

#[test]
fn a_known_difference_must_fail() {
    const REASON: &str = "for a test";
    let members = good_and_bad();
    let run = |known: &[KnownDifference]| -> Vec<CaseStatus> {
        let cases = everything().cases(&members, 0);
        let finished = run_all(&cases, None, 0, known, &|_| {}).expect("there are threads");
        // Judged as on the kernel: the simulator alone has no known differences.
        let judged = |run: &Finished<'_>| {
            let Case { member, mode, .. } = run.case;
            CaseStatus::of(&run.outcome, &member.name, mode, Some(Backend::Nft), known)
        };
        assert_eq!(finished[0].verdict, CaseStatus::Passed);
        assert_eq!(finished[1].verdict, CaseStatus::Failed);
        finished.iter().map(judged).collect()
    };
    let row = |scenario, mode, backend| KnownDifference { scenario, mode, backend, reason: REASON };
    let verdicts = run(&[]);
    assert_eq!(verdicts, [CaseStatus::Passed, CaseStatus::Failed]);
    assert_eq!(as_expected(&verdicts), [true, false]);
    let verdicts =
        run(&[row("bad", ProxyMode::Iptables, Backend::Nft), row("good", ProxyMode::Iptables, Backend::Nft)]);
    assert_eq!(verdicts, [CaseStatus::UnexpectedPass(REASON), CaseStatus::KnownDifference(REASON)]);
    assert_eq!(as_expected(&verdicts), [false, true]);
    // Rows about other modes, back ends or scenarios do not apply.
    let verdicts = run(&[
        row("bad", ProxyMode::Ipvs, Backend::Nft),
        row("bad", ProxyMode::Iptables, Backend::Legacy),
        row("ba", ProxyMode::Iptables, Backend::Nft),
    ]);
    assert_eq!(verdicts, [CaseStatus::Passed, CaseStatus::Failed]);
    let error = Err(ArmError::Failed("it broke".to_owned()));
    let known = [row("bad", ProxyMode::Iptables, Backend::Nft)];
    let verdict = CaseStatus::of(&error, "bad", ProxyMode::Iptables, Some(Backend::Nft), &known);
    assert_eq!(verdict, CaseStatus::NotRun, "an incomplete run is not a known difference");
}

#[test]
fn known_differences_are_of_scenarios_that_there_are() {
    for row in &crate::suite::known::KNOWN_DIFFERENCES {
        let scenario = crate::suite::find(row.scenario).unwrap_or_else(|| panic!("no {}", row.scenario));
        let prepared = prepare(scenario.load()).expect("the scenario is valid");
        assert!(prepared.modes.contains(&row.mode), "{} does not support {}", row.scenario, row.mode);
        assert!(!row.reason.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn shards_are_disjoint_complete_and_in_order(count in 1_usize..40) {
            let whole = Selection { backends: Backend::ALL.to_vec(), ..everything() };
        let all = names(&whole.cases(&MEMBERS, 0));
        let mut parts = Vec::new();
        for number in 1..=count {
            let shard = format!("{number}/{count}").parse().ok();
            let part = names(&Selection { shard, ..whole.clone() }.cases(&MEMBERS, 0));
            let indices: Vec<usize> =
                part.iter().map(|name| all.iter().position(|one| one == name).expect("one of all")).collect();
            prop_assert!(indices.is_sorted());
            parts.extend(indices);
        }
        parts.sort_unstable();
        prop_assert_eq!(parts, (0..all.len()).collect::<Vec<_>>());
    }
}
