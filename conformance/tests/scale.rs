//! Cost at scale, as counts: memory, sharing, and termination of large scenarios. `cargo bench -p conformance --bench
//! scale` prints times.

#[path = "support/small_cluster.rs"]
mod small_cluster;

use conformance::arm::ArmError;
use conformance::arm::sim::SimArm;
use conformance::manifest;
use conformance::prepare::{Prepared, prepare};
use conformance::result::Run;
use conformance::runner::{RunOptions, run, run_sim};
use conformance::scenario::ProxyMode;
use sim::draws::Weight;
use sim::trace::Level;
use small_cluster::{SERVICE, messages, scenario, unreachable_endpoints};

fn prepared(steps: &str, objects: &str) -> Prepared {
    small_cluster::prepared(scenario("bridge", steps, &format!("{SERVICE}{objects}")))
}

/// The output for a rejected scenario.
fn refused(steps: &str) -> String {
    let source = scenario("bridge", steps, SERVICE);
    messages(&prepare(manifest::load(vec![source])).expect_err("the scenario is rejected"))
}

fn unrecorded(prepared: &Prepared) -> Run {
    run_sim(prepared, &RunOptions::unrecorded(ProxyMode::Iptables)).expect("it runs")
}

#[test]
fn exact_shares_of_a_thousand_unreachable_endpoints_are_one_together() {
    let steps = "  - connect: {from: outside, to: \"node/node-1:30081\"}\n";
    let run = unrecorded(&prepared(steps, &unreachable_endpoints(30081, 1_000)));
    let shares = &run.result.steps[0].shares;
    let weights: Vec<_> = shares.iter().map(|share| (share.endpoint.clone(), share.weight.clone())).collect();
    assert_eq!(weights, [(None, Some(Weight::one()))], "every path visited, without rounding");
}

#[test]
fn nothing_is_kept_of_steps_that_are_over() {
    let steps = "  - connect: {from: pod/client, to: service/web}\n".repeat(300);
    let prepared = prepared(&steps, "");
    let recorded = run_sim(&prepared, &RunOptions::new(ProxyMode::Iptables)).unwrap();
    let unrecorded = unrecorded(&prepared);
    assert_eq!(unrecorded.result, recorded.result, "the hash is the same");
    assert_eq!(unrecorded.recording, None);
    assert!(recorded.recording.is_some_and(|recording| recording.events.len() > 300 * 50));
}

#[test]
fn more_connections_than_ephemeral_ports_wait_for_time_wait() {
    let steps = "
  - set: {pod/client: {sysctl: {net.ipv4.ip_local_port_range: 40000 40099}}}
  - connect: {from: pod/client, to: service/web, count: 1000}
    expect: {outcome: connected}
";
    let run = unrecorded(&prepared(steps, ""));
    assert!(run.result.passed(), "{:?}", run.result.steps[1].failures);
    assert_eq!(run.result.steps[1].flows.len(), 1_000);
}

#[test]
fn servers_that_answer_each_other_end_the_run_with_what_they_send() {
    let steps = "
  - send: {from: pod/client, to: \"pod/far:53\", protocol: udp, sourcePort: 53, segments: [\"> udp (8) src 10.244.1.3\"]}
  - sleep: 1h
";
    let prepared = prepared(steps, "");
    let options = RunOptions::unrecorded(ProxyMode::Iptables);
    let mut arm = SimArm::unrecorded(0, Level::Everything);
    arm.set_events_max(20_000);
    let ArmError::Refused(message) = run(&prepared, &options, arm).unwrap_err() else {
        panic!("the scenario is endless");
    };
    insta::assert_snapshot!(message);
}

#[test]
fn a_scenario_that_outlasts_the_clock_is_refused_where_it_does() {
    insta::assert_snapshot!(refused(&"  - sleep: 2500000h\n".repeat(3)));
    let many = "  - connect: {from: outside, to: \"pod/far:80\", timeout: 2500000h, count: 2}\n";
    insta::assert_snapshot!(refused(many));
}
