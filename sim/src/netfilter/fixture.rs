//! A netns with only conntrack and NAT, for tests: packets are passed through the hooks explicitly.

use super::conntrack::{Entry, ListedEntry, nf_conntrack_confirm, nf_conntrack_in};
use super::nat::{self, NatRange, nf_nat_inet_fn};
use crate::context::Context;
use crate::ct::{CtInfo, PacketCt};
use crate::device::{DeviceKind, InterfaceAddr, Scope};
use crate::draws::Draws;
use crate::hook::{Family, Hook, HookState, Verdict};
use crate::ids::{DeviceId, EntryId, NetnsId};
use crate::netfilter::EvalCtx;
use crate::netns::Netns;
use crate::packet::{Origin, Packet};
use crate::route::{RouteKind, RouteResult};
use crate::time::{Duration, Instant};
use crate::trace::{ConntrackEvent, Event, Level, Trace};
use crate::tuple::Tuple;
use crate::wire::build::{self, Ipv4Fields};
use crate::wire::rewrite::Side;
use crate::wire::{Headers, MacAddr, TcpFlags, protocol};
use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};

/// Parses a dotted address.
pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// `10.0.0.1:80`.
pub(crate) fn end(text: &str) -> (Ipv4Addr, u16) {
    let (addr, port) = text.split_once(':').unwrap();
    (ip(addr), port.parse().unwrap())
}

/// An IPv4 packet with `payload`, without Ethernet header.
pub(crate) fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, number: u8, payload: &[u8]) -> Vec<u8> {
    let fields = Ipv4Fields { src, dst, protocol: number, ttl: 64, tos: 0, ident: 1, dont_fragment: true };
    build::ipv4(fields, payload).split_off(14)
}

/// A UDP datagram.
pub(crate) fn udp(src: &str, dst: &str) -> Vec<u8> {
    let (src, dst) = (end(src), end(dst));
    ipv4(src.0, dst.0, protocol::UDP, &build::udp(src, dst, b"question"))
}

/// An ICMP echo message.
pub(crate) fn echo(src: &str, dst: &str, icmp_type: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    ipv4(ip(src), ip(dst), protocol::ICMP, &build::icmpv4(icmp_type, 0, [high, low, 0, 1], b"ping"))
}

/// An ICMP error of that type and code from `src` to `dst`, quoting header and eight bytes of a packet.
pub(crate) fn icmp_error(src: &str, dst: &str, (icmp_type, code): (u8, u8), quoted: &[u8]) -> Vec<u8> {
    ipv4(ip(src), ip(dst), protocol::ICMP, &build::icmpv4(icmp_type, code, [0; 4], &quoted[..28]))
}

/// A TCP segment under construction.
#[derive(Clone, Debug)]
pub(crate) struct Seg {
    pub(crate) src: String,
    pub(crate) dst: String,
    pub(crate) flags: TcpFlags,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) len: usize,
}

impl Seg {
    /// Flags in tcpdump's notation: `S`, `S.`, `.`, `F.`, `R`.
    pub(crate) fn new(src: &str, dst: &str, flags: &str) -> Self {
        let flags = flags.chars().fold(TcpFlags::default(), |all, letter| {
            all.union(match letter {
                'S' => TcpFlags::SYN,
                'F' => TcpFlags::FIN,
                'R' => TcpFlags::RST,
                'P' => TcpFlags::PSH,
                'U' => TcpFlags::URG,
                '.' => TcpFlags::ACK,
                other => panic!("no TCP flag {other}"),
            })
        });
        Self {
            src: src.to_owned(),
            dst: dst.to_owned(),
            flags,
            sequence: 0,
            acknowledgment: 0,
            window: 65_535,
            options: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn seq(mut self, sequence: u32, acknowledgment: u32) -> Self {
        (self.sequence, self.acknowledgment) = (sequence, acknowledgment);
        self
    }

    pub(crate) fn len(mut self, len: usize) -> Self {
        self.len = len;
        self
    }

    pub(crate) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// The transport part, with checksum.
    pub(crate) fn l4(&self) -> Vec<u8> {
        let (src, dst) = (end(&self.src), end(&self.dst));
        let words = u8::try_from(5 + self.options.len() / 4).unwrap();
        let mut bytes = Vec::new();
        bytes.extend(src.1.to_be_bytes());
        bytes.extend(dst.1.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgment.to_be_bytes());
        bytes.extend([words << 4, self.flags.0]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.options);
        bytes.extend(std::iter::repeat_n(b'x', self.len));
        build::finish_transport_checksum(src.0, dst.0, protocol::TCP, &mut bytes);
        bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        ipv4(end(&self.src).0, end(&self.dst).0, protocol::TCP, &self.l4())
    }
}

/// The path of a packet through the netns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// PREROUTING, POSTROUTING.
    Forward,
    /// PREROUTING, INPUT.
    In,
    /// OUTPUT, POSTROUTING.
    Out,
    /// PREROUTING, then dropped by a rule.
    DroppedInForward,
}

/// The source rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snat {
    To(NatRange),
    Masquerade(NatRange),
}

/// The rules of the nat table: at most one per side, which matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) dnat: Option<NatRange>,
    pub(crate) snat: Option<Snat>,
}

impl Rules {
    pub(crate) const NONE: Self = Self { dnat: None, snat: None };

    pub(crate) fn dnat(to: &str) -> Self {
        let (addr, port) = end(to);
        Self { dnat: Some(NatRange::to_addr(addr.into()).with_port(port)), snat: None }
    }

    pub(crate) const fn snat(range: NatRange) -> Self {
        Self { dnat: None, snat: Some(Snat::To(range)) }
    }

    pub(crate) fn masquerade() -> Self {
        Self { dnat: None, snat: Some(Snat::Masquerade(NatRange::default())) }
    }
}

/// The result of a packet.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) verdict: Verdict,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ct: PacketCt,
}

impl Passed {
    /// Source and destination, with ports or ICMP identifier.
    pub(crate) fn ends(&self) -> String {
        let headers = Headers::parse(&self.bytes).unwrap();
        let tuple = Tuple::of_packet(&headers).unwrap();
        format!("{}:{} > {}:{}", tuple.src, tuple.src_port(), tuple.dst, tuple.dst_port())
    }

    /// `NEW`, `ESTABLISHED`, ..., or `INVALID`.
    pub(crate) fn state(&self) -> &'static str {
        match self.ct {
            PacketCt::None => "INVALID",
            PacketCt::Untracked => "UNTRACKED",
            PacketCt::Entry { info, .. } => match info {
                CtInfo::New => "NEW",
                CtInfo::Established => "ESTABLISHED",
                CtInfo::EstablishedReply => "ESTABLISHED_REPLY",
                CtInfo::Related => "RELATED",
                CtInfo::RelatedReply => "RELATED_REPLY",
            },
        }
    }

    pub(crate) fn entry(&self) -> EntryId {
        entry_of(self.ct)
    }
}

pub(crate) fn entry_of(ct: PacketCt) -> EntryId {
    match ct {
        PacketCt::Entry { id, .. } => id,
        PacketCt::None | PacketCt::Untracked => panic!("the packet has no entry"),
    }
}

/// The netns: `eth0` is 10.0.0.254/24, `eth1` is 192.168.0.254/24.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) now: Instant,
    ns: Netns,
    pub(crate) draws: Draws,
    pub(crate) trace: Trace,
    pub(crate) out_dev: DeviceId,
    /// NAT is in use, as if a rule refers to it.
    pub(crate) has_nat: bool,
}

pub(crate) const ETH0: DeviceId = DeviceId(2);
pub(crate) const ETH1: DeviceId = DeviceId(3);

impl Deref for Fixture {
    type Target = Netns;

    fn deref(&self) -> &Netns {
        &self.ns
    }
}

impl DerefMut for Fixture {
    fn deref_mut(&mut self) -> &mut Netns {
        &mut self.ns
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let mut ns = Netns::new(NetnsId(0), "tested");
        for (name, net, scope) in [
            ("lo", "127.0.0.1/8", Scope::Host),
            ("eth0", "10.0.0.254/24", Scope::Universe),
            ("eth1", "192.168.0.254/24", Scope::Universe),
        ] {
            let id = ns.devices.add(name, MacAddr::ZERO, 1500, DeviceKind::Dummy);
            let addr = InterfaceAddr { net: net.parse().unwrap(), scope, is_secondary: false };
            ns.devices.get_mut(id).addrs.push(addr);
        }
        Self {
            now: Instant::START + Duration::from_secs(1000),
            ns,
            draws: Draws::seeded(0),
            trace: Trace::new(Level::Everything),
            out_dev: ETH1,
            has_nat: true,
        }
    }

    pub(crate) fn sleep(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    /// A packet of this netns, as on receive.
    pub(crate) fn packet(&mut self, l3: &[u8]) -> Packet {
        let mut bytes = vec![0; 14];
        bytes.extend_from_slice(l3);
        let mut packet = self.trace.create(self.now, NetnsId(0), Origin::Injected, None, None, bytes);
        packet.meta.route = Some(RouteResult {
            kind: RouteKind::Unicast,
            device: self.out_dev,
            gateway: None,
            source: Ipv4Addr::UNSPECIFIED.into(),
            pmtu: None,
        });
        packet
    }

    /// Calls `function` as an entry of `hook`.
    pub(crate) fn at<R>(&mut self, hook: Hook, function: impl FnOnce(&mut EvalCtx) -> R) -> R {
        let has_in = matches!(hook, Hook::Prerouting | Hook::Input | Hook::Forward);
        let has_out = matches!(hook, Hook::Postrouting | Hook::Output | Hook::Forward);
        let state = HookState {
            family: Family::Ipv4,
            hook,
            in_dev: has_in.then_some(ETH0),
            out_dev: has_out.then_some(self.out_dev),
        };
        let mut effects = Vec::new();
        let mut cx = Context {
            now: self.now,
            netns: NetnsId(0),
            draws: &mut self.draws,
            trace: &mut self.trace,
            effects: &mut effects,
        };
        function(&mut self.ns.at_hook(&mut cx, state).ctx)
    }

    /// The NAT entry of a hook.
    pub(crate) fn nat(&mut self, hook: Hook, packet: &mut Packet, rules: &Rules) -> Verdict {
        self.at(hook, |ctx| {
            nf_nat_inet_fn(ctx, packet, [rules], |ctx, packet, rules| match (hook, rules.dnat, rules.snat) {
                (Hook::Prerouting | Hook::Output, Some(range), _) => {
                    nat::setup_info(ctx, packet, &range, Side::Dst)
                }
                (Hook::Postrouting | Hook::Input, _, Some(Snat::To(range))) => {
                    nat::setup_info(ctx, packet, &range, Side::Src)
                }
                (Hook::Postrouting, _, Some(Snat::Masquerade(range))) => nat::masquerade(ctx, packet, &range),
                _ => Verdict::Accept,
            })
        })
    }

    /// Passes a packet through the netns; it then ends.
    pub(crate) fn pass(&mut self, l3: &[u8], path: Path, rules: &Rules) -> Passed {
        let mut packet = self.packet(l3);
        let verdict = self.walk(&mut packet, path, rules);
        let passed = Passed { verdict, bytes: packet.l3().to_vec(), ct: packet.meta.ct };
        self.conntrack.release(&packet);
        passed
    }

    /// Like [`Fixture::pass`], but keeps the packet.
    pub(crate) fn walk(&mut self, packet: &mut Packet, path: Path, rules: &Rules) -> Verdict {
        let hooks = match path {
            Path::Forward => [Hook::Prerouting, Hook::Postrouting],
            Path::In => [Hook::Prerouting, Hook::Input],
            Path::Out => [Hook::Output, Hook::Postrouting],
            Path::DroppedInForward => [Hook::Prerouting, Hook::Forward],
        };
        for hook in hooks {
            let mut verdict = Verdict::Accept;
            if matches!(hook, Hook::Prerouting | Hook::Output) {
                verdict = self.at(hook, |ctx| nf_conntrack_in(ctx, packet));
            }
            if verdict == Verdict::Accept && hook != Hook::Forward && self.has_nat {
                verdict = self.nat(hook, packet, rules);
            }
            if verdict == Verdict::Accept && matches!(hook, Hook::Postrouting | Hook::Input) {
                verdict = self.at(hook, |ctx| nf_conntrack_confirm(ctx, packet));
            }
            if verdict != Verdict::Accept {
                return verdict;
            }
        }
        Verdict::Accept
    }

    /// `conntrack -L`.
    pub(crate) fn list(&self) -> Vec<String> {
        self.conntrack.listing(self.now).iter().map(ListedEntry::to_string).collect()
    }

    /// The single live entry.
    pub(crate) fn only(&self) -> &Entry {
        let live = self.conntrack.iter_sorted(self.now);
        assert_eq!(live.len(), 1, "{:#?}", self.list());
        live[0]
    }

    /// Why the last INVALID packet was invalid.
    pub(crate) fn last_invalid(&self) -> Option<&'static str> {
        self.trace.events().iter().rev().find_map(|event| {
            if let Event::Conntrack(ConntrackEvent::Invalid { why }) = event.event { Some(why) } else { None }
        })
    }
}
