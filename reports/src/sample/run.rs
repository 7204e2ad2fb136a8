//! Hand-made run results for tests.

use conformance::backend::Backend;
use conformance::disagreement::{Disagreement, DisagreementKind};
use conformance::observation::{EndpointName, FlowObservation, Outcome, Refusal, Transport};
use conformance::result::{ArmKind, EndpointShare, Failure, RunResult, StepResult, Subject};
use conformance::scenario::{IpFamilies, ObjectName, ProxyMode, Share};
use sim::draws::Weight;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 100));
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11));

fn pod(name: &str) -> EndpointName {
    EndpointName::Pod(ObjectName::new("default", name))
}

fn connected(pod_name: &str) -> FlowObservation {
    FlowObservation {
        from: "client".into(),
        to: "node/node-1:30080".into(),
        protocol: Transport::Tcp,
        outcome: Outcome::Connected,
        via: Some("node-1".into()),
        connection: None,
        endpoint: Some(pod(pod_name)),
        source_seen: Some(CLIENT),
        reply_from: Some(NODE),
        answered: None,
        status: None,
    }
}

fn unanswered(outcome: Outcome) -> FlowObservation {
    FlowObservation {
        to: "node/node-2:30080".into(),
        outcome,
        via: Some("node-2".into()),
        connection: None,
        endpoint: None,
        source_seen: None,
        reply_from: None,
        ..connected("web-0")
    }
}

fn share(name: Option<&str>, weight: (u64, u32), count: u32) -> EndpointShare {
    EndpointShare {
        endpoint: name.map(pod),
        expected: Share::new(1, 3).filter(|_| name.is_some()),
        weight: Some(Weight::new(weight.0, weight.1)),
        count,
        total: 64,
    }
}

fn step(name: &str, flows: Vec<FlowObservation>) -> StepResult {
    StepResult {
        name: name.into(),
        action: "connect",
        flows,
        shares: Vec::new(),
        expected: vec![
            (Subject::Outcome, "connected".into()),
            (Subject::SourceSeen, "client (192.168.0.100)".into()),
        ],
        failures: Vec::new(),
        unseen: Vec::new(),
    }
}

/// Three steps, all as expected.
pub(crate) fn passed() -> RunResult {
    let mut flows = Vec::new();
    for index in 0..64 {
        flows.push(connected(["web-0", "web-1", "web-0", "web-2"][index % 4]));
    }
    let balanced = StepResult {
        shares: vec![
            share(Some("web-0"), (715_827_883, 31), 32),
            share(Some("web-1"), (715_827_882, 31), 16),
            share(Some("web-2"), (715_827_883, 31), 16),
        ],
        ..step("endpoints share the connections", flows)
    };
    let silent = StepResult {
        expected: vec![(Subject::Outcome, "timeout".into())],
        ..step("the node without a local endpoint drops", vec![unanswered(Outcome::Timeout)])
    };
    let scale = StepResult {
        action: "apply",
        expected: Vec::new(),
        ..step("the Deployment is scaled to zero", Vec::new())
    };
    RunResult {
        scenario: "nodeport-local".into(),
        intent: "externalTrafficPolicy Local preserves the client address".into(),
        requirements: vec!["service.external-traffic-policy.local".into()],
        mode: ProxyMode::Iptables,
        family: IpFamilies::Ipv4,
        arm: ArmKind::Sim,
        backend: None,
        guest: None,
        seed: 0,
        trace_hash: Some(0x0123_4567_89ab_cdef),
        steps: vec![balanced, scale, silent],
        disagreements: Vec::new(),
    }
}

/// One failed step, on the real kernel, which cannot observe everything.
pub(crate) fn failed() -> RunResult {
    let mut run = passed();
    run.steps[2] = StepResult {
        expected: vec![(Subject::Outcome, "timeout".into()), (Subject::Dropped, "on node-2".into())],
        failures: vec![
            Failure {
                subject: Subject::Outcome,
                expected: "timeout".into(),
                found: "refused/icmp-port-unreachable (1 of 1)".into(),
            },
            Failure {
                subject: Subject::Dropped,
                expected: "a packet dropped on node-2".into(),
                found: "none".into(),
            },
        ],
        ..step(
            "the node without a local endpoint drops",
            vec![unanswered(Outcome::Refused(Refusal::IcmpPortUnreachable))],
        )
    };
    run.steps[0].unseen = vec![Subject::Conntrack];
    run
}

/// A kernel run whose choices do not fit the exact shares.
pub(crate) fn disputed() -> RunResult {
    let rows = vec![(Some(pod("web-0")), 0.5, 0), (Some(pod("web-1")), 0.5, 64)];
    let disagreement = Disagreement { step: 1, kind: DisagreementKind::Choices { rows, p_value: 1e-20 } };
    RunResult {
        arm: ArmKind::Kernel,
        backend: Some(Backend::Nft),
        disagreements: vec![disagreement; 14],
        ..passed()
    }
}
