//! The same node in namespaces of this machine: the same rule text, addresses and number of bridge ports.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use conformance::arm::kernel::KernelArm;
use conformance::arm::kernel::lab::Lab;
use conformance::arm::kernel::wiring::{LinkEnd, Wiring};
use conformance::backend::Backend;
use ipnet::Ipv4Net;
use proxy_core::generator::Generator;
use proxy_core::load::{Ensure, Load};
use sim::wire::MacAddr;

use crate::rules::rules;
use crate::{
    CONNECTIONS, GATEWAY, LAN_OF_CLIENT, LAN_OF_NODE, NODE, NODE_PORT, NODE_SYSCTLS, POD, POD_PREFIX, ROUNDS,
    mac,
};

const REQUEST: &[u8] = b"ping\n";

/// The shortest time of a connection on this machine's kernel: client and server are one thread each, and block.
///
/// # Errors
/// Missing requirements, one per line; or a failure.
pub(crate) fn shortest(services: usize, pods: u16) -> Result<Duration, Box<dyn Error>> {
    let lacks = Backend::ALL.map(KernelArm::lacks);
    let Some(at) = lacks.iter().position(Vec::is_empty) else { return Err(lacks[0].join("\n  ").into()) };
    let lab = build(pods)?;
    let text = restore_text(&rules(Generator::Iptables, services));
    lab.netns("node").enter(|| load(Backend::ALL[at], &text))??;
    let listener = lab.netns("pod").enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)))??;
    // An extra round for ARP and caches.
    let server = thread::spawn(move || serve(&listener, CONNECTIONS * (ROUNDS + 1)));
    let mut shortest = Duration::MAX;
    for _ in 0..=ROUNDS {
        let taken = lab.netns("client").enter(round)??;
        shortest = shortest.min(taken / CONNECTIONS);
    }
    server.join().map_err(|_| "the server panicked")??;
    Ok(shortest)
}

const fn end<'a>(node: &'a str, device: &'a str, mac: MacAddr) -> LinkEnd<'a> {
    LinkEnd { node, device, mac }
}

fn build(pods: u16) -> Result<Lab, Box<dyn Error>> {
    // The other ends of all ports but one are in one namespace without listeners.
    let nodes = ["client", "node", "pod", "idle"];
    let lab = Lab::create(nodes)?;
    let mut wiring = Wiring::default();
    nodes.into_iter().for_each(|node| wiring.begin(node));
    for (name, value) in NODE_SYSCTLS {
        wiring.early_sysctl("node", name, value);
    }
    wiring.veth(end("node", "eth0", mac(1, 0)), end("client", "eth0", mac(0, 0)), None);
    wiring.bridge("node", "cni0", mac(2, 0));
    for number in 0..pods {
        let port = format!("veth{number}");
        let leaf = if number == 0 { ("pod", "eth0") } else { ("idle", port.as_str()) };
        wiring.veth(
            end("node", &port, mac(1, number + 1)),
            end(leaf.0, leaf.1, mac(0, number + 1)),
            Some(("cni0", false)),
        );
    }
    wiring.address("client", "eth0", LAN_OF_CLIENT.into());
    wiring.address("node", "eth0", LAN_OF_NODE.into());
    wiring.address("node", "cni0", Ipv4Net::new_assert(GATEWAY, POD_PREFIX).into());
    wiring.address("pod", "eth0", Ipv4Net::new_assert(POD, POD_PREFIX).into());
    wiring.route("pod", Ipv4Net::default().into(), Some(GATEWAY.into()), "eth0");
    wiring.apply(&lab)?;
    Ok(lab)
}

/// Loads the rules. That many take longer than the kernel arm lets a tool run.
fn load(backend: Backend, text: &str) -> io::Result<()> {
    let program = match backend {
        Backend::Legacy => "iptables-legacy-restore",
        Backend::Nft => "iptables-nft-restore",
    };
    let mut tool = Command::new(program).args(["-w", "--noflush"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut input) = tool.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    let status = tool.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {status}"))) }
}

/// Everything as one text for `iptables-restore`: the tables with their chains, and then the jumps to them.
fn restore_text(load: &[Load]) -> String {
    let mut text = String::new();
    let mut jumps = String::new();
    for load in load {
        match load {
            Load::Sysctl { .. } | Load::Ensure(Ensure::Chain { .. } | Ensure::Device { .. }) => {}
            Load::Ensure(Ensure::Jump { table, from, rule, .. }) => {
                jumps += &format!("*{table}\n-I {from} {rule}\nCOMMIT\n");
            }
            Load::Text { text: tables, .. } => text += tables,
        }
    }
    text + &jumps
}

/// Time of a round of consecutive connections: handshake, request, response, close.
fn round() -> io::Result<Duration> {
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect((NODE, NODE_PORT))?;
        stream.write_all(REQUEST)?;
        stream.read_exact(&mut [0; REQUEST.len()])?;
    }
    Ok(start.elapsed())
}

fn serve(listener: &TcpListener, connections: u32) -> io::Result<()> {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; REQUEST.len()];
        stream.read_exact(&mut request)?;
        stream.write_all(&request)?;
        // The client closes first.
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
