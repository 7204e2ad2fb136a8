//! The host in the kernel: a thread in its own network namespace, and a namespace at the other end of each device.

use super::frame::mac;
use super::simulated::{STATISTICS, plain_row, table_of};
use super::{Backend, DEVICES, Outcome, Step, show};
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt,
    socket, sockopt,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::thread;

/// Timeout for expected frames, and waiting time for unexpected ones, in milliseconds.
const PATIENCE: u16 = 1500;
const GRACE: u16 = 15;

/// `PACKET_OUTGOING`, include/uapi/linux/if_packet.h: a frame that this host sent.
const PACKET_OUTGOING: u8 = 4;

/// Runs the steps. `expected` is the number of lines of the simulator for each step, and so of frames to wait for.
pub(super) fn run(steps: Vec<Step>, expected: Vec<usize>, backend: Backend) -> Vec<Outcome> {
    // unshare(2) moves only the calling thread.
    let inside = move || {
        let mut host = Host::new(backend);
        steps.iter().zip(expected).map(|(step, expected)| host.run(step, expected)).collect()
    };
    thread::spawn(inside).join().expect("a report above says what went wrong")
}

struct Host {
    backend: Backend,
    /// Frames in, by device.
    inlets: BTreeMap<String, OwnedFd>,
    /// Frames out, by device.
    outlets: BTreeMap<&'static str, OwnedFd>,
    sockets: Vec<UdpSocket>,
}

impl Host {
    fn new(backend: Backend) -> Self {
        let wires = DEVICES.map(|_| new_netns());
        let host = new_netns();
        tool("ip", &["link", "set", "lo", "up"]);
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let mut batch = String::new();
        for (number, device) in DEVICES.iter().enumerate() {
            let (own, other) = (mac(device, 1), mac(device, 0xff));
            let wire_path = format!("/proc/{}/fd/{}", std::process::id(), wires[number].as_raw_fd());
            batch += &format!(
                "link add {device} address {own} type veth peer name {device} address {other} netns {wire_path}\n"
            );
            batch += &format!("link set {device} up\naddr add 10.{number}.0.1/24 dev {device}\n");
            for last in 2..10 {
                let neighbour = mac(device, last);
                batch += &format!(
                    "neigh replace 10.{number}.0.{last} lladdr {neighbour} dev {device} nud permanent\n"
                );
            }
        }
        ip_batch(&batch);
        let (mut inlets, mut outlets) = (BTreeMap::new(), BTreeMap::new());
        for (device, wire) in DEVICES.into_iter().zip(&wires) {
            setns(wire, CloneFlags::CLONE_NEWNET).unwrap();
            tool("ip", &["link", "set", device, "up"]);
            settle_links();
            inlets.insert(device.to_owned(), inlet(device));
            outlets.insert(device, packet_socket(Some(SockProtocol::EthAll)));
        }
        setns(&host, CloneFlags::CLONE_NEWNET).unwrap();
        settle_links();
        Self { backend, inlets, outlets, sockets: Vec::new() }
    }

    fn run(&mut self, step: &Step, expected: usize) -> Outcome {
        let mut lines = match step {
            Step::Command(words) => self.command(words),
            Step::Frame { device, bytes, mark } => {
                setsockopt(&self.inlets[device], sockopt::Mark, mark).unwrap();
                let sent = send(self.inlets[device].as_raw_fd(), bytes, MsgFlags::empty());
                assert_eq!(sent, Ok(bytes.len()));
                Vec::new()
            }
            Step::Listen(at) => {
                self.listen(*at);
                Vec::new()
            }
            Step::Send { port, to, len } => {
                let socket = UdpSocket::bind(("0.0.0.0", *port)).unwrap();
                socket.set_broadcast(true).unwrap();
                socket.connect(to).unwrap();
                // A rejected packet shows in the output.
                _ = socket.send(&vec![b'x'; *len]);
                self.sockets.push(socket);
                Vec::new()
            }
            Step::Sleep(millis) => {
                thread::sleep(std::time::Duration::from_millis(*millis));
                Vec::new()
            }
            Step::Counters(table) => table_of(&self.iptables_save(table), table),
            Step::Conntrack { has_use } => conntrack(*has_use),
            Step::Statistics => statistics(),
        };
        let mut frames = self.frames(expected.saturating_sub(lines.len()), step.ident());
        frames.sort_by_key(|(device, _)| *device);
        lines.extend(frames.into_iter().map(|(_, text)| text));
        Outcome { lines }
    }

    fn command(&self, words: &[String]) -> Vec<String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["iptables", ..] => {
                let tool = format!("iptables-{}", self.backend.name());
                let output = Command::new(tool).args(&words[1..]).output().unwrap();
                if !output.status.success() {
                    return vec!["refused".to_owned()];
                }
            }
            ["sysctl", "-w", setting] => {
                let (name, value) = setting.split_once('=').unwrap();
                fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value).unwrap();
            }
            ["ip", "neigh", "replace", ..] => {
                tool("ip", &[&words[1..], &["nud", "permanent"]].concat());
            }
            ["ip", "link", "add", .., "bridge"] => {
                // Snooping would send queries, and hold back frames without a listener.
                tool("ip", &[&words[1..], &["mcast_snooping", "0"]].concat());
                tool("ip", &["link", "set", words[3], "up"]);
            }
            ["ip", "link", "add", a, "type", "veth", "peer", "name", b] => {
                ip_batch(&format!(
                    "link add {a} address 02:00:00:00:09:01 type veth peer name {b} address 02:00:00:00:09:02\n"
                ));
            }
            _ => tool(words[0], &words[1..]),
        }
        if words.starts_with(&["ip", "link"]) {
            settle_links();
        }
        Vec::new()
    }

    /// Replies like the simulator's servers, until the process ends.
    fn listen(&self, at: SocketAddrV4) {
        let socket = UdpSocket::bind(at).unwrap();
        let answer = move || {
            let mut buffer = [0; 2048];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                _ = socket.send_to(format!("dut {peer} {at}\n").as_bytes(), peer);
            }
        };
        thread::spawn(answer);
    }

    fn iptables_save(&self, table: &str) -> String {
        let name = format!("iptables-{}-save", self.backend.name());
        let output = Command::new(name).args(["-c", "-t", table]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Outgoing frames: the expected number, and any surplus ones.
    fn frames(&self, expected: usize, ident: Option<u16>) -> Vec<(&'static str, String)> {
        let mut frames = Vec::new();
        loop {
            let patience = if frames.len() < expected { PATIENCE } else { GRACE };
            let waited = self.outlets.values().map(|outlet| PollFd::new(outlet.as_fd(), PollFlags::POLLIN));
            let mut waited: Vec<PollFd> = waited.collect();
            if poll(&mut waited, PollTimeout::from(patience)).unwrap() == 0 {
                return frames;
            }
            let is_ready = |fd: &PollFd| fd.any() == Some(true);
            let ready: Vec<bool> = waited.iter().map(is_ready).collect();
            for ((name, outlet), _) in self.outlets.iter().zip(ready).filter(|(_, is_ready)| *is_ready) {
                let mut buffer = [0; 70_000];
                let (len, from) = recvfrom::<LinkAddr>(outlet.as_raw_fd(), &mut buffer).unwrap();
                if from.unwrap().pkttype() != PACKET_OUTGOING {
                    frames.push((*name, show::frame(name, &buffer[..len], ident)));
                }
            }
        }
    }
}

/// Moves this thread into a new namespace without IPv6, whose packets would disturb.
fn new_netns() -> File {
    unshare(CloneFlags::CLONE_NEWNET).expect("the caller has made sure");
    for name in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
    }
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn packet_socket(protocol: Option<SockProtocol>) -> OwnedFd {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
}

/// A packet socket that sends on one device; with protocol 0 it receives nothing.
fn inlet(device: &str) -> OwnedFd {
    let addrs = getifaddrs().unwrap().filter(|addr| addr.interface_name == device);
    let addr = addrs.filter_map(|addr| addr.address).find_map(|addr| addr.as_link_addr().copied());
    let socket = packet_socket(None);
    bind(socket.as_raw_fd(), &addr.expect("every device has a link address")).unwrap();
    socket
}

fn tool(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
}

/// Makes the kernel process the link events of this namespace at once. Otherwise it may take up to a second on a busy
/// machine (net/core/link_watch.c), and a device whose link just came up drops transmitted packets. Querying one device
/// updates that device (`rtnl_getlink`, net/core/rtnetlink.c); listing all devices does not.
fn settle_links() {
    let listing = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let names = listing.lines().map(|line| line.split([':', '@']).nth(1).unwrap().trim());
    ip_batch(&names.map(|name| format!("link show dev {name}\n")).collect::<String>());
}

fn ip_batch(lines: &str) {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut ip = Command::new("ip");
    let mut child = ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip -batch:\n{lines}");
}

fn conntrack(has_use: bool) -> Vec<String> {
    let output = Command::new("conntrack").args(["-L"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(|row| plain_row(row, 1, has_use)).collect();
    lines.sort();
    lines
}

/// Sums over CPUs.
fn statistics() -> Vec<String> {
    let output = Command::new("conntrack").args(["-S"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let sum = |name: &str| -> u64 {
        let words = text.split_whitespace().filter_map(|word| word.split_once('='));
        words.filter(|(key, _)| *key == name).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    };
    let words = STATISTICS.iter().map(|name| format!("{name}={}", sum(name)));
    vec![words.collect::<Vec<_>>().join(" ")]
}
