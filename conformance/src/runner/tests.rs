use super::*;
use crate::result::Subject;
use small_cluster::scenario;

#[path = "../../tests/support/small_cluster.rs"]
mod small_cluster;

fn prepared(cni: &str, steps: &str) -> Prepared {
    small_cluster::prepared(scenario(cni, steps, ""))
}

fn run_steps(cni: &str, steps: &str) -> Run {
    run_sim(&prepared(cni, steps), &RunOptions::new(ProxyMode::Iptables)).unwrap()
}

fn failures(run: &Run) -> String {
    let steps = run.result.steps.iter();
    steps
        .flat_map(|step| step.failures.iter().map(move |failure| format!("{}: {failure}\n", step.name)))
        .collect()
}

/// Everything that works without Services.
const WITHOUT_SERVICES: &str = "
  - connect: {from: pod/client, to: pod/near}
    expect: {outcome: connected, endpoints: {pod/near: 1}, sourceSeen: client, replyFrom: pod/near}
  - connect: {from: pod/client, to: pod/far, count: 3}
    expect: {outcome: connected, endpoints: {pod/far: 1}, sourceSeen: pod/client}
  - connect: {from: pod/client, to: pod/far, protocol: udp}
    expect: {outcome: connected, endpoints: {pod/far: 1}, sourceSeen: client}
  - connect: {from: node/node-1, to: pod/far}
    expect: {outcome: connected, sourceSeen: node/node-1}
  - connect: {from: node/node-1, to: pod/near}
    expect: {outcome: connected, sourceSeen: node/node-1}
  - connect: {from: outside, to: pod/far}
    expect: {outcome: connected, sourceSeen: outside}
  - connect: {from: pod/client, to: node/node-2:9100}
    expect: {outcome: connected, endpoints: {pod/agent: 1}, sourceSeen: client}
  - connect: {from: pod/client, to: outside:443}
    expect: {outcome: connected, sourceSeen: client}
  - connect: {from: node/node-1, to: outside:443}
    expect: {outcome: connected, endpoints: {outside:443: 1}, sourceSeen: node/node-1}
  - connect: {from: pod/client, to: pod/far:81}
    expect: {outcome: refused/tcp-reset, endpoints: {}}
  - connect: {from: pod/client, to: pod/far:81, protocol: udp}
    expect: {outcome: refused/icmp-port-unreachable}
  - connect: {from: outside, to: 10.99.0.1:80}
    expect: {outcome: unreachable/host}
  - ping: {from: pod/client, to: pod/far, count: 2}
    expect: {outcome: connected, endpoints: {pod/far: 1}}
  - ping: {from: outside, to: node-2}
    expect: {outcome: connected}
  - sleep: 10s
  - set: {node/node-2: {sysctl: {net.ipv4.ip_forward: 0}}}
  - connect: {from: pod/client, to: pod/far}
    expect: {outcome: timeout, dropped: {on: node-2, reason: ForwardingOff}}
  - set: {node/node-2: {sysctl: {net.ipv4.ip_forward: 1}}, pod/far: {link: {loss: 1, latency: 2ms}}}
  - connect: {from: pod/client, to: pod/far, protocol: udp}
    expect: {outcome: timeout, dropped: {on: node/node-2, reason: LinkLoss}}
  - delete: pod/near
  - connect: {from: pod/client, to: 10.244.1.3:80}
    expect: {endpoints: {}}
  - apply: {apiVersion: v1, kind: Pod, metadata: {name: near}, spec: {nodeName: node-1, containers: [{ports: [{containerPort: 8080}]}]}, status: {podIP: 10.244.1.3}}
  - connect: {from: pod/client, to: pod/near}
    expect: {outcome: connected, endpoints: {pod/near: 1}}
";

#[test]
fn what_works_without_services() {
    for cni in ["bridge", "ptp"] {
        let run = run_steps(cni, WITHOUT_SERVICES);
        assert_eq!(failures(&run), "", "{cni}");
        assert!(run.result.passed());
    }
}

#[test]
fn kept_connections_go_on_and_end() {
    let run = run_steps(
        "bridge",
        "
  - connect: {from: pod/client, to: pod/near:80, count: 2, keep: tcp}
    expect: {outcome: connected, endpoints: {pod/near: 1}, conntrack: [{on: node-1, protocol: tcp, entries: 2}]}
  - connect: {from: pod/client, to: pod/near:53, protocol: udp, keep: udp}
    expect: {outcome: connected}
  - connect: {from: pod/client, to: pod/near:81, keep: never}
    expect: {outcome: refused/tcp-reset}
  - connect: {from: pod/client, to: pod/far:80, keep: cut}
    expect: {outcome: connected}
  - sleep: 1h
  - send: {continue: tcp}
    expect: {outcome: connected, endpoints: {pod/near: 1}, sourceSeen: client, conntrack: [{on: node-1, protocol: tcp, entries: 3}]}
  - set: {pod/far: {link: {loss: 1}}}
  - send: {continue: cut, timeout: 1s}
    expect: {outcome: timeout, dropped: {on: node-2, reason: LinkLoss}}
  - send: {continue: udp}
    expect: {outcome: connected, endpoints: {pod/near: 1}}
  - set: {pod/far: {link: {loss: 0}}}
  - delete: pod/near
  - send: {continue: tcp}
    expect: {outcome: reset, endpoints: {}}
  - send: {continue: udp, timeout: 1s}
    expect: {outcome: timeout}
  - close: tcp
    expect: {outcome: reset}
  - close: udp
    expect: {outcome: connected}
  - close: cut
    expect: {outcome: timeout}
  - close: never
    expect: {outcome: refused/tcp-reset}
",
    );
    assert_eq!(failures(&run), "");
    let counts: Vec<usize> = run.result.steps.iter().map(|step| step.flows.len()).collect();
    assert_eq!(counts, [2, 1, 1, 1, 0, 2, 0, 1, 1, 0, 0, 2, 1, 2, 1, 1, 1]);
    let named = run.result.steps[5].flows.iter().all(|flow| flow.connection.as_deref() == Some("tcp"));
    assert!(named);
    // Endpoints were chosen before.
    assert!(run.result.steps[5].shares.iter().all(|share| share.weight.is_none()));
}

#[test]
fn kept_connections_end_with_their_client() {
    let run = run_steps(
        "bridge",
        "
  - connect: {from: pod/client, to: pod/far:80, count: 3, keep: tcp}
  - delete: pod/client
  - sleep: 1s
    expect: {conntrack: [{on: node-2, protocol: tcp, status: replied, entries: 3}]}
  - sleep: 2m
    expect: {conntrack: [{on: node-2, protocol: tcp, entries: 0}]}
",
    );
    assert_eq!(failures(&run), "");
}

#[test]
fn where_a_link_loses_frames_counts_decide() {
    let connect = |count: u32, outcomes: &str| {
        format!(
            "  - connect: {{from: pod/client, to: pod/far, protocol: udp, count: {count}, timeout: 1s}}\n    expect: {{outcomes: {{{outcomes}}}}}\n"
        )
    };
    // (loss, expected outcomes, whether they hold, whether there is an exact distribution)
    let cases = [
        ("1/10", "connected: 81/100, timeout: 19/100", true, false),
        ("1/10", "connected: 1/2, timeout: 1/2", false, false),
        ("1/10", "connected: 1", false, false),
        ("0", "connected: 1", true, true),
        ("1", "timeout: 1", true, true),
    ];
    for (loss, outcomes, holds, is_exact) in cases {
        // The first connection resolves the neighbours, so that later ones lose nothing but datagrams.
        let first = "\n  - connect: {from: pod/client, to: pod/far, protocol: udp}\n";
        let set = format!("  - set: {{pod/far: {{link: {{loss: {loss}}}}}}}\n");
        let run = run_steps("bridge", &format!("{first}{set}{}", connect(200, outcomes)));
        let step = &run.result.steps[2];
        assert_eq!(step.failures.is_empty(), holds, "loss {loss}, {outcomes}: {}", failures(&run));
        assert!(step.shares.iter().all(|share| share.weight.is_some() == is_exact), "loss {loss}");
    }
}

#[test]
fn a_run_repeats_exactly_and_another_seed_differs() {
    let prepared = prepared("bridge", WITHOUT_SERVICES);
    let options = RunOptions::new(ProxyMode::Iptables);
    let first = run_sim(&prepared, &options).unwrap();
    assert_eq!(run_sim(&prepared, &options).unwrap(), first);
    let other = run_sim(&prepared, &RunOptions { seed: 1, ..options }).unwrap();
    assert_ne!(other.result.trace_hash, first.result.trace_hash);
    let quiet = run_sim(&prepared, &RunOptions { level: Level::Nothing, ..options }).unwrap();
    assert_eq!(quiet.recording, None);
    assert_eq!(quiet.result.steps[0], first.result.steps[0]);
    assert!(quiet.result.steps.iter().any(|step| step.unseen == [Subject::Dropped]));
}

#[test]
fn many_runs_at_once_are_the_same_runs() {
    let prepared = prepared("bridge", WITHOUT_SERVICES);
    let cases: Vec<_> =
        (0..4).map(|seed| (&prepared, RunOptions { seed, ..RunOptions::new(ProxyMode::Iptables) })).collect();
    let one_by_one: Vec<_> = cases.iter().map(|(prepared, options)| run_sim(prepared, options)).collect();
    assert_eq!(run_all_sim(&cases), one_by_one);
}

#[test]
fn the_recording_says_where_steps_begin_and_what_things_are_called() {
    let run = run_steps("bridge", WITHOUT_SERVICES);
    let recording = run.recording.unwrap();
    assert_eq!(recording.step_starts.len(), run.result.steps.len());
    assert!(recording.step_starts.is_sorted());
    let names: Vec<&str> = recording.netns.iter().map(|netns| netns.name.as_str()).take(5).collect();
    assert_eq!(names, ["switch", "outside", "node-1", "node-2", "pod/client"]);
    assert_eq!(recording.netns[2].devices[..3], ["lo", "eth0", "cni0"]);
}

#[test]
fn what_does_not_hold_is_said() {
    let run = run_steps(
        "bridge",
        "
  - connect: {from: pod/client, to: pod/near}
    expect: {outcome: timeout, endpoints: {pod/far: 1}, sourceSeen: node/node-2, replyFrom: pod/far, dropped: {on: node-1}}
  - connect: {from: pod/client, to: pod/near:81, count: 2}
    expect: {outcome: connected, sourceSeen: client, replyFrom: pod/near}
  - connect: {from: pod/client, to: pod/near}
    expect: {outcomes: {connected: 1/2, timeout: 1/2}}
  - connect: {from: pod/client, to: 10.99.0.1:80, timeout: 1s}
    expect: {outcome: connected, dropped: {on: node-2, reason: NO_SOCKET}}
  - expect: {conntrack: [{on: node-1, entries: 5}]}
",
    );
    insta::assert_snapshot!(failures(&run));
}

#[test]
fn what_only_a_run_finds_out_names_the_step() {
    let steps = "\n  - ping: {from: outside, to: node-1}\n  - connect: {from: pod/near, to: pod/far, sourcePort: 80}\n";
    let error = run_sim(&prepared("bridge", steps), &RunOptions::new(ProxyMode::Iptables)).unwrap_err();
    let told = "step 2 (pod/near connects to pod/far (tcp)): pod/near cannot connect to pod/far: source port already in use";
    assert_eq!(error, ArmError::Refused(told.to_owned()));
}
