//! Dumps for `render --diff`: any text either is compared or gives an error with its line.

use conformance::diagnostic::Source;
use conformance::manifest::load;
use conformance::prepare::settle;
use conformance::proxy::Planner;
use conformance::suite;
use proxy_core::finding::DumpError;
use proxy_core::iptables::diff::compare;
use proxy_core::ipvs::{self, diff::Dump};
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::version::KubeProxyVersion;
use std::sync::LazyLock;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let scenario = suite::find("nodeport-local").expect("a built-in scenario");
    let source = Source { name: scenario.file(), text: scenario.text.to_owned() };
    let (cluster, ..) = settle(load(vec![source])).expect("a valid scenario");
    let node = cluster.node("node-1").expect("the node exists");
    let planner = Planner::new(&cluster).expect("valid objects");
    planner.plan(node, IpFamily::V4, KubeProxyVersion::Newest).expect("kube-proxy starts")
});

/// The output of `iptables-save` on a node, and in IPVS mode that of other tools too.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match compare(&PLAN, text) {
        Ok(diff) => {
            assert_eq!(diff.to_string().is_empty(), diff.findings.is_empty(), "every finding is printed");
            assert!(diff.findings.is_sorted(), "findings are in order");
        }
        Err(error) => check_error(text, &error),
    }
    match ipvs::diff::compare(&PLAN, &[Dump { source: "dump", text }]) {
        Ok(comparison) => {
            let diff = comparison.diff;
            assert_eq!(diff.to_string().is_empty(), diff.findings.is_empty(), "every finding is printed");
            assert!(diff.findings.is_sorted(), "findings are in order");
        }
        Err(fault) => check_error(text, &fault.error),
    }
}

fn check_error(text: &str, error: &DumpError) {
    assert!((1..=text.lines().count() + 1).contains(&error.line), "{error}");
    assert!(!error.expected.is_empty(), "{error}");
}
