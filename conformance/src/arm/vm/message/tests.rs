use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sim::draws::Weight;
use sim::trace::{Outcome, Refusal, Unreachable};

use super::*;
use crate::arm::vm::{Guest, GuestTime};
use crate::disagreement::{Disagreement, DisagreementKind};
use crate::observation::{EndpointName, FlowObservation, Mismatch, Transport};
use crate::random::AnomalyKind;
use crate::result::{ArmKind, EndpointShare, Failure, StepResult, Subject};
use crate::scenario::{ObjectName, Share};

const OUTCOMES: [Outcome; 10] = [
    Outcome::Connected,
    Outcome::Refused(Refusal::TcpReset),
    Outcome::Refused(Refusal::IcmpPortUnreachable),
    Outcome::Unreachable(Unreachable::Network),
    Outcome::Unreachable(Unreachable::Host),
    Outcome::Unreachable(Unreachable::Protocol),
    Outcome::Unreachable(Unreachable::Prohibited),
    Outcome::Unreachable(Unreachable::MessageSize),
    Outcome::Timeout,
    Outcome::Reset,
];

/// Any text: quotes, line breaks and colours must survive.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".*", Just("a \"quoted\"\nline \u{1b}[1mbold\u{1b}[0m".to_owned())]
}

fn endpoint() -> impl Strategy<Value = EndpointName> {
    prop_oneof![
        (text(), text()).prop_map(|(namespace, name)| EndpointName::Pod(ObjectName { namespace, name })),
        any::<SocketAddr>().prop_map(|address| EndpointName::Address(unscoped(address))),
    ]
}

/// The flow information and scope of an IPv6 address are not part of its text.
fn unscoped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn transport() -> impl Strategy<Value = Transport> {
    prop::sample::select(vec![Transport::Tcp, Transport::Udp, Transport::Sctp, Transport::Icmp])
}

fn flow() -> impl Strategy<Value = FlowObservation> {
    let addresses = (option::of(any::<IpAddr>()), option::of(any::<IpAddr>()));
    let names = (text(), text(), option::of(text()), option::of(endpoint()));
    (names, transport(), prop::sample::select(OUTCOMES.to_vec()), addresses).prop_map(
        |((from, to, via, endpoint), protocol, outcome, (source_seen, reply_from))| FlowObservation {
            from,
            to,
            protocol,
            outcome,
            connection: via.clone(),
            answered: via.clone(),
            status: via.as_ref().map(|_| 503),
            via,
            endpoint,
            source_seen,
            reply_from,
        },
    )
}

fn weight() -> impl Strategy<Value = Weight> {
    // More bits than a machine word: weights of chained rules.
    (any::<u64>(), 0..=64_u32, 1..5_u32).prop_map(|(numerator, exponent, factors)| {
        let weight = Weight::new(numerator, exponent);
        (1..factors).fold(weight.clone(), |product, _| &product * &weight)
    })
}

fn share() -> impl Strategy<Value = EndpointShare> {
    (option::of(endpoint()), option::of(1..9_u32), option::of(weight()), any::<u32>(), any::<u32>()).prop_map(
        |(endpoint, expected, weight, count, total)| EndpointShare {
            endpoint,
            expected: expected.and_then(|denominator| Share::new(1, denominator)),
            weight,
            count,
            total,
        },
    )
}

fn step() -> impl Strategy<Value = StepResult> {
    let subject = prop::sample::select(vec![Subject::Outcome, Subject::SourceSeen, Subject::Segments]);
    let failure = (subject.clone(), text(), text());
    let failure = failure.prop_map(|(subject, expected, found)| Failure { subject, expected, found });
    let expected = vec((subject.clone(), text()), 0..3);
    (text(), vec(flow(), 0..3), vec(share(), 0..3), expected, vec(failure, 0..2), vec(subject, 0..2))
        .prop_map(|(name, flows, shares, expected, failures, unseen)| StepResult {
            name,
            action: "",
            flows,
            shares,
            expected,
            failures,
            unseen,
        })
}

fn disagreement() -> impl Strategy<Value = Disagreement> {
    let kind = prop_oneof![
        (any::<usize>(), text(), text()).prop_map(|(number, line, found)| DisagreementKind::Script {
            sim: None,
            kernel: Some(Mismatch { number, line, found }),
        }),
        (endpoint(), any::<u32>()).prop_map(|(endpoint, count)| DisagreementKind::Choices {
            rows: vec![(Some(endpoint), 0.25, count), (None, 0.75, 0)],
            p_value: 1e-12,
        }),
        text().prop_map(|node| DisagreementKind::Counters { node, rules: Vec::new() }),
    ];
    (any::<usize>(), kind).prop_map(|(step, kind)| Disagreement { step, kind })
}

fn result() -> impl Strategy<Value = RunResult> {
    let words = (text(), text(), vec(text(), 0..3));
    let mode = prop::sample::select(ProxyMode::ALL.to_vec());
    let family = prop::sample::select(IpFamilies::ALL.to_vec());
    let backend = option::of(prop::sample::select(Backend::ALL.to_vec()));
    let numbers = (any::<u64>(), option::of(any::<u64>()));
    let lists = (vec(step(), 0..3), vec(disagreement(), 0..3));
    (words, (mode, family, backend), numbers, lists).prop_map(
        |((scenario, intent, requirements), (mode, family, backend), (seed, trace_hash), lists)| RunResult {
            scenario,
            intent,
            requirements,
            mode,
            family,
            arm: ArmKind::Kernel,
            backend,
            guest: Some(Guest { release: "6.1.0".to_owned(), time: GuestTime::Virtual }),
            seed,
            trace_hash,
            steps: lists.0,
            disagreements: lists.1,
        },
    )
}

fn error() -> impl Strategy<Value = ArmError> {
    prop_oneof![
        text().prop_map(ArmError::Refused),
        text().prop_map(ArmError::Missing),
        text().prop_map(ArmError::Failed),
        text().prop_map(ArmError::Internal),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    let ran = (result(), option::of(text())).prop_map(|(result, trace)| Ran { result, trace });
    let anomaly = text().prop_map(|text| Anomaly { kind: AnomalyKind::Frame, text });
    prop_oneof![
        text().prop_map(|release| Response::Ready { release }),
        ran.prop_map(|ran| Response::Ran(Ok(ran))),
        error().prop_map(|error| Response::Ran(Err(error))),
        option::of(anomaly).prop_map(|anomaly| Response::Examined(Ok(anomaly))),
        error().prop_map(|error| Response::Examined(Err(error))),
        (option::of(any::<i32>()), text(), text()).prop_map(|(status, output, messages)| {
            Response::Executed(Ok(Executed { status, output, messages }))
        }),
        error().prop_map(|error| Response::Executed(Err(error))),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let source = (text(), text()).prop_map(|(name, text)| Source { name, text });
    let backend = prop::sample::select(Backend::ALL.to_vec());
    let trace = option::of(prop::sample::select(vec![TraceDetail::Distinct, TraceDetail::All]));
    let run = (vec(source, 0..3), any::<u64>(), backend.clone(), trace);
    prop_oneof![
        run.prop_map(|(sources, seed, backend, trace)| Request::Run(RunRequest {
            sources,
            mode: ProxyMode::Iptables,
            family: IpFamilies::Ipv4,
            seed,
            backend,
            trace,
        })),
        (text(), backend).prop_map(|(text, backend)| Request::Examine { text, backend }),
        (option::of(text()), vec(text(), 0..3), text())
            .prop_map(|(program, args, input)| Request::Execute(Execute { program, args, input })),
    ]
}

/// A response as the other side receives it: differences are text.
fn relayed(response: Response) -> Response {
    let relay = |disagreement: &Disagreement| Disagreement {
        step: disagreement.step,
        kind: DisagreementKind::Relayed {
            aspect: disagreement.kind.aspect(),
            text: disagreement.kind.to_string(),
        },
    };
    match response {
        Response::Ran(Ok(Ran { result, trace })) => {
            let disagreements = result.disagreements.iter().map(relay).collect();
            Response::Ran(Ok(Ran { result: RunResult { disagreements, ..result }, trace }))
        }
        other @ (Response::Ready { .. }
        | Response::Ran(Err(_))
        | Response::Examined(_)
        | Response::Executed(_)) => other,
    }
}

proptest! {
    #[test]
    fn a_request_is_one_line_and_arrives_unchanged(request in request()) {
        let line = encode(&request).expect("it can be written");
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert_eq!(decode::<Request>(&line), Ok(request));
    }

    #[test]
    fn a_response_is_one_line_and_arrives_with_its_differences_as_text(response in response()) {
        let line = encode(&response).expect("it can be written");
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert_eq!(decode::<Response>(&line), Ok(relayed(response)));
    }
}

#[test]
fn a_line_that_is_not_a_message_is_shown() {
    for line in ["", "SeaBIOS", "{\"Ready\":{}}", "{\"Run\":null}"] {
        let Err(ArmError::Internal(message)) = decode::<Response>(line) else { panic!("{line}") };
        assert!(message.starts_with("not a message: ") && message.ends_with(line), "{message}");
    }
}
