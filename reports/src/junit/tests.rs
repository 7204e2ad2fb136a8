use super::render;
use crate::json::{Document, render_suite};
use crate::sample::suite::{members, on_the_kernel, on_the_simulator};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};

#[test]
fn a_suite_on_the_simulator_has_nothing_that_changes_from_run_to_run() {
    let members = members();
    insta::assert_snapshot!(render(&on_the_simulator(&members)));
}

#[test]
fn every_verdict_is_read_back() {
    let members = members();
    let text = render(&on_the_kernel(&members));
    // The backspace in the reason is not a valid XML character, and the angle brackets must be escaped.
    let report = Report::deserialize_from_str(&text).expect("valid JUnit XML");
    let suites: Vec<&str> = report.test_suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(suites, ["hairpin.kernel.iptables.ipv4.legacy", "hairpin.kernel.iptables.ipv4.nft"]);
    assert_eq!((report.tests, report.failures, report.errors, report.skipped), (5, 2, 1, 1));
    let cases: Vec<&TestCase> = report.test_suites.iter().flat_map(|suite| &suite.test_cases).collect();
    let TestCaseStatus::Success { flaky_runs } = &cases[0].status else { panic!("{:?}", cases[0]) };
    let kinds: Vec<NonSuccessKind> = flaky_runs.iter().map(|run| run.kind).collect();
    assert_eq!(kinds, [NonSuccessKind::Failure, NonSuccessKind::Error]);
    let property = |name| cases[0].properties.iter().find(|property| property.name.as_str() == name);
    assert_eq!(property("traceHash").expect("a property").value.as_str(), "0123456789abcdef");
    assert_eq!(property("seed").expect("a property").value.as_str(), "0");
    let TestCaseStatus::Skipped { message, .. } = &cases[1].status else { panic!("{:?}", cases[1]) };
    assert_eq!(message.as_ref().expect("a message").as_str(), "this kernel  counts <differently>");
    let TestCaseStatus::NonSuccess { description, .. } = &cases[3].status else { panic!("{:?}", cases[3]) };
    let description = description.as_ref().expect("a description").as_str();
    assert!(description.contains("disagree"), "{description}");
    assert!(description.ends_with("--against kernel --backend nft"), "{description}");
}

#[test]
fn json_has_every_run_once() {
    let members = members();
    let document: Document =
        serde_json::from_str(&render_suite(&on_the_kernel(&members))).expect("a document");
    let backends: Vec<_> = document.runs.iter().map(|run| run.known_difference.is_some()).collect();
    assert_eq!(backends, [false, false, true, true]);
    assert_eq!(document.not_run.len(), 1);
    assert_eq!(document.not_run[0].kind, "missing");
}
