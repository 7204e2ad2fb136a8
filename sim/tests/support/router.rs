//! A host that exists twice: in the simulator and in the kernel.

use crate::netns;
use sim::device::{DeviceKind, Devices, Scope};
use sim::drop_reason::DropReason;
use sim::fib::{
    self, Fib, FibEntry, InputKey, OutputKey, Route, Selector, TableId, route_input, route_output,
};
use sim::ids::{DeviceId, NetnsId};
use sim::route::{RouteKind, RouteResult};
use sim::sysctl::Sysctls;
use sim::wire::MacAddr;
use sim::xtables::{RuleError, RuleErrorKind};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

const DEVICES: [&str; 3] = ["eth0", "eth1", "eth2"];

/// A command of `ip`, or `sysctl NAME VALUE`.
#[derive(Clone, Debug)]
pub(crate) struct Command(Vec<String>);

/// `DST [from SRC] [iif DEVICE | oif DEVICE]`, as `ip route get` takes it.
#[derive(Clone, Debug)]
pub(crate) struct Question(Vec<String>);

impl FromStr for Command {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

impl FromStr for Question {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

/// Runs the commands and the lookups on both sides. The error shows the whole run and where the sides differ.
pub(crate) fn compare(setup: &[Command], asked: &[Question]) -> Result<(), String> {
    let mut host = Host::new();
    let ours: Vec<_> = setup.iter().map(|command| host.run(&command.0)).collect();
    let kernel = ask_kernel(setup, asked);
    let mut report = String::new();
    let mut differs = false;
    let mut line = |what: &str, ours: &str, kernels: &str| {
        let both = if ours == kernels {
            ours.replace('\n', "; ")
        } else {
            differs = true;
            format!("\n!   kernel: {kernels}\n!   ours:   {ours}")
        };
        writeln!(report, "{what}: {both}").expect("a string");
    };
    for ((command, ours), kernels) in setup.iter().zip(&ours).zip(&kernel.replies) {
        line(&command.0.join(" "), ours, kernels);
    }
    for device in DEVICES {
        line(&format!("addr show {device}"), &host.show_addrs(device), &kernel.addrs[device_index(device)]);
    }
    line("route show table all", &host.show_routes(), &kernel.routes);
    for (question, kernels) in asked.iter().zip(&kernel.answers) {
        line(&question.0.join(" "), &host.answer(question), kernels);
    }
    if differs { Err(report) } else { Ok(()) }
}

fn device_index(device: &str) -> usize {
    DEVICES.iter().position(|name| *name == device).expect("one of DEVICES")
}

/// Output of the kernel side.
struct Kernel {
    replies: Vec<String>,
    addrs: Vec<String>,
    routes: String,
    answers: Vec<String>,
}

fn ask_kernel(setup: &[Command], asked: &[Question]) -> Kernel {
    let mut script = vec!["ip link set lo up".to_owned()];
    for device in DEVICES {
        script.push(format!("ip link add {device} type veth peer name p{device}"));
        script.push(format!("ip link set {device} up && ip link set p{device} up"));
    }
    let before = script.len();
    script.extend(setup.iter().map(|Command(words)| match &words[..] {
        [tool, name, value] if tool == "sysctl" => format!("sysctl -qw {name}={value}"),
        words => format!("ip -4 {}", words.join(" ")),
    }));
    script.extend(DEVICES.iter().map(|device| format!("ip -4 -o addr show {device}")));
    script.push("ip -4 route show table all".to_owned());
    script.extend(asked.iter().map(|Question(words)| format!("ip -4 route get {}", words.join(" "))));
    let said = netns::run(&[script]).remove(0);
    assert!(said[..before].iter().all(String::is_empty), "{said:?}");
    let (replies, rest) = said[before..].split_at(setup.len());
    let (addrs, rest) = rest.split_at(DEVICES.len());
    Kernel {
        replies: replies.iter().map(|text| plain_error(text)).collect(),
        addrs: addrs.iter().map(|text| plain_addrs(text)).collect(),
        routes: plain_routes(&rest[0]),
        answers: rest[1..].iter().map(|text| plain_answer(text)).collect(),
    }
}

/// The core of an error message.
fn plain_error(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("RTNETLINK answers: ")
        .trim_start_matches("Error: ")
        .to_owned()
}

fn plain_addrs(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |word| words.iter().position(|one| *one == word).map_or("", |at| words[at + 1]);
        let secondary = if words.contains(&"secondary") { " secondary" } else { "" };
        format!("{} {}{secondary}", after("inet"), after("scope"))
    });
    lines.collect::<Vec<_>>().join(", ")
}

/// Route lines without `lo`, which is the same everywhere, and without flags that change with the carrier.
fn plain_routes(text: &str) -> String {
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("127."))
        .map(|line| line.replace("linkdown", "").split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines.join("\n")
}

fn plain_answer(text: &str) -> String {
    if text.starts_with("RTNETLINK") || text.starts_with("Error") {
        return plain_error(text);
    }
    let words: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    let after = |word| words.iter().position(|one| *one == word).map(|at| words[at + 1]);
    let kind = match words[0] {
        kind @ ("local" | "broadcast" | "multicast") => kind,
        _ => "unicast",
    };
    answer_text(kind, after("via"), after("dev").unwrap_or("none"), after("from").or(after("src")))
}

fn answer_text(kind: &str, via: Option<&str>, device: &str, source: Option<&str>) -> String {
    let via = via.map_or(String::new(), |via| format!(" via {via}"));
    format!("{kind}{via} dev {device} src {}", source.unwrap_or("none"))
}

/// The simulator's side.
struct Host {
    devices: Devices,
    fib: Fib,
    sysctls: Sysctls,
}

impl Host {
    fn new() -> Self {
        let mut host = Self { devices: Devices::default(), fib: Fib::default(), sysctls: Sysctls::default() };
        let lo = host.devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
        let net = "127.0.0.1/8".parse().unwrap();
        fib::add_address(&mut host.devices, &mut host.fib, lo, net, Scope::Host).unwrap();
        for device in DEVICES {
            let kind = DeviceKind::Veth { peer_netns: NetnsId(0), peer: DeviceId(1) };
            host.devices.add(device, MacAddr::ZERO, 1500, kind);
        }
        host
    }

    fn id(&self, device: &str) -> DeviceId {
        self.devices.by_name(device).unwrap().id
    }

    /// Runs a command; returns the error, or an empty text.
    fn run(&mut self, words: &[String]) -> String {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let option = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        match words[..] {
            ["sysctl", name, value] => error(self.sysctls.set(&self.devices, name, value)),
            ["addr", "add", net, "dev", device, ..] => {
                let scope = match option("scope") {
                    Some("link") => Scope::Link,
                    Some("host") => Scope::Host,
                    Some(_) | None => Scope::Universe,
                };
                let id = self.id(device);
                let net = net.parse().unwrap();
                error(fib::add_address(&mut self.devices, &mut self.fib, id, net, scope))
            }
            ["addr", "del", net, "dev", device] => {
                let (id, net) = (self.id(device), net.parse().unwrap());
                error(fib::remove_address(&mut self.devices, &mut self.fib, &self.sysctls, id, net))
            }
            ["link", "set", device, state] => {
                self.set_link(self.id(device), state == "up");
                String::new()
            }
            ["rule", "add", ..] => self.tell(&words[2..].join(" "), Fib::ip_rule_add),
            ["route", "add", ..] => self.tell(&words[2..].join(" "), Fib::ip_route_add),
            ["route", "replace", dst, "via", via] => {
                let route = Route::via(dst.parse().unwrap(), via.parse().unwrap());
                error(self.fib.replace(&self.devices, TableId::Main, route))
            }
            ["route", "del", dst, ..] => {
                let addr = |name: &str| option(name).map(|text| text.parse::<Ipv4Addr>().unwrap());
                let selector = Selector {
                    kind: None,
                    scope: None,
                    via: addr("via"),
                    device: option("dev").map(|name| self.id(name)),
                    source: addr("src"),
                    metric: option("metric").map_or(0, |text| text.parse().unwrap()),
                };
                error(self.fib.remove(TableId::Main, dst.parse().unwrap(), selector))
            }
            _ => panic!("{words:?} is not a command of this test"),
        }
    }

    /// Runs a command from its text; returns the kernel's error, or an empty text.
    fn tell(
        &mut self,
        line: &str,
        add: fn(&mut Fib, &Devices, &str, u32, &str) -> Result<(), RuleError>,
    ) -> String {
        match add(&mut self.fib, &self.devices, "test", 1, line) {
            Ok(()) => String::new(),
            Err(error) if error.kind == RuleErrorKind::Refused => error.found.into(),
            Err(error) => panic!("{error}"),
        }
    }

    fn set_link(&mut self, device: DeviceId, is_up: bool) {
        let was_up = std::mem::replace(&mut self.devices.get_mut(device).is_up, is_up);
        match (was_up, is_up) {
            (true, false) => fib::on_device_down(&mut self.fib, device),
            (false, true) => fib::on_device_up(&mut self.fib, self.devices.get(device)),
            (true, true) | (false, false) => {}
        }
    }

    fn show_addrs(&self, device: &str) -> String {
        let addrs = self.devices.by_name(device).unwrap().addrs.iter().map(|held| {
            let scope = match held.scope {
                Scope::Universe => "global",
                Scope::Link => "link",
                Scope::Host => "host",
            };
            format!("{} {scope}{}", held.net, if held.is_secondary { " secondary" } else { "" })
        });
        addrs.collect::<Vec<_>>().join(", ")
    }

    fn show_routes(&self) -> String {
        let tables =
            [TableId::Main, TableId::Local, TableId::DEFAULT, TableId::Other(100), TableId::Other(200)];
        let mut lines: Vec<_> = tables
            .into_iter()
            .flat_map(|table| self.fib.routes(table))
            .map(|entry| self.show_route(entry))
            .filter(|line| !line.contains("127."))
            .collect();
        lines.sort();
        lines.join("\n")
    }

    fn show_route(&self, entry: &FibEntry) -> String {
        let Route { dst, kind, scope, via, source, metric, is_onlink, .. } = entry.route;
        let mut line =
            if kind == RouteKind::Unicast { String::new() } else { format!("{} ", kind_name(kind)) };
        match dst.prefix_len() {
            0 => line.push_str("default"),
            32 => line.push_str(&dst.addr().to_string()),
            _ => line.push_str(&dst.to_string()),
        }
        let mut word = |text: String| {
            line.push(' ');
            line.push_str(&text);
        };
        via.into_iter().for_each(|via| word(format!("via {via}")));
        entry.device.into_iter().for_each(|id| word(format!("dev {}", self.devices.get(id).name)));
        match entry.table {
            TableId::Local => word("table local".into()),
            TableId::Main => {}
            TableId::DEFAULT => word("table default".into()),
            TableId::Other(number) => word(format!("table {number}")),
        }
        if entry.is_kernel {
            word("proto kernel".into());
        }
        match scope {
            Scope::Universe => {}
            Scope::Link => word("scope link".into()),
            Scope::Host => word("scope host".into()),
        }
        source.into_iter().for_each(|source| word(format!("src {source}")));
        if metric != 0 {
            word(format!("metric {metric}"));
        }
        if is_onlink {
            word("onlink".into());
        }
        line
    }

    fn answer(&self, Question(words): &Question) -> String {
        let option = |name: &str| words.iter().position(|word| word == name).map(|at| words[at + 1].as_str());
        let dst = words[0].parse().unwrap();
        let src: Option<Ipv4Addr> = option("from").map(|text| text.parse().unwrap());
        let mark = option("mark").map_or(0, |text| text.parse().unwrap());
        let (result, is_input) = if let Some(iif) = option("iif") {
            let key = InputKey {
                in_dev: self.id(iif),
                src: src.unwrap_or(Ipv4Addr::UNSPECIFIED),
                dst,
                tos: 0,
                mark,
            };
            (route_input(&self.fib, &self.devices, &self.sysctls, &key), true)
        } else {
            let oif = option("oif").map(|name| self.id(name));
            let key = OutputKey { src, oif, mark, ..OutputKey::to(dst) };
            (route_output(&self.fib, &self.devices, &self.sysctls, &key), false)
        };
        match result {
            Ok(RouteResult { kind, device, gateway, source, pmtu: _ }) => {
                let gateway = gateway.map(|gateway| gateway.to_string());
                let source = if is_input {
                    src.filter(|src| !src.is_unspecified()).map(IpAddr::V4)
                } else {
                    Some(source)
                };
                let source =
                    source.filter(|source| !source.is_unspecified()).map(|source| source.to_string());
                let name = &self.devices.get(device).name;
                // `ip` prints the type of the route (`rt_type`). A forwarded broadcast lacks its flag (`RTCF_BROADCAST`), and
                // the simulator keeps only what decides about packets.
                let is_forwarded = is_input && kind == RouteKind::Unicast;
                let is_broadcast = self.fib.addr_type(dst) == RouteKind::Broadcast;
                let kind = if is_forwarded && is_broadcast { RouteKind::Broadcast } else { kind };
                answer_text(kind_name(kind), gateway.as_deref(), name, source.as_deref())
            }
            Err(reason) => errno_text(reason).to_owned(),
        }
    }
}

fn kind_name(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Unicast => "unicast",
        RouteKind::Local => "local",
        RouteKind::Broadcast => "broadcast",
        RouteKind::Multicast => "multicast",
        RouteKind::Unreachable => "unreachable",
        RouteKind::Prohibit => "prohibit",
        RouteKind::Blackhole => "blackhole",
    }
}

fn error<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| String::new())
}

/// The errno text that `ip route get` shows for an error.
fn errno_text(reason: DropReason) -> &'static str {
    const SPECIAL: [(DropReason, &str); 5] = [
        (DropReason::IpNoRouteIn, "Network is unreachable"),
        (DropReason::IpNoRouteOut, "Network is unreachable"),
        (DropReason::RouteUnreachable, "No route to host"),
        (DropReason::ForwardingOff, "No route to host"),
        (DropReason::RouteProhibited, "Permission denied"),
    ];
    let special = SPECIAL.iter().find(|(special, _)| *special == reason);
    special.map_or("Invalid argument", |(_, text)| text)
}
