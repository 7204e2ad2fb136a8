use super::text::{Repeats, WalkText};
use super::{Walk, WalkStepKind};
use crate::names::Names;
use crate::palette::Palette;
use crate::sample::{Addr, Script, route, segment, tuple};
use conformance::result::NetnsNames;
use sim::ct::{CtInfo, TcpState};
use sim::drop_reason::DropReason;
use sim::hook::Hook;
use sim::ids::{DeviceId, EntryId, FlowId, SocketId};
use sim::ipvs::{
    FlowKey, Protocol, Refusal, SchedulerKind, ServiceKey, State, TcpState as TcpConnection, Why,
};
use sim::packet::Origin;
use sim::route::RouteKind;
use sim::trace::{
    BridgeEvent, ConntrackEvent, Event, HookEvent, IpvsEvent, NatEvent, NeighEvent, Outcome, RouteEvent,
    RuleAction, RuleEvent, SocketEvent, Terminal,
};
use sim::tuple::Direction;
use sim::wire::{MacAddr, TcpFlags, protocol, rewrite::Side};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const CLIENT: Addr = (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 100)), 40000);
const NODE: Addr = (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11)), 30080);
const POD: Addr = (IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2)), 8080);

fn names() -> [NetnsNames; 3] {
    let netns = |name: &str, devices: &[&str]| NetnsNames {
        name: name.to_owned(),
        devices: devices.iter().map(|&device| device.to_owned()).collect(),
    };
    [
        netns("client", &["lo", "eth0"]),
        netns("node-1", &["lo", "eth0", "cni0", "veth0"]),
        netns("web-0", &["lo", "eth0"]),
    ]
}

fn entry() -> EntryId {
    EntryId::default()
}

/// The SYN of flow `flow`, as packet `id`, from a client port to the Pod, through every kind of rule.
fn syn(script: &mut Script, id: u64, flow: u32, client: Addr) {
    let sent = segment(client, NODE, TcpFlags::SYN, 1, 0, b"");
    let translated = segment(client, POD, TcpFlags::SYN, 1, 0, b"");
    let original = tuple(client, NODE);
    let (old_reply, new_reply) = (tuple(NODE, client), tuple(POD, client));
    let jump = |chain: &str| RuleAction::Jump(chain.into());
    script
        .netns(0)
        .packet(None)
        .event(Event::Socket(SocketEvent::Opened {
            flow: FlowId(flow),
            socket: SocketId(flow),
            protocol: protocol::TCP,
            local: client,
            remote: NODE,
        }))
        .created(id, Origin::Socket, None, Some(flow), &sent)
        .event(Event::Route(RouteEvent::Output {
            dst: NODE.0,
            result: Ok(route(RouteKind::Unicast, 2, CLIENT.0)),
        }))
        .entered(Hook::Output, None, Some(2))
        .accepted(Hook::Output)
        .transmitted(2, &sent)
        .wait_micros(50)
        .netns(1)
        .received(2, &sent)
        .entered(Hook::Prerouting, Some(2), None)
        .event(Event::Conntrack(ConntrackEvent::New { entry: entry(), original }))
        .matched("nat", 5, "-A PREROUTING -j KUBE-SERVICES", jump("KUBE-SERVICES"))
        .matched(
            "nat",
            23,
            "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
            jump("KUBE-NODEPORTS"),
        )
        .matched("nat", 17, "-A KUBE-NODEPORTS -p tcp --dport 30080 -j KUBE-EXT-1", jump("KUBE-EXT-1"))
        .matched("nat", 31, "-A KUBE-EXT-1 -j KUBE-MARK-MASQ", jump("KUBE-MARK-MASQ"))
        .matched(
            "nat",
            12,
            "-A KUBE-MARK-MASQ -j MARK --or-mark 0x00004000",
            RuleAction::Mark { old: 0, new: 0x4000 },
        )
        .matched("nat", 32, "-A KUBE-EXT-1 -j KUBE-SEP-1", jump("KUBE-SEP-1"))
        .event(Event::Nat(NatEvent::Bound { entry: entry(), manip: Side::Dst, old_reply, new_reply }))
        .matched("nat", 40, "-A KUBE-SEP-1 -p tcp -j DNAT --to-destination 10.244.1.2:8080", RuleAction::Nat)
        .event(Event::Nat(NatEvent::Translated {
            manip: Side::Dst,
            direction: Direction::Original,
            from: NODE,
            to: POD,
        }))
        .accepted(Hook::Prerouting)
        .event(Event::Route(RouteEvent::Input {
            dst: POD.0,
            result: Ok(route(RouteKind::Unicast, 3, NODE.0)),
        }))
        .entered(Hook::Forward, Some(2), Some(3))
        .matched("filter", 8, "-A FORWARD -j KUBE-FORWARD", jump("KUBE-FORWARD"))
        .matched("filter", 9, "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT", RuleAction::Accept)
        .accepted(Hook::Forward)
        .entered(Hook::Postrouting, None, Some(3))
        .event(Event::Nat(NatEvent::Bound {
            entry: entry(),
            manip: Side::Src,
            old_reply: new_reply,
            new_reply,
        }))
        .event(Event::Conntrack(ConntrackEvent::Confirmed { entry: entry(), original, reply: new_reply }))
        .accepted(Hook::Postrouting)
        .event(Event::Neigh(NeighEvent::Resolved {
            device: DeviceId(3),
            addr: POD.0,
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
        }))
        .transmitted(3, &translated)
        .event(Event::Bridge(BridgeEvent::Forwarded { port: DeviceId(4) }))
        .transmitted(4, &translated)
        .netns(2)
        .received(2, &translated)
        .entered(Hook::Input, Some(2), None)
        .accepted(Hook::Input)
        .event(Event::Socket(SocketEvent::Accepted {
            flow: Some(FlowId(flow)),
            socket: SocketId(0),
            local: POD,
            remote: client,
        }))
        .ended(Some(flow), Terminal::Delivered { socket: SocketId(0) });
}

/// The SYN/ACK that answers packet `cause`.
fn syn_ack(script: &mut Script, id: u64, cause: u64, flow: u32, client: Addr) {
    let flags = TcpFlags::SYN.union(TcpFlags::ACK);
    let sent = segment(POD, client, flags, 100, 2, b"");
    let translated = segment(NODE, client, flags, 100, 2, b"");
    script
        .created(id, Origin::Socket, Some(cause), Some(flow), &sent)
        .transmitted(2, &sent)
        .netns(1)
        .received(3, &sent)
        .entered(Hook::Prerouting, Some(3), None)
        .event(Event::Conntrack(ConntrackEvent::Found {
            entry: entry(),
            info: CtInfo::EstablishedReply,
            original: tuple(client, NODE),
            reply: tuple(POD, client),
        }))
        .event(Event::Conntrack(ConntrackEvent::TcpStateChanged {
            entry: entry(),
            from: TcpState::SynSent,
            to: TcpState::SynRecv,
        }))
        .event(Event::Nat(NatEvent::Translated {
            manip: Side::Src,
            direction: Direction::Reply,
            from: POD,
            to: NODE,
        }))
        .accepted(Hook::Prerouting)
        .transmitted(2, &translated)
        .wait_micros(50)
        .netns(0)
        .received(2, &translated)
        .ended(Some(flow), Terminal::Delivered { socket: SocketId(flow) })
        .packet(None)
        .event(Event::Socket(SocketEvent::Finished {
            flow: FlowId(flow),
            socket: SocketId(flow),
            outcome: Outcome::Connected,
        }));
}

fn two_flows() -> Script {
    let mut script = Script::default();
    for flow in 0..2 {
        let client = (CLIENT.0, CLIENT.1 + u16::try_from(flow).unwrap());
        let id = u64::from(flow) * 2;
        syn(&mut script, id, flow, client);
        syn_ack(&mut script, id + 1, id, flow, client);
        script.wait_micros(1_000);
    }
    script
}

fn text(script: &Script, repeats: Repeats) -> String {
    WalkText::new(&Walk::fold(&script.events), Names(&names()), repeats, Palette::PLAIN).to_string()
}

#[test]
fn a_flow_reads_from_the_client_to_the_pod_and_back() {
    insta::assert_snapshot!(text(&two_flows(), Repeats::Folded));
}

#[test]
fn repeats_are_shown_in_full_on_demand() {
    let (folded, full) = (text(&two_flows(), Repeats::Folded), text(&two_flows(), Repeats::Full));
    assert_eq!(folded.matches("KUBE-MARK-MASQ -j MARK").count(), 1);
    assert_eq!(full.matches("KUBE-MARK-MASQ -j MARK").count(), 2);
}

#[test]
fn flows_that_end_differently_are_not_folded() {
    let mut script = two_flows();
    let Some(Event::Socket(SocketEvent::Finished { outcome, .. })) =
        script.events.last_mut().map(|event| &mut event.event)
    else {
        panic!("the script ends with the outcome of flow 1");
    };
    *outcome = Outcome::Reset;
    let text = text(&script, Repeats::Folded);
    assert!(text.contains("flow 1"), "{text}");
    assert!(text.contains("same path as packet 0"), "{text}");
}

#[test]
fn drops_say_where_and_why() {
    let sent = segment(CLIENT, NODE, TcpFlags::SYN, 1, 0, b"");
    let mut script = Script::default();
    script
        .netns(1)
        .created(0, Origin::Injected, None, None, &sent)
        .received(2, &sent)
        .entered(Hook::Input, Some(2), None)
        .event(Event::Conntrack(ConntrackEvent::Invalid { why: "outside the window" }))
        .matched("filter", 3, "-A INPUT -j KUBE-NODEPORTS", RuleAction::Jump("KUBE-NODEPORTS".into()))
        .event(Event::Rule(RuleEvent::Policy {
            family: sim::hook::Family::Ipv4,
            table: "filter",
            chain: "INPUT".into(),
            is_accept: false,
        }))
        .event(Event::Hook(HookEvent::Dropped { hook: Hook::Input, reason: DropReason::NetfilterDrop }))
        .ended(None, Terminal::Dropped(DropReason::NetfilterDrop))
        .packet(None)
        .event(Event::Neigh(NeighEvent::Failed { device: DeviceId(2), addr: POD.0 }));
    insta::assert_snapshot!(text(&script, Repeats::Folded));
}

#[test]
fn verdicts_out_of_maps_are_spelled_out() {
    let sent = segment(CLIENT, NODE, TcpFlags::SYN, 1, 0, b"");
    let goto = |chain: &str| RuleAction::Goto(chain.into());
    let mut script = Script::default();
    script
        .netns(1)
        .created(0, Origin::Injected, None, None, &sent)
        .entered(Hook::Prerouting, Some(2), None)
        .matched("kube-proxy", 41, "jump services", RuleAction::Jump("services".into()))
        .matched(
            "kube-proxy",
            52,
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            goto("service-1-default/web/tcp/http"),
        )
        .matched(
            "kube-proxy",
            60,
            "numgen random mod 2 vmap { 0 : goto endpoint-1, 1 : goto endpoint-2 }",
            goto("endpoint-2"),
        )
        .matched("kube-proxy", 61, "ip protocol vmap @verdicts", RuleAction::Drop)
        .event(Event::Hook(HookEvent::Dropped { hook: Hook::Prerouting, reason: DropReason::NetfilterDrop }))
        .ended(None, Terminal::Dropped(DropReason::NetfilterDrop));
    insta::assert_snapshot!(text(&script, Repeats::Folded));
}

#[test]
fn a_nat_rule_comes_before_the_binding_that_it_made() {
    let script = two_flows();
    let walk = Walk::fold(&script.events);
    let steps = &walk.flows[0].journeys[0].hops[1].steps;
    let rule = steps.iter().position(|step| {
        matches!(step.kind, WalkStepKind::Rule(RuleEvent::Matched { action: RuleAction::Nat, .. }))
    });
    let binding =
        steps.iter().position(|step| matches!(step.kind, WalkStepKind::Nat(NatEvent::Bound { .. })));
    assert_eq!(rule.map(|at| at + 1), binding);
}

#[test]
fn a_packet_without_a_flow_goes_with_its_cause() {
    let mut script = two_flows();
    script.created(9, Origin::Kernel, Some(1), None, &[0; 14]).created(
        10,
        Origin::Kernel,
        Some(9),
        None,
        &[0; 14],
    );
    let walk = Walk::fold(&script.events);
    let ids: Vec<u64> = walk.flows[0].journeys.iter().map(|journey| journey.packet.0).collect();
    assert_eq!(ids, [0, 1, 9, 10]);
    assert!(walk.strays.is_empty());
}

#[test]
fn decisions_of_ipvs_name_service_scheduler_and_server() {
    let vip = SocketAddr::new([10, 96, 0, 10].into(), 80);
    let (client, server) = (SocketAddr::new(CLIENT.0, CLIENT.1), SocketAddr::new(POD.0, POD.1));
    let service = ServiceKey::Addr { protocol: Protocol::Tcp, addr: vip };
    let flow = FlowKey { protocol: Some(Protocol::Tcp), client, peer: vip };
    let (syn, open) = (State::Tcp(TcpConnection::SynRecv), State::Tcp(TcpConnection::Established));
    let (scheduler, why) = (SchedulerKind::Wrr, Why::NextOfWeight(3));
    let (old_reply, new_reply) = (tuple((vip.ip(), 80), CLIENT), tuple(POD, CLIENT));
    let sent = segment(CLIENT, (vip.ip(), 80), TcpFlags::SYN, 1, 0, b"");
    let mut script = Script::default();
    script.netns(1).created(0, Origin::Injected, None, None, &sent).received(2, &sent);
    script.entered(Hook::Input, Some(2), None);
    for event in [
        IpvsEvent::Scheduled { service, scheduler, why, flow, server, state: syn },
        IpvsEvent::Translated { side: Side::Dst, from: vip, to: server },
        IpvsEvent::ConntrackAltered { entry: entry(), old_reply, new_reply },
        IpvsEvent::Untracked,
        IpvsEvent::Found { flow, server, state: open },
        IpvsEvent::Replied { flow, server, state: open },
        IpvsEvent::ErrorTranslated { side: Side::Src, to: vip },
        IpvsEvent::Encapsulated { server: server.ip() },
        IpvsEvent::Refused(Refusal::NoServer(service)),
        IpvsEvent::Refused(Refusal::ServerGone),
        IpvsEvent::Refused(Refusal::OldConntrack),
        IpvsEvent::Refused(Refusal::DropRate),
    ] {
        script.event(Event::Ipvs(event));
    }
    script.ended(None, Terminal::Rejected(DropReason::IpvsNoServer));
    insta::assert_snapshot!(text(&script, Repeats::Folded));
}
