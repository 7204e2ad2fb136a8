//! A netns with xtables, conntrack and NAT, and packets that go to one hook of it.

use crate::context::{Context, Effect};
use crate::device::{DeviceKind, Devices, Scope};
use crate::draws::Draws;
use crate::fib::{Fib, add_address};
use crate::hook::{Family, Hook, HookState, Verdict};
use crate::ids::{DeviceId, NetnsId};
use crate::ipset::Ipset;
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::{Conntrack, nf_conntrack_in};
use crate::netfilter::nat::{self, NatStep};
use crate::packet::{Origin, Packet};
use crate::sysctl::Sysctls;
use crate::time::{Duration, Instant};
use crate::trace::{Event, Level, RuleEvent, Trace};
use crate::wire::MacAddr;
use crate::xtables::{RestoreOptions, TableKind, Xtables};

pub(super) const ETH0: DeviceId = DeviceId(2);
pub(super) const ETH1: DeviceId = DeviceId(3);

/// `eth0` is 10.0.0.254/24, `eth1` is 192.168.0.254/24.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) xtables: Xtables,
    pub(super) devices: Devices,
    pub(super) fib: Fib,
    pub(super) sysctls: Sysctls,
    pub(super) ipset: Ipset,
    pub(super) conntrack: Conntrack,
    pub(super) draws: Draws,
    pub(super) trace: Trace,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Instant,
    pub(super) uses_index: bool,
}

impl Net {
    /// A netns with these rules.
    pub(super) fn new(text: &str) -> Self {
        let (mut devices, mut fib) = (Devices::default(), Fib::default());
        for (name, kind, addr, scope) in [
            ("lo", DeviceKind::Loopback, "127.0.0.1/8", Scope::Host),
            ("eth0", DeviceKind::Dummy, "10.0.0.254/24", Scope::Universe),
            ("eth1", DeviceKind::Dummy, "192.168.0.254/24", Scope::Universe),
        ] {
            let id = devices.add(name, MacAddr::ZERO, 1500, kind);
            add_address(&mut devices, &mut fib, id, addr.parse().unwrap(), scope).unwrap();
        }
        let mut net = Self {
            xtables: Xtables::default(),
            devices,
            fib,
            sysctls: Sysctls::default(),
            ipset: Ipset::default(),
            conntrack: Conntrack::default(),
            draws: Draws::seeded(0),
            trace: Trace::new(Level::Everything),
            effects: Vec::new(),
            now: Instant::START + Duration::from_secs(100_000),
            uses_index: true,
        };
        net.restore(text);
        net
    }

    pub(super) fn restore(&mut self, text: &str) {
        let options = RestoreOptions { noflush: true, counters: false };
        if let Err(error) = self.xtables.restore(&mut self.ipset, Family::Ipv4, "rules", text, options) {
            panic!("{error}");
        }
    }

    pub(super) fn sleep(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    /// A packet that came in by `eth0`, from its IP header on.
    pub(super) fn packet(&mut self, l3: &[u8]) -> Packet {
        let mut bytes = vec![0; 14];
        bytes.extend_from_slice(l3);
        let mut packet = self.trace.create(self.now, NetnsId(0), Origin::Injected, None, None, bytes);
        packet.meta.in_dev = Some(ETH0);
        packet
    }

    /// Calls `function` as an entry of `hook`.
    pub(super) fn at<R>(&mut self, hook: Hook, function: impl FnOnce(&mut Xtables, &mut EvalCtx) -> R) -> R {
        let has_in = matches!(hook, Hook::Prerouting | Hook::Input | Hook::Forward);
        let has_out = matches!(hook, Hook::Postrouting | Hook::Output | Hook::Forward);
        let mut cx = Context {
            now: self.now,
            netns: NetnsId(0),
            draws: &mut self.draws,
            trace: &mut self.trace,
            effects: &mut self.effects,
        };
        let state = HookState {
            family: Family::Ipv4,
            hook,
            in_dev: has_in.then_some(ETH0),
            out_dev: has_out.then_some(ETH1),
        };
        let mut ctx = EvalCtx {
            cx: &mut cx,
            state,
            devices: &self.devices,
            fib: &self.fib,
            sysctls: &self.sysctls,
            ipset: &mut self.ipset,
            conntrack: &mut self.conntrack,
        };
        function(&mut self.xtables, &mut ctx)
    }

    /// Walks a table.
    pub(super) fn eval(&mut self, kind: TableKind, hook: Hook, packet: &mut Packet) -> Verdict {
        let uses_index = self.uses_index;
        self.at(hook, |xtables, ctx| xtables.eval_as(Family::Ipv4, kind, ctx, packet, uses_index))
    }

    /// Whether a new packet passes FORWARD of the filter table.
    pub(super) fn forwards(&mut self, l3: &[u8]) -> bool {
        let mut packet = self.packet(l3);
        self.eval(TableKind::Filter, Hook::Forward, &mut packet) == Verdict::Accept
    }

    /// Attaches conntrack to a packet.
    pub(super) fn track(&mut self, hook: Hook, packet: &mut Packet) {
        let verdict = self.at(hook, |_, ctx| nf_conntrack_in(ctx, packet));
        assert_eq!(verdict, Verdict::Accept);
    }

    /// The nat entry of a hook, as the dispatcher of hooks calls it.
    pub(super) fn nat(&mut self, hook: Hook, packet: &mut Packet) -> Verdict {
        let manip = nat::manip_of(hook);
        let uses_index = self.uses_index;
        self.at(hook, |xtables, ctx| {
            match nat::nat_begin(ctx, packet, manip) {
                NatStep::Skip => return Verdict::Accept,
                NatStep::Drop(reason) => return Verdict::Drop(reason),
                NatStep::Translate => return nat::nat_packet(ctx, packet, manip),
                NatStep::WalkChains => {}
            }
            match xtables.eval_as(Family::Ipv4, TableKind::Nat, ctx, packet, uses_index) {
                Verdict::Accept => {}
                stopped @ (Verdict::Drop(_) | Verdict::Stolen) => return stopped,
            }
            match nat::null_binding(ctx, packet, manip) {
                Verdict::Accept => nat::nat_packet(ctx, packet, manip),
                stopped @ (Verdict::Drop(_) | Verdict::Stolen) => stopped,
            }
        })
    }

    /// The rules that matched and the policies that applied since the last call, as `CHAIN number action`.
    pub(super) fn walked(&mut self) -> Vec<String> {
        let events = std::mem::replace(&mut self.trace, Trace::new(Level::Everything));
        let line = |event: &RuleEvent| match event {
            RuleEvent::Matched { rule, action } => format!("{} {} {action:?}", rule.chain, rule.number),
            RuleEvent::Policy { chain, is_accept, .. } => format!("{chain} policy accept={is_accept}"),
        };
        events
            .events()
            .iter()
            .filter_map(|event| if let Event::Rule(rule) = &event.event { Some(line(rule)) } else { None })
            .collect()
    }

    /// The saved rules of one chain with their counters, without `-A CHAIN`.
    pub(super) fn counted(&self, kind: TableKind, chain: &str) -> Vec<String> {
        let text = self.xtables.save(Family::Ipv4, true);
        let table = format!("*{}\n", kind.name());
        let body = text.split_once(&table).map_or("", |(_, rest)| rest);
        let body = body.split_once("COMMIT").map_or(body, |(body, _)| body);
        let prefix = format!("-A {chain}");
        body.lines()
            .filter_map(|line| line.split_once(&prefix))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '))
            .map(|(count, rest)| format!("{}{rest}", count.trim_end()))
            .collect()
    }
}
