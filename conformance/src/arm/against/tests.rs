//! A kernel that does something else than the simulator must not get away with it.

use std::collections::BTreeSet;

use super::*;
use crate::arm::kernel::testing::can_run;
use crate::prepare::{Prepared, PreparedAction, prepare};
use crate::proxy::Proxies;
use crate::scenario::ProxyMode;
use crate::suite;

type Tamper = fn(String) -> String;

/// Runs the first step of a scenario; the kernel loads its rules in other words than the simulator.
fn disagreements(scenario: &str, tamper: Tamper) -> Vec<Disagreement> {
    let built_in = suite::find(scenario).expect("a built-in scenario");
    let Ok(Prepared { cluster, steps, .. }) = prepare(built_in.load()) else { panic!("{scenario} is sound") };
    let (_, rules) = Proxies::start(ProxyMode::Iptables, &cluster).expect("a configuration");
    let mut against = Against::new(Backend::default(), 0);
    (&mut against).build(&Topology::of(&cluster)).expect("a lab");
    for (node, rules) in &rules {
        against.sim.load(node, rules).expect("rules");
        let tampered = NodeRules { restore: tamper(rules.restore.clone()), ..rules.clone() };
        against.kernel.load(node, &tampered).expect("rules");
    }
    let timeout = Duration::from_millis(300);
    let mut arm = &mut against;
    if let PreparedAction::Flows(plan) = &steps[0].action {
        arm.flows(&FlowPlan { timeout, ..plan.clone() }).expect("connections");
    } else if let PreparedAction::Script(plan) = &steps[0].action {
        arm.script(&ScriptPlan { timeout, ..plan.clone() }).expect("a script");
    } else {
        panic!("{scenario} begins with neither connections nor a script");
    }
    against.disagreements
}

const fn kind(subject: &Subject) -> &'static str {
    match subject {
        Subject::Flow { .. } => "flow",
        Subject::Script { .. } => "script",
        Subject::Frame(_) => "frame",
        Subject::Conntrack { .. } => "conntrack",
        Subject::Counters { .. } => "counters",
        Subject::Choices { .. } => "choices",
    }
}

#[test]
fn whatever_a_kernel_does_otherwise_is_noticed() {
    if !can_run("whatever_a_kernel_does_otherwise_is_noticed") {
        return;
    }
    let cases: [(&str, &str, Tamper, &[&str]); 8] = [
        ("nothing else", "clusterip-three-endpoints", |text| text, &[]),
        ("nothing else, for a script", "conntrack-half-open", |text| text, &[]),
        (
            "another port of the endpoints, for a script",
            "conntrack-half-open",
            |text| text.replace(":8080", ":8081"),
            &["conntrack", "frame", "script"],
        ),
        (
            "another port of the endpoints, on which nobody listens",
            "clusterip-three-endpoints",
            |text| text.replace(":8080", ":8081"),
            &["choices", "conntrack", "counters", "flow", "frame"],
        ),
        (
            "nearly everything to one endpoint",
            "clusterip-three-endpoints",
            |text| text.replace("--probability 0.3333333333", "--probability 0.9900000000"),
            &["choices"],
        ),
        (
            "a rule that has no effect",
            "clusterip",
            |text| {
                text.replace("-A KUBE-SERVICES ", "-A KUBE-SERVICES -m mark --mark 0x77\n-A KUBE-SERVICES ")
            },
            &["counters"],
        ),
        (
            "a mark on connections, which nobody asks for",
            "clusterip",
            |text| {
                let mark = "-A KUBE-FORWARD -j CONNMARK --set-mark 0x77\n";
                text.replacen("-A KUBE-FORWARD ", &format!("{mark}-A KUBE-FORWARD "), 1)
            },
            &["conntrack", "counters"],
        ),
        (
            "no masquerade",
            "nodeport-cluster",
            |text| text.replace("-j MASQUERADE --random-fully", "-j RETURN"),
            &["choices", "conntrack", "counters", "flow", "frame"],
        ),
    ];
    for (what, scenario, tamper, expected) in cases {
        let found = disagreements(scenario, tamper);
        let mut kinds: BTreeSet<_> = found.iter().map(|one| kind(&one.subject)).collect();
        if !expected.is_empty() && !expected.contains(&"counters") {
            // Whether a rule meets what is sent again is a matter of time.
            kinds.remove("counters");
        }
        let shown: Vec<_> = found.iter().take(5).map(ToString::to_string).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected, "{what}: {}", shown.join("\n"));
    }
}
