//! A netns with xtables, conntrack and NAT, and packets at one of its hooks.

use crate::context::{Context, Effect};
use crate::device::{DeviceKind, Scope};
use crate::draws::Draws;
use crate::fib::add_address;
use crate::hook::{Family, Hook, HookState, Verdict};
use crate::ids::{DeviceId, NetnsId};
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::nf_conntrack_in;
use crate::netfilter::nat::nf_nat_inet_fn;
use crate::netns::{AtHook, Netns};
use crate::packet::{Origin, Packet};
use crate::time::{Duration, Instant};
use crate::trace::{Event, Level, RuleEvent, Trace};
use crate::wire::MacAddr;
use crate::xtables::{RestoreOptions, TableKind, Xtables};

pub(super) const ETH0: DeviceId = DeviceId(2);
pub(super) const ETH1: DeviceId = DeviceId(3);

/// `eth0` is 10.0.0.254/24, `eth1` is 192.168.0.254/24.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) ns: Netns,
    pub(super) draws: Draws,
    pub(super) trace: Trace,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Instant,
    pub(super) uses_index: bool,
}

impl Net {
    /// A netns with these rules.
    pub(super) fn new(text: &str) -> Self {
        let mut ns = Netns::new(NetnsId(0), "tested");
        for (name, kind, addr, scope) in [
            ("lo", DeviceKind::Loopback, "127.0.0.1/8", Scope::Host),
            ("eth0", DeviceKind::Dummy, "10.0.0.254/24", Scope::Universe),
            ("eth1", DeviceKind::Dummy, "192.168.0.254/24", Scope::Universe),
        ] {
            let id = ns.devices.add(name, MacAddr::ZERO, 1500, kind);
            add_address(&mut ns.devices, &mut ns.fib, id, addr.parse().unwrap(), scope).unwrap();
        }
        let mut net = Self {
            ns,
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
        if let Err(error) = self.ns.xtables.restore(&mut self.ns.ipset, Family::Ipv4, "rules", text, options)
        {
            panic!("{error}");
        }
    }

    pub(super) fn sleep(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    /// A packet received on `eth0`, starting at its IP header.
    pub(super) fn packet(&mut self, l3: &[u8]) -> Packet {
        let mut bytes = vec![0; 14];
        bytes.extend_from_slice(l3);
        let mut packet = self.trace.create(self.now, NetnsId(0), Origin::Injected, None, None, bytes);
        packet.meta.in_dev = Some(ETH0);
        packet
    }

    /// Calls `function` as a callback of `hook`.
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
        let AtHook { mut ctx, xtables, .. } = self.ns.at_hook(&mut cx, state);
        function(xtables, &mut ctx)
    }

    /// Traverses a table.
    pub(super) fn eval(&mut self, kind: TableKind, hook: Hook, packet: &mut Packet) -> Verdict {
        let uses_index = self.uses_index;
        self.at(hook, |xtables, ctx| xtables.eval_as(Family::Ipv4, kind, ctx, packet, uses_index))
    }

    /// True if a new packet passes FORWARD of the filter table.
    pub(super) fn forwards(&mut self, l3: &[u8]) -> bool {
        let mut packet = self.packet(l3);
        self.eval(TableKind::Filter, Hook::Forward, &mut packet) == Verdict::Accept
    }

    /// Attaches conntrack to a packet.
    pub(super) fn track(&mut self, hook: Hook, packet: &mut Packet) {
        let verdict = self.at(hook, |_, ctx| nf_conntrack_in(ctx, packet));
        assert_eq!(verdict, Verdict::Accept);
    }

    /// The nat callback of a hook, as the hook dispatcher calls it.
    pub(super) fn nat(&mut self, hook: Hook, packet: &mut Packet) -> Verdict {
        let uses_index = self.uses_index;
        self.at(hook, |xtables, ctx| {
            nf_nat_inet_fn(ctx, packet, [TableKind::Nat], |ctx, packet, table| {
                xtables.eval_as(Family::Ipv4, table, ctx, packet, uses_index)
            })
        })
    }

    /// The rules that matched and the policies applied since the last call, as `CHAIN number action`.
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
        let text = self.ns.xtables.save(Family::Ipv4, true);
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
