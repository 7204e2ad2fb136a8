//! NAT results, byte for byte.

use super::packets::{number_of, packet};
use crate::device::{InterfaceAddr, Scope};
use crate::draws::{Purpose, Recorded};
use crate::hook::Verdict;
use crate::ids::{DeviceId, NetnsId};
use crate::netfilter::fixture::{ETH0, ETH1, Fixture, Path, Rules, Snat, end, ip, ipv4};
use crate::netfilter::nat::{NatFlags, NatRange};
use crate::route::RouteResult;
use crate::tuple::Tuple;
use crate::wire::{Headers, Ipv4, build, protocol};
use std::net::{IpAddr, Ipv4Addr};

/// One walk: its rules and hosts.
struct Walk {
    netns: Fixture,
    rules: Vec<Rule>,
    ends: [String; 2],
    gateway: Option<Ipv4Addr>,
    /// The last packet seen on the server's side.
    right: Vec<u8>,
}

/// A rule of the nat table.
struct Rule {
    source: Option<Ipv4Addr>,
    protocol: Option<u8>,
    target: Target,
}

enum Target {
    Dnat(NatRange),
    Snat(Snat),
}

impl Rule {
    /// Parses the iptables arguments that the recordings use.
    fn parse(words: &[&str]) -> Self {
        let value = |option: &str| words.iter().position(|word| *word == option).map(|at| words[at + 1]);
        let flags = NatFlags {
            random: words.contains(&"--random"),
            random_fully: words.contains(&"--random-fully"),
            persistent: words.contains(&"--persistent"),
        };
        let range = |text: &str| {
            let (addrs, ports) = text.split_once(':').map_or((text, None), |(a, p)| (a, Some(p)));
            let (min, max) = addrs.split_once('-').unwrap_or((addrs, addrs));
            let ports = ports.map(|ports| ports.split_once('-').unwrap_or((ports, ports)));
            NatRange {
                min_addr: Some(ip(min).into()),
                max_addr: Some(ip(max).into()),
                min_port: ports.map(|(min, _)| min.parse().unwrap()),
                max_port: ports.map(|(_, max)| max.parse().unwrap()),
                flags,
            }
        };
        let target = match value("-j").unwrap() {
            "DNAT" => Target::Dnat(range(value("--to-destination").unwrap())),
            "SNAT" => Target::Snat(Snat::To(range(value("--to-source").unwrap()))),
            "MASQUERADE" => Target::Snat(Snat::Masquerade(NatRange { flags, ..NatRange::default() })),
            other => panic!("no target {other}"),
        };
        Self { source: value("-s").map(ip), protocol: value("-p").map(number_of), target }
    }
}

impl Walk {
    fn new() -> Self {
        let ends = ["10.0.0.1:40000".to_owned(), "192.168.0.1:80".to_owned()];
        Self { netns: Fixture::new(), rules: Vec::new(), ends, gateway: None, right: Vec::new() }
    }

    /// The rules that match a packet.
    fn rules_for(&self, l3: &[u8]) -> Rules {
        let headers = Headers::parse(l3).unwrap();
        let mut rules = Rules::NONE;
        for rule in &self.rules {
            let matches = rule.protocol.is_none_or(|number| number == headers.protocol)
                && rule.source.is_none_or(|source| headers.src == source);
            match rule.target {
                Target::Dnat(range) if matches => rules.dnat = Some(range),
                Target::Snat(snat) if matches => rules.snat = Some(snat),
                Target::Dnat(_) | Target::Snat(_) => {}
            }
        }
        rules
    }

    /// Sends a packet, and returns what came out, if anything.
    fn send(&mut self, l3: &[u8], path: Path, towards: DeviceId, recorded: &str) -> Option<Vec<u8>> {
        let rules = self.rules_for(l3);
        // The kernel chose a port; the recording has the result.
        if let Some(value) = drawn(l3, &rules, recorded) {
            self.netns.draws.replay([Recorded {
                owner: NetnsId(0),
                purpose: Purpose::NatPort,
                source: None,
                value,
            }]);
        }
        self.netns.out_dev = towards;
        let mut packet = self.netns.packet(l3);
        packet.meta.route =
            packet.meta.route.map(|route| RouteResult { gateway: self.gateway.map(IpAddr::V4), ..route });
        let verdict = self.netns.walk(&mut packet, path, &rules);
        self.netns.conntrack.release(&packet);
        if path == Path::Forward {
            packet.ipv4_mut().decrement_ttl();
        }
        (verdict == Verdict::Accept).then(|| packet.l3().to_vec())
    }

    fn add_addr(&mut self, device: &str, text: &str) {
        let id = if device == "eth0" { ETH0 } else { ETH1 };
        let addrs = &mut self.netns.devices.get_mut(id).addrs;
        let mut held =
            InterfaceAddr { net: text.parse().unwrap(), scope: Scope::Universe, is_secondary: false };
        held.is_secondary = addrs.iter().any(|other| other.shares_subnet(&held));
        addrs.push(held);
    }

    /// Executes a line, and returns the result in the recording's format.
    fn step(&mut self, words: &[&str], recorded: &str) -> Option<String> {
        let came_out = match words {
            ["rule", arguments @ ..] => {
                self.rules.push(Rule::parse(arguments));
                return None;
            }
            ["addr", device, addr] => {
                self.add_addr(device, addr);
                return None;
            }
            ["via", gateway] => {
                self.gateway = Some(ip(gateway));
                return None;
            }
            ["ends", client, server] => {
                self.ends = [client, server].map(|text| (*text).to_owned());
                return None;
            }
            ["local", src, dst] => {
                let (from, to) = (end(src), end(dst));
                let l3 = ipv4(from.0, to.0, protocol::UDP, &build::udp(from, to, &[b'x'; 10]));
                // A checksum left to hardware offload was not recorded.
                let out = self.send(&l3, Path::Out, ETH1, recorded);
                return Some(out.map_or_else(|| "DROPPED".to_owned(), |bytes| ends_of(&bytes).join(" ")));
            }
            [">", number, rest @ ..] => {
                let l3 = packet(number, [&self.ends[0], &self.ends[1]], rest);
                let out = self.send(&l3, Path::Forward, ETH1, recorded);
                self.right = out.clone().unwrap_or_default();
                out
            }
            ["<", "error", rest @ ..] => {
                let l3 = error(rest, &self.right);
                self.send(&l3, Path::Forward, ETH0, recorded)
            }
            ["<", number, rest @ ..] => {
                let [dst, src] = ends_of(&self.right);
                let id = dst.split_once(':').unwrap().1.to_owned();
                let rest: Vec<&str> =
                    rest.iter().map(|word| if *word == "=" { id.as_str() } else { word }).collect();
                let l3 = packet(number, [&src, &dst], &rest);
                self.send(&l3, Path::Forward, ETH0, recorded)
            }
            other => panic!("what is {other:?}?"),
        };
        Some(came_out.map_or_else(
            || "DROPPED".to_owned(),
            |bytes| format!("{} {}", ends_of(&bytes).join(" "), hex(&bytes)),
        ))
    }
}

/// The draw that yields the recorded source port, if the port was changed.
fn drawn(l3: &[u8], rules: &Rules, recorded: &str) -> Option<u32> {
    let before = Tuple::of_packet(&Headers::parse(l3)?)?;
    let (src, _) = recorded.split_once(' ')?;
    let port: u32 = src.split_once(':')?.1.parse().ok()?;
    let first = match rules.snat {
        Some(Snat::To(NatRange { min_port: Some(min), .. })) => u32::from(min),
        _ if before.protocol == protocol::ICMP => 0,
        _ => match before.src_port() {
            0..512 => 1,
            512..1024 => 600,
            1024.. => 1024,
        },
    };
    port.checked_sub(first)
}

fn error(words: &[&str], about: &[u8]) -> Vec<u8> {
    let [icmp_type, code] = [words[0], words[1]].map(|word| word.parse().unwrap());
    let length: usize = words[2].parse().unwrap();
    let quoted = Ipv4::new_unchecked(about);
    let src = words.get(3).map_or_else(|| quoted.dst(), |text| ip(text));
    let message = build::icmpv4(icmp_type, code, [0; 4], &about[..length.min(about.len())]);
    ipv4(src, quoted.src(), protocol::ICMP, &message)
}

fn ends_of(l3: &[u8]) -> [String; 2] {
    let tuple = Tuple::of_packet(&Headers::parse(l3).unwrap()).unwrap();
    [format!("{}:{}", tuple.src, tuple.src_port()), format!("{}:{}", tuple.dst, tuple.dst_port())]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn packets_are_translated_as_by_the_kernel() {
    let (mut walk, mut name, mut count) = (Walk::new(), "", 0);
    let mut differences = Vec::new();
    for line in include_str!("../../../recordings/nat.txt").lines() {
        let (input, recorded) = line.split_once(" | ").unwrap_or((line, ""));
        let words: Vec<&str> = input.split_whitespace().collect();
        if words.is_empty() || words[0] == "#" {
            walk = Walk::new();
            name = input;
            continue;
        }
        let Some(seen) = walk.step(&words, recorded) else { continue };
        count += 1;
        if seen != recorded {
            differences.push(format!("{name}: {input}\n  kernel: {recorded}\n     sim: {seen}"));
        }
    }
    assert!(count > 80, "a recording of {count} packets");
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
