//! A network namespace: the equivalent of `struct net`.

use crate::context::Context;
use crate::defrag::Defrag;
use crate::device::Devices;
use crate::fdb::Fdb;
use crate::fib::{Fib, InputCache};
use crate::hook::HookState;
use crate::hook_table::HookTable;
use crate::icmp_limit::IcmpLimit;
use crate::ids::{DeviceId, NetnsId};
use crate::ipset::Ipset;
use crate::ipvs::{Clock, Ipvs};
use crate::neigh::NeighTable;
use crate::netfilter::EvalCtx;
use crate::netfilter::conntrack::Conntrack;
use crate::socket::{SocketOut, SocketSettings, Sockets};
use crate::sysctl::Sysctls;
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::xtables::Xtables;

/// One network stack. It knows no other netns: a veth knows the id of its peer, and the world delivers.
#[derive(Clone, Debug)]
pub struct Netns {
    /// Its index in the world.
    pub id: NetnsId,
    /// Its name.
    pub name: Box<str>,
    /// Devices and their addresses.
    pub devices: Devices,
    /// Routing tables.
    pub fib: Fib,
    /// Routing decisions about received packets, to be used again.
    pub input_routes: InputCache,
    /// ARP.
    pub neigh: NeighTable,
    /// Sysctls.
    pub sysctls: Sysctls,
    /// IP reassembly.
    pub defrag: Defrag,
    /// The hook entries and their order.
    pub hooks: HookTable,
    /// Conntrack entries and NAT bindings.
    pub conntrack: Conntrack,
    /// Sets of addresses and ports.
    pub ipset: Ipset,
    /// iptables.
    pub xtables: Xtables,
    /// Virtual services and their connections.
    pub ipvs: Ipvs,
    /// Forwarding databases of bridges.
    pub fdb: Fdb,
    /// Sockets.
    pub sockets: Sockets,
    /// Rate limits of ICMP errors and redirects.
    pub icmp_limit: IcmpLimit,
    /// Ticks of the kernel's timers, if they are simulated.
    pub(crate) timer_wheel: Option<TimerWheel>,
    /// The settings that sockets use, from that generation of sysctls.
    socket_settings: (u64, SocketSettings),
    /// Buffer for effects of sockets, kept to save an allocation per packet.
    pub(crate) socket_out: Vec<SocketOut>,
    /// The tap, if one is open; see [`crate::world::World::open_tap`].
    pub(crate) tap: Option<Tap>,
}

/// A copy of what arrives.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    pub(crate) place: TapPlace,
    pub(crate) frames: Vec<Box<[u8]>>,
}

/// Where a tap copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapPlace {
    /// Frames that arrive on any device, before they are processed: a packet socket (`ptype_all`, net/core/dev.c).
    Devices,
    /// Packets that are delivered to this netns, after INPUT, reassembled and translated: raw(7) sockets of all protocols
    /// (`raw_local_deliver`, net/ipv4/raw.c).
    LocalDelivery,
}

impl Tap {
    /// Copies a packet that passes that place.
    pub(crate) fn copy(tap: &mut Option<Self>, place: TapPlace, bytes: &[u8]) {
        if let Some(tap) = tap.as_mut().filter(|tap| tap.place == place) {
            tap.frames.push(bytes.into());
        }
    }
}

/// A netns with a packet at one of its hooks, split so that rules can change their own state.
#[derive(Debug)]
pub struct AtHook<'a, 'b> {
    /// The part that rules, conntrack and NAT use.
    pub ctx: EvalCtx<'a, 'b>,
    /// iptables.
    pub xtables: &'a mut Xtables,
    /// The entries of the hooks.
    pub hooks: &'a HookTable,
}

/// MTU of a bridge without ports (`ETH_DATA_LEN`).
const BRIDGE_MTU: u16 = 1500;

impl Netns {
    /// A netns without devices and rules, with Linux's default settings.
    pub fn new(id: NetnsId, name: &str) -> Self {
        let sysctls = Sysctls::default();
        Self {
            id,
            name: name.into(),
            devices: Devices::default(),
            fib: Fib::default(),
            input_routes: InputCache::default(),
            neigh: NeighTable::default(),
            socket_settings: (sysctls.generation(), SocketSettings::new(&sysctls)),
            sysctls,
            defrag: Defrag::default(),
            hooks: HookTable::default(),
            conntrack: Conntrack::default(),
            ipset: Ipset::default(),
            xtables: Xtables::default(),
            ipvs: Ipvs::default(),
            fdb: Fdb::default(),
            sockets: Sockets::default(),
            icmp_limit: IcmpLimit::default(),
            timer_wheel: None,
            socket_out: Vec::new(),
            tap: None,
        }
    }

    /// Splits the netns for a packet at a hook.
    pub const fn at_hook<'a, 'b>(&'a mut self, cx: &'a mut Context<'b>, state: HookState) -> AtHook<'a, 'b> {
        AtHook {
            ctx: EvalCtx {
                cx,
                state,
                devices: &self.devices,
                fib: &self.fib,
                sysctls: &self.sysctls,
                ipset: &mut self.ipset,
                ipvs: &self.ipvs,
                sockets: &self.sockets,
                conntrack: &mut self.conntrack,
            },
            xtables: &mut self.xtables,
            hooks: &self.hooks,
        }
    }

    /// The time, as IPVS counts it.
    pub const fn clock(&self, now: Instant) -> Clock {
        Clock { now, wheel: self.timer_wheel }
    }

    /// The settings that sockets use, read again if some have changed.
    pub(crate) fn socket_settings(&mut self) -> SocketSettings {
        let generation = self.sysctls.generation();
        if self.socket_settings.0 != generation {
            self.socket_settings = (generation, SocketSettings::new(&self.sysctls));
        }
        self.socket_settings.1
    }

    /// Sets the MTU of a bridge to the smallest of its ports, unless it was set explicitly (`br_mtu_auto_adjust`,
    /// net/bridge/br_if.c).
    pub(crate) fn br_mtu_auto_adjust(&mut self, bridge: DeviceId) {
        let ports = self.devices.ports(bridge).iter();
        let smallest = ports.map(|port| self.devices.get(*port).mtu).min().unwrap_or(BRIDGE_MTU);
        let device = self.devices.get_mut(bridge);
        if !device.is_mtu_fixed {
            let before = std::mem::replace(&mut device.mtu, smallest);
            self.fib.device_mtu_changed(bridge, before, smallest);
        }
    }
}
