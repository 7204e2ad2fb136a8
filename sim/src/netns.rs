//! A network namespace: what Linux keeps in `struct net`.

use crate::bridge::Fdb;
use crate::defrag::Defrag;
use crate::device::Devices;
use crate::fib::Fib;
use crate::icmp_limit::IcmpLimit;
use crate::ids::{DeviceId, NetnsId};
use crate::ipset::Ipset;
use crate::neigh::NeighTable;
use crate::netfilter::conntrack::Conntrack;
use crate::socket::{SocketOut, Sockets};
use crate::stack::hooks::HookTable;
use crate::sysctl::Sysctls;
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
    /// ARP.
    pub neigh: NeighTable,
    /// Settings.
    pub sysctls: Sysctls,
    /// Fragments that wait for others.
    pub defrag: Defrag,
    /// Which subsystem sees packets at which hook, and in what order.
    pub hooks: HookTable,
    /// Conntrack entries and NAT bindings.
    pub conntrack: Conntrack,
    /// Sets of addresses and ports.
    pub ipset: Ipset,
    /// iptables.
    pub xtables: Xtables,
    /// Forwarding databases of bridges.
    pub fdb: Fdb,
    /// Sockets.
    pub sockets: Sockets,
    /// Rate limits of ICMP errors and redirects.
    pub icmp_limit: IcmpLimit,
    /// Buffer for what sockets ask for, kept to save an allocation per packet.
    pub(crate) socket_out: Vec<SocketOut>,
    /// What came in, for whoever looks; see [`crate::world::World::open_tap`].
    pub(crate) tap: Option<Vec<Box<[u8]>>>,
}

/// MTU of a bridge without ports (`ETH_DATA_LEN`).
const BRIDGE_MTU: u16 = 1500;

impl Netns {
    /// Gives a bridge the smallest MTU of its ports, unless it was given one (`br_mtu_auto_adjust`, net/bridge/br_if.c).
    pub(crate) fn br_mtu_auto_adjust(&mut self, bridge: DeviceId) {
        let ports = self.devices.ports(bridge).iter();
        let smallest = ports.map(|port| self.devices.get(*port).mtu).min().unwrap_or(BRIDGE_MTU);
        let device = self.devices.get_mut(bridge);
        if !device.is_mtu_fixed {
            device.mtu = smallest;
        }
    }
}
