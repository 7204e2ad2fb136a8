//! A kernel that deviates from the simulator must be detected.

use std::collections::BTreeSet;

use super::*;
use crate::arm::kernel::testing::can_run;
use crate::prepare::{Prepared, PreparedAction, prepare};
use crate::proxy::Proxies;
use crate::scenario::ProxyMode;
use crate::suite;
use crate::topology::changes;

type Tamper = fn(String) -> String;

/// Runs the first step of a scenario; the kernel loads rules that `tamper` has changed.
fn disagreements(scenario: &str, tamper: Tamper) -> Vec<Disagreement> {
    first_step(scenario, tamper).0.disagreements
}

/// Both arms after that step, and its connections, if any.
fn first_step(scenario: &str, tamper: Tamper) -> (PairedArm, Option<FlowPlan>) {
    first_step_after(scenario, tamper, &[])
}

/// The same after these changes.
fn first_step_after(
    scenario: &str,
    tamper: Tamper,
    changes: &[StateChange],
) -> (PairedArm, Option<FlowPlan>) {
    let built_in = suite::find(scenario).expect("a built-in scenario");
    let Ok(Prepared { cluster, steps, .. }) = prepare(built_in.load()) else { panic!("{scenario} is valid") };
    let (_, rules) = Proxies::start(ProxyMode::Iptables, &cluster).expect("a configuration");
    let mut against = PairedArm::new(Backend::default(), Generator::Iptables, 0, false);
    (&mut against).build(&Topology::of(&cluster)).expect("a lab");
    for (node, rules) in &rules {
        against.sim.load(node, rules).expect("rules");
        let tampered = rules.iter().cloned().map(|load| match load {
            Load::Text { tool, text } => Load::Text { tool, text: tamper(text) },
            load @ (Load::Sysctl { .. } | Load::Ensure(_)) => load,
        });
        against.kernel.load(node, &tampered.collect::<Vec<_>>()).expect("rules");
    }
    let timeout = Duration::from_millis(300);
    let mut arm = &mut against;
    for change in changes {
        arm.change(change).expect("a change");
    }
    let mut plan_run = None;
    if let PreparedAction::Flows(plan) = &steps[0].action {
        let plan = FlowPlan { timeout, ..plan.clone() };
        arm.flows(&plan).expect("connections");
        plan_run = Some(plan);
    } else if let PreparedAction::Script(plan) = &steps[0].action {
        arm.script(&ScriptPlan { timeout, ..plan.clone() }).expect("a script");
    } else {
        panic!("{scenario} begins with neither connections nor a script");
    }
    (against, plan_run)
}

fn kinds(disagreements: &[Disagreement]) -> Vec<&'static str> {
    let kinds: BTreeSet<_> = disagreements.iter().map(|one| kind(&one.kind)).collect();
    kinds.into_iter().collect()
}

const fn kind(subject: &DisagreementKind) -> &'static str {
    match subject {
        DisagreementKind::Flow { .. } => "flow",
        DisagreementKind::Script { .. } => "script",
        DisagreementKind::Unexplained { .. } => "unexplained",
        DisagreementKind::Frame(_) => "frame",
        DisagreementKind::Conntrack { .. } => "conntrack",
        DisagreementKind::Counters { .. } => "counters",
        DisagreementKind::Ipvs { .. } => "ipvs",
        DisagreementKind::Choices { .. } => "choices",
        DisagreementKind::Outcomes { .. } => "outcomes",
        DisagreementKind::Relayed { .. } => "relayed",
    }
}

#[test]
fn what_a_kernel_does_last_is_noticed() {
    if !can_run("what_a_kernel_does_last_is_noticed") {
        return;
    }
    let (mut against, plan) = first_step("clusterip", |text| text);
    let plan = against.single(&plan.expect("connections"));
    let mut arm = &mut against;
    arm.sleep(Duration::from_millis(1)).expect("sleeping does not fail");
    assert_eq!(arm.disagreements(), []);
    // The simulator does not run this one.
    arm.kernel.run_flow(&plan).expect("a connection");
    arm.finish().expect("a comparison");
    assert_eq!(kinds(&against.disagreements), ["conntrack", "counters", "frame"]);
}

#[test]
fn a_pod_that_comes_back_has_a_link_that_loses_nothing() {
    if !can_run("a_pod_that_comes_back_has_a_link_that_loses_nothing") {
        return;
    }
    let (mut against, plan) = first_step("clusterip", |text| text);
    let with = against.topology.clone();
    let pod = with.netns.keys().rfind(|netns| matches!(netns, NetnsName::Pod(_))).expect("a Pod").clone();
    let mut without = with.clone();
    without.netns.remove(&pod);
    without.veths.retain(|veth| veth.leaf.netns != pod);
    let mut arm = &mut against;
    let loss = Some(Share::parse("1/2").expect("a share"));
    arm.change(&StateChange::Link { netns: pod, latency: None, loss, mtu: None })
        .expect("a link that loses frames");
    assert!(!arm.is_predictable());
    arm.rebuild(&changes(&with, &without), &without).expect("the Pod is removed");
    arm.rebuild(&changes(&without, &with), &with).expect("the Pod is added");
    assert!(arm.is_predictable());
    // From here on, frames are compared again.
    let plan = arm.single(&plan.expect("connections"));
    arm.kernel.run_flow(&plan).expect("a connection");
    arm.finish().expect("a comparison");
    assert_eq!(kinds(&against.disagreements), ["frame"]);
}

#[test]
fn losses_do_not_explain_another_kernel() {
    if !can_run("losses_do_not_explain_another_kernel") {
        return;
    }
    let netns = NetnsName::Pod(crate::scenario::ObjectName::new("default", "client"));
    let loss = Some(Share::parse("1/16").expect("a share"));
    let change = StateChange::Link { netns, latency: None, loss, mtu: None };
    let cases: [(&str, Tamper, &[&str]); 4] = [
        ("nothing else", |text| text, &[]),
        (
            "another port of the endpoints, without a listener",
            |text| text.replace(":8080", ":8081"),
            &["outcomes", "unexplained"],
        ),
        (
            "nearly all connections to one endpoint",
            |text| text.replace("--probability 0.3333333333", "--probability 0.9900000000"),
            &["outcomes"],
        ),
        (
            "a rule of the nat table that has no effect",
            |text| {
                text.replace("-A KUBE-SERVICES ", "-A KUBE-SERVICES -m mark --mark 0x77\n-A KUBE-SERVICES ")
            },
            &["unexplained"],
        ),
    ];
    for (what, tamper, expected) in cases {
        let (against, _) =
            first_step_after("clusterip-three-endpoints", tamper, std::slice::from_ref(&change));
        let shown: Vec<_> = against.disagreements.iter().take(5).map(ToString::to_string).collect();
        assert_eq!(kinds(&against.disagreements), expected, "{what}: {}", shown.join("\n"));
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
            "another port of the endpoints, without a listener",
            "clusterip-three-endpoints",
            |text| text.replace(":8080", ":8081"),
            &["choices", "conntrack", "counters", "flow", "frame"],
        ),
        (
            "nearly all connections to one endpoint",
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
            "a connection mark that no rule uses",
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
        let mut kinds: BTreeSet<_> = found.iter().map(|one| kind(&one.kind)).collect();
        if !expected.is_empty() && !expected.contains(&"counters") {
            // Whether a rule matches retransmissions depends on timing.
            kinds.remove("counters");
        }
        let shown: Vec<_> = found.iter().take(5).map(ToString::to_string).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected, "{what}: {}", shown.join("\n"));
    }
}
