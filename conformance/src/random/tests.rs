//! Properties of random worlds: they are valid, depend only on their number, and shrink completely.

use super::*;
use crate::diagnostic::{Source, Style, render};
use crate::manifest;
use crate::prepare::{Prepared, prepare};
use crate::scenario::ProxyMode::{Iptables, Ipvs};

/// The only warnings that a generated world may cause.
const EXPECTED: [&str; 8] = [
    "matches no Pod",
    "has no load balancer yet",
    "has neither a selector",
    "nobody answers there",
    "on which it does not listen",
    "is not a Pod of these files",
    "this port has no endpoints",
    "is not a Pod, a node or a host of these files",
];

fn prepared(text: &str) -> Prepared {
    let source = Source { name: "world.yaml".to_owned(), text: text.to_owned() };
    prepare(manifest::load(vec![source])).unwrap_or_else(|refused| {
        panic!("{text}\n{}", render(&refused.diagnostics, &refused.sources, Style::Plain))
    })
}

#[test]
fn every_world_can_be_prepared() {
    for (mode, index) in (0..1500).map(|index| (Iptables, index)).chain((0..300).map(|index| (Ipvs, index))) {
        let text = generate(mode, 1, index, Time::Virtual).current().text("world");
        for warning in prepared(&text).warnings {
            let is_expected = EXPECTED.iter().any(|words| warning.message.contains(words));
            assert!(is_expected, "{text}\n{warning:?}");
        }
    }
}

#[test]
fn every_world_runs_on_the_simulator_and_twice_the_same() {
    for (mode, index) in (0..60).map(|index| (Iptables, index)).chain((0..30).map(|index| (Ipvs, index))) {
        let text = generate(mode, 2, index, Time::Virtual).current().text("world");
        assert_eq!(examine(&text, Examined::Sim), Ok(None), "{text}");
    }
}

#[test]
fn a_world_depends_on_its_seed_and_its_number_alone() {
    let text = |seed, index| generate(Iptables, seed, index, Time::Virtual).current().text("world");
    assert_eq!(text(7, 3), text(7, 3));
    assert_ne!(text(7, 3), text(7, 4));
    assert_ne!(text(7, 3), text(8, 3));
}

#[test]
fn a_world_as_a_file() {
    insta::assert_snapshot!(generate(Iptables, 0, 4, Time::Virtual).current().text("world"));
}

/// Every feature of a world occurs within a reasonable number of worlds.
#[test]
fn nothing_is_left_undrawn() {
    let texts: String =
        (0..1_200).map(|index| generate(Iptables, 3, index, Time::Virtual).current().text("world")).collect();
    for word in [
        "cni: ptp",
        "hairpin: false",
        "gateway: none",
        "gateway: node/",
        "sysctls:",
        "routes:",
        "listen:",
        "hostNetwork: true",
        "deletionTimestamp:",
        "status: \"False\"",
        "type: ClusterIP",
        "type: NodePort",
        "type: LoadBalancer",
        "clusterIP: None",
        "externalTrafficPolicy: Local",
        "internalTrafficPolicy: Local",
        "externalIPs:",
        "loadBalancerSourceRanges:",
        "allocateLoadBalancerNodePorts: false",
        "healthCheckNodePort:",
        "sessionAffinity: ClientIP",
        "timeoutSeconds: 60",
        "publishNotReadyAddresses: true",
        "trafficDistribution: PreferSameNode",
        "ipMode: Proxy",
        "ipMode: VIP",
        "protocol: UDP",
        "targetPort: http",
        "targetPort: 8080",
        "masqueradeAll: true",
        "BridgeInterface",
        "InterfaceNamePrefix",
        "NodeCIDR",
        "nodePortAddresses:",
        "localhostNodePorts: false",
        "masqueradeBit: 31",
        "tcpBeLiberal: true",
        "connect:",
        "receive: ",
        "ping:",
        "apply:",
        "delete: pod/",
        "delete: service/",
        "ready: false",
        "hairpin: true",
        "sleep:",
        "sourcePort:",
        "count:",
        "protocol: udp",
        "to: 127.0.0.1:",
        "from: node/",
        "from: pod/",
        "from: host/far",
        "host/near",
        "host/router",
        "kind: EndpointSlice",
        "send:",
        "sourcePort: 39999",
        "> udp (600)",
        "< S. 0:0(0) ack 1",
        " ttl 1",
        " bad-checksum",
        " src 192.168.0.11",
        " src 10.244.1.1",
        " src 127.0.0.5",
        " src 203.0.113.77",
        "to: 240.0.0.1",
        "gateway: \"192.168.0.103\"",
        "via: \"192.168.0.102\"",
        "timeoutSeconds: 2",
        "loss: 1",
        "loss: 0",
        "loss: 1/4",
        "device: eth1",
        "device: lo",
        "via: link",
        "to: 172.31.0.11:3000",
        "net.ipv4.conf.eth1.rp_filter",
        "loss: 1/16",
        "keep: kept-0",
        "keep: kept-1",
        "continue: kept-0",
        "close: kept-0",
        "loss: 1/2",
        "mtu: 1300",
        "mtu: 576",
        "> udp (1400) df",
        "> udp (2000) nodf frag 1480",
        "> udp (2000) ipid 7 frag 800@792+",
        "> icmp echo-request (3000) frag 1480",
        "> icmp unreachable/message-size mtu 1200 [udp (40)]",
        "device: down",
        "device: up",
        "port: down",
        "port: up",
        "ipRules:",
        "ipRoutes:",
        "--set-xmark 0x1/0xff",
        "delete: node/",
        "name: node-4",
        "sleep: 130000ms",
    ] {
        assert!(texts.contains(word), "{word}");
    }
}

/// Each feature occurs in at least so many of 400 worlds, four fifths of what was counted.
#[test]
fn worlds_have_enough_of_everything() {
    let worlds: Vec<RandomWorld> =
        (0..400).map(|index| generate(Iptables, 3, index, Time::Virtual).current()).collect();
    let is_forged = |line: &RandomLine| match line {
        RandomLine::Send(packet) => packet.source.is_some(),
        RandomLine::AwaitSynAck => false,
    };
    let is_setting = |step: &RandomStep, is: fn(&RandomSetting) -> bool| {
        if let RandomStep::Set(setting) = step { is(setting) } else { false }
    };
    let affinity_expires = |world: &RandomWorld| {
        world.services.iter().flatten().any(|service| matches!(service.affinity, Some(Some(1 | 2))))
    };
    type Holds<'a> = &'a dyn Fn(&RandomWorld) -> bool;
    let any_step = |is: &dyn Fn(&RandomStep) -> bool, world: &RandomWorld| world.steps.iter().any(is);
    let is_kind = |is: fn(&RandomPiecesKind) -> bool| {
        move |world: &RandomWorld| world.pieces.as_ref().is_some_and(|pieces| is(&pieces.kind))
    };
    let is_large = is_kind(|kind| matches!(kind, RandomPiecesKind::Large { .. }));
    let is_cut = is_kind(|kind| matches!(kind, RandomPiecesKind::Fragments { .. }));
    let is_single = is_kind(|kind| matches!(kind, RandomPiecesKind::Single(_)));
    let is_echo = is_kind(|kind| matches!(kind, RandomPiecesKind::Echo { .. }));
    let is_error = is_kind(|kind| matches!(kind, RandomPiecesKind::Error(_)));
    let is_event = |is: fn(&RandomEventKind) -> bool| {
        move |world: &RandomWorld| world.events.iter().any(|event| is(&event.kind))
    };
    let (is_end, is_join, is_leave) = (
        is_event(|kind| matches!(kind, RandomEventKind::End(_, _, false))),
        is_event(|kind| matches!(kind, RandomEventKind::Join(..))),
        is_event(|kind| matches!(kind, RandomEventKind::Leave(_))),
    );
    let rows: [(&str, Holds<'_>, usize); 30] = [
        ("ends of links that go down", &is_end, 40),
        ("nodes that join", &is_join, 14),
        ("nodes that leave", &is_leave, 14),
        ("policy routing", &|world| world.policy.is_some(), 30),
        ("waits that cross default timeouts", &|world| !world.waits.is_empty(), 22),
        ("connections that stay open", &|world| world.text("world").contains("keep: kept-"), 38),
        ("requests on open connections", &|world| world.text("world").contains("continue: kept-"), 33),
        ("open connections that are closed", &|world| world.text("world").contains("close: kept-"), 20),
        ("nodes with addresses on several devices", &|world| world.second.is_some(), 36),
        (
            "routes to a second network over another node",
            &|world| {
                let second = world.second.iter().filter(|_| world.nodes.len() > 1);
                second.into_iter().any(|second| {
                    second.addresses.iter().any(|address| {
                        !address.is_loopback && second.via.is_some_and(|via| via != address.node)
                    })
                })
            },
            4,
        ),
        ("an MTU of the Pod network", &|world| world.mtu.is_some_and(|mtu| mtu.party.is_none()), 5),
        ("an MTU of one link", &|world| world.mtu.is_some_and(|mtu| mtu.party.is_some()), 5),
        ("packets above an MTU", &is_large, 5),
        ("fragments", &is_cut, 5),
        ("single fragments", &is_single, 5),
        ("echo requests of scripts", &is_echo, 5),
        ("ICMP errors of scripts", &is_error, 5),
        ("links that lose a share of their frames", &|world| world.lossy_link().is_some(), 15),
        ("scripts", &|world| any_step(&|step| matches!(step, RandomStep::Send { .. }), world), 130),
        (
            "forged sources",
            &|world| {
                any_step(
                    &|step| matches!(step, RandomStep::Send { lines, .. } if lines.iter().any(is_forged)),
                    world,
                )
            },
            60,
        ),
        (
            "hand-written slices",
            &|world| world.services.iter().flatten().any(|service| service.slice.is_some()),
            60,
        ),
        ("three or four hosts", &|world| world.hosts.iter().flatten().count() > 2, 40),
        ("a host as the nodes' gateway", &|world| matches!(world.gateway, RandomGateway::Host(_)), 45),
        (
            "sysctls of hosts and Pods",
            &|world| {
                any_step(
                    &|step| is_setting(step, |setting| matches!(setting, RandomSetting::Sysctl(..))),
                    world,
                )
            },
            24,
        ),
        (
            "links cut or connected",
            &|world| {
                any_step(
                    &|step| is_setting(step, |setting| matches!(setting, RandomSetting::Link(..))),
                    world,
                )
            },
            15,
        ),
        ("long waits", &|world| any_step(&|step| matches!(step, RandomStep::Sleep(1_000..)), world), 8),
        ("affinity that expires", &affinity_expires, 30),
        (
            "large requests or responses",
            &|world| {
                any_step(
                    &|step| {
                        matches!(
                            step,
                            RandomStep::Connect { send: Some(1_461..), .. }
                                | RandomStep::Connect { receive: Some(1_461..), .. }
                        )
                    },
                    world,
                )
            },
            60,
        ),
        (
            "scripts from nodes",
            &|world| {
                let is_it = |step: &RandomStep| {
                    let RandomStep::Send { from: RandomParty::Node(_), protocol, .. } = step else {
                        return false;
                    };
                    *protocol == proxy_core::objects::Protocol::Udp
                };
                any_step(&is_it, world)
            },
            12,
        ),
        (
            "two steps with the same source port",
            &|world| {
                let is_shared = |step: &&RandomStep| {
                    matches!(
                        step,
                        RandomStep::Connect { has_source_port: true, .. }
                            | RandomStep::Send { has_source_port: true, .. }
                    )
                };
                world.steps.iter().filter(is_shared).count() > 1
            },
            30,
        ),
    ];
    for (what, holds, least) in rows {
        let count = worlds.iter().filter(|world| holds(world)).count();
        assert!(count >= least, "{what}: {count} of {}", worlds.len());
    }
}

/// Shrinks the first world for which `holds` is true.
fn smallest(holds: fn(&RandomWorld, &Prepared) -> bool) -> RandomWorld {
    let mut trees = (0..).map(|index| generate(Iptables, 5, index, Time::Virtual));
    let is_good = |world: &RandomWorld| holds(world, &prepared(&world.text("world")));
    let mut tree = trees.find(|tree| is_good(&tree.current())).expect("endless");
    shrink(&mut *tree, 10_000, |world, _| is_good(world)).world
}

#[test]
fn worlds_become_as_small_as_they_can() {
    let world = smallest(|world, _| {
        let is_local = |service: &RandomService| {
            service.kind == ServiceKind::NodePort && service.is_external_local && service.affinity.is_some()
        };
        world.services.iter().flatten().any(is_local) && world.pods.iter().flatten().count() >= 2
    });
    insta::assert_snapshot!(world.text("smallest"));
}

#[test]
fn a_budget_ends_it() {
    let mut tree = generate(Iptables, 5, 0, Time::Virtual);
    let mut asked = 0;
    let shrunk = shrink(&mut *tree, 7, |_, _| {
        asked += 1;
        true
    });
    assert_eq!((shrunk.tried, asked), (7, 7));
    let untried = shrink(&mut *generate(Iptables, 5, 0, Time::Virtual), 0, |_, _| true).world;
    assert_eq!(untried.text("same"), generate(Iptables, 5, 0, Time::Virtual).current().text("same"));
}
