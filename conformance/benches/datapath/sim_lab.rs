//! The node in the simulator: a client on its LAN, and Pods behind its bridge.

use ipnet::Ipv4Net;
use proxy_core::generator::Generator;
use proxy_core::load::{Ensure, Load, Tool};
use sim::fib::Route;
use sim::ids::{FlowId, NetnsId, SocketId};
use sim::ipset::IpsetOptions;
use sim::link::Link;
use sim::socket::{ClientProtocol, Server};
use sim::time::Duration;
use sim::trace::{Level, Outcome};
use sim::wire::MacAddr;
use sim::world::{ConnectSpec, LoadError, VethEnd, World, WorldOptions};
use sim::xtables::RestoreOptions;
use std::net::Ipv4Addr;

use crate::rules::rules;
use crate::{GATEWAY, LAN_OF_CLIENT, LAN_OF_NODE, NODE, NODE_PORT, NODE_SYSCTLS, POD, POD_PREFIX, mac};

/// Number of connections before a pause. Their ports are in TIME_WAIT until then.
const BEFORE_REST: u32 = 1_000;
/// Long enough for TIME_WAIT and for the conntrack entries of closed connections.
const REST: Duration = Duration::from_secs(130);
const REQUEST: &[u8] = b"ping\n";

pub(crate) struct SimLab {
    world: World,
    client: NetnsId,
    made: u32,
}

impl SimLab {
    pub(crate) fn new(generator: Generator, services: usize, pods: u16) -> Self {
        let (mut world, node) = loaded_node(&rules(generator, services));
        let client = world.add_netns("client");
        join(&mut world, (client, "eth0"), (node, "eth0"), 0);
        address(&mut world, client, "eth0", LAN_OF_CLIENT);
        address(&mut world, node, "eth0", LAN_OF_NODE);
        let cni0 = world.add_bridge(node, "cni0", mac(2, 0)).expect("a fresh name");
        for number in 0..pods {
            let pod = world.add_netns(&format!("pod-{number}"));
            let port = format!("veth{number}");
            join(&mut world, (pod, "eth0"), (node, &port), number + 1);
            let port = world.device(node, &port).expect("just made");
            world.set_master(node, port, Some(cni0));
            let ip = Ipv4Addr::from(u32::from(POD) + u32::from(number));
            address(&mut world, pod, "eth0", Ipv4Net::new_assert(ip, POD_PREFIX));
            let default = Route::via(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0), GATEWAY);
            world.add_route(pod, default).expect("the gateway is on the link");
            world.tcp_listen(pod, None, 8080, Server::Echo).expect("the port is free");
            world.udp_bind(pod, None, 8080, Server::Echo).expect("the port is free");
        }
        address(&mut world, node, "cni0", Ipv4Net::new_assert(GATEWAY, POD_PREFIX));
        Self { world, client, made: 0 }
    }

    /// A connection: handshake, request, response, close.
    pub(crate) fn connect(&mut self) {
        let flow = self.start(ClientProtocol::Tcp, false);
        self.finish(flow);
        self.made += 1;
        if self.made.is_multiple_of(BEFORE_REST) {
            self.world.run_until(self.world.now() + REST);
        }
    }

    pub(crate) fn open_udp(&mut self) -> SocketId {
        let flow = self.start(ClientProtocol::Udp, true);
        self.finish(flow)
    }

    pub(crate) fn exchange(&mut self, socket: SocketId) {
        let flow = self
            .world
            .send_again(self.client, socket, REQUEST.to_vec(), Duration::from_secs(1))
            .expect("the socket is kept open");
        self.finish(flow);
    }

    fn start(&mut self, protocol: ClientProtocol, is_kept_open: bool) -> FlowId {
        let spec = ConnectSpec {
            protocol,
            src_port: None,
            dst: NODE.into(),
            dst_port: NODE_PORT,
            request: REQUEST.to_vec(),
            deadline: Duration::from_secs(1),
            is_kept_open,
            may_broadcast: false,
        };
        self.world.connect(self.client, spec).expect("a port is free")
    }

    /// Runs a flow to its end, and returns its socket.
    fn finish(&mut self, flow: FlowId) -> SocketId {
        self.world.run_until_finished(&[flow], self.world.now() + Duration::from_secs(2));
        let result = self.world.take_flow_result(flow).expect("the flow is finished");
        assert_eq!(result.outcome, Outcome::Connected);
        result.socket
    }
}

fn address(world: &mut World, netns: NetnsId, device: &str, net: Ipv4Net) {
    let device = world.device(netns, device).expect("made before");
    world.add_address(netns, device, net).expect("a fresh address");
}

fn join(world: &mut World, host: (NetnsId, &str), node: (NetnsId, &str), number: u16) {
    let end = |(netns, name), mac: MacAddr| VethEnd { netns, name, mac };
    world
        .add_veth(end(host, mac(0, number)), end(node, mac(1, number)), Link::default())
        .expect("fresh names");
}

/// A netns with the rules and without devices.
pub(crate) fn loaded_node(load: &[Load]) -> (World, NetnsId) {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
    let node = world.add_netns("node");
    for (name, value) in NODE_SYSCTLS {
        world.set_sysctl(node, name, value).expect("a known sysctl");
    }
    for load in load {
        match load {
            Load::Sysctl { name, value } => {
                world.set_sysctl(node, name, value).expect("a known sysctl");
            }
            Load::Ensure(ensure @ Ensure::Device { .. }) => {
                let command = ensure.command();
                let arguments = command.strip_prefix(ensure.program()).unwrap_or_default();
                // A device that exists is refused harmlessly, and so is a chain.
                let _ = world.ip_command(node, "devices", 1, arguments);
            }
            Load::Ensure(ensure @ (Ensure::Chain { .. } | Ensure::Jump { .. })) => {
                let _ = world.iptables_command(node, "jumps", 1, &ensure.command());
            }
            Load::Text { tool, text } => {
                restore(&mut world, node, *tool, text).expect("proxy-core prints valid texts");
            }
        }
    }
    (world, node)
}

fn restore(world: &mut World, node: NetnsId, tool: Tool, text: &str) -> Result<(), LoadError> {
    match tool {
        Tool::IptablesRestore | Tool::Ip6tablesRestore => {
            world.iptables_restore(node, "rules", text, RestoreOptions { noflush: true, counters: true })
        }
        Tool::IpsetRestore => world.ipset_restore(node, "sets", text, IpsetOptions::default()),
        Tool::IpvsadmRestore => world.ipvsadm_restore(node, "ipvs", text),
        Tool::IpBatch => world.ip_batch(node, "addresses", text),
    }
}
