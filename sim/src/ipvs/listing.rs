//! Listings of `ipvsadm`: `-Sn`, `-Ln`, `-Lnc`.

use super::Ipvs;
use super::clock::Clock;
use super::connection::Connection;
use super::restore::host_mask;
use super::scheduler::SchedulerKind;
use super::segment::Protocol;
use super::server::{Forward, RealServer, ServiceKey};
use super::service::{Persistence, ServiceFlags, VirtualService};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// By address and port, as `ipvsadm` prints by default: services by mark, family and protocol first. IPv4 addresses are
    /// compared as signed numbers, so that 192.168.0.1 is before 10.0.0.1.
    Sorted,
    /// Servers in the kernel's order, the latest first (`--nosort`). Services are in the order in which they were added; the
    /// kernel's order of services depends on the address of a structure.
    Kernel,
}

/// The first line of listings. The size is that of the kernel's table (`ip_vs_conn_tab_bits` 12).
const VERSION: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";

impl Ipvs {
    /// The output of `ipvsadm -Sn`, which [`Ipvs::restore`] reads. Thresholds are not saved.
    pub fn save(&self) -> String {
        let mut text = String::new();
        for service in self.ordered(ListOrder::Sorted) {
            let name = rule_name(service.spec.key);
            write!(text, "-A {name}").expect("a string");
            text.push_str(&rule_options(service));
            text.push('\n');
            for server in self.ordered_servers(service, ListOrder::Sorted) {
                let (forward, more) = match server.spec.forward {
                    Forward::Masquerade => ("-m", ""),
                    Forward::Route => ("-g", ""),
                    Forward::Tunnel => ("-i", " --tun-type ipip"),
                };
                let (addr, weight) = (server.spec.addr, server.spec.weight);
                writeln!(text, "-a {name} -r {addr} {forward} -w {weight}{more}").expect("a string");
            }
        }
        text
    }

    /// The output of `ipvsadm -Ln`. Call [`Ipvs::expire`] before.
    pub fn list(&self, order: ListOrder) -> String {
        let mut text = String::from(VERSION);
        text.push_str("Prot LocalAddress:Port Scheduler Flags\n");
        text.push_str("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n");
        for service in self.ordered(order) {
            text.push_str(&list_line(service));
            for server in self.ordered_servers(service, order) {
                let forward = match server.spec.forward {
                    Forward::Masquerade => "Masq",
                    Forward::Route => "Route",
                    Forward::Tunnel => "Tunnel",
                };
                let (addr, weight) = (server.spec.addr.to_string(), server.spec.weight);
                let (active, inactive) = (server.active, server.inactive);
                writeln!(text, "  -> {addr:<28} {forward:<7} {weight:<6} {active:<10} {inactive:<10}")
                    .expect("a string");
            }
        }
        text
    }

    /// The output of `ipvsadm -Lnc`, in the order in which the connections were opened; the kernel's order is random. Call
    /// [`Ipvs::expire`] before.
    pub fn list_connections(&self, clock: Clock) -> String {
        let mut text = String::from("IPVS connection entries\n");
        text.push_str("pro expire state       source             virtual            destination\n");
        for (_, entry) in self.connections.iter() {
            text.push_str(&connection_line(entry, clock));
        }
        text
    }

    fn ordered(&self, order: ListOrder) -> Vec<&VirtualService> {
        let mut services: Vec<&VirtualService> = self.services.iter().collect();
        match order {
            ListOrder::Sorted => services.sort_by_key(|service| sort_key(service.spec.key)),
            ListOrder::Kernel => {}
        }
        services
    }

    fn ordered_servers(&self, service: &VirtualService, order: ListOrder) -> Vec<&RealServer> {
        let mut servers: Vec<&RealServer> = service.servers().iter().map(|id| &self.servers[*id]).collect();
        match order {
            ListOrder::Sorted => servers.sort_by_key(|server| addr_key(server.spec.addr)),
            ListOrder::Kernel => {}
        }
        servers
    }
}

/// The order of services (`ipvs_cmp_services`, libipvs.c of ipvsadm): mark, family, protocol, address, port.
fn sort_key(key: ServiceKey) -> (u32, bool, u8, [i32; 4], u16) {
    match key {
        ServiceKey::Mark { is_ipv6, mark } => (mark, is_ipv6, 0, [0; 4], 0),
        ServiceKey::Addr { protocol, addr } => {
            let number = match protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
                Protocol::Sctp => 132,
            };
            let (words, port) = addr_key(addr);
            (0, addr.is_ipv6(), number, words, port)
        }
    }
}

/// The order of servers (`ipvs_cmp_dests`, libipvs.c of ipvsadm). Deviation: the tool subtracts addresses,
/// whose difference overflows if they are more than half of all numbers apart.
fn addr_key(addr: SocketAddr) -> ([i32; 4], u16) {
    let signed = |word: u32| i32::from_ne_bytes(word.to_ne_bytes());
    let words = match addr.ip() {
        IpAddr::V4(addr) => [signed(addr.to_bits()), 0, 0, 0],
        IpAddr::V6(addr) => {
            let octets = addr.octets();
            let word =
                |at: usize| u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
            [0, 4, 8, 12].map(|at| signed(word(at)))
        }
    };
    (words, addr.port())
}

/// `-t 10.96.0.1:80`
fn rule_name(key: ServiceKey) -> String {
    match key {
        ServiceKey::Addr { protocol, addr } => match protocol {
            Protocol::Tcp => format!("-t {addr}"),
            Protocol::Udp => format!("-u {addr}"),
            Protocol::Sctp => format!("--sctp-service {addr}"),
        },
        ServiceKey::Mark { is_ipv6: false, mark } => format!("-f {mark}"),
        ServiceKey::Mark { is_ipv6: true, mark } => format!("-f {mark} -6"),
    }
}

fn rule_options(service: &VirtualService) -> String {
    let spec = &service.spec;
    let mut text = format!(" -s {}", spec.scheduler.name());
    if let Some(persistence) = spec.persistence {
        write!(text, " -p {}", persistence.timeout.as_secs()).expect("a string");
        if let Some(mask) = special_mask(persistence) {
            write!(text, " -M {mask}").expect("a string");
        }
    }
    if spec.flags.one_packet {
        text.push_str(" -o");
    }
    if let Some(flags) = flag_names(spec.scheduler, spec.flags) {
        write!(text, " -b {flags}").expect("a string");
    }
    text
}

/// `TCP  10.96.0.1:80 rr persistent 10800`
fn list_line(service: &VirtualService) -> String {
    let spec = &service.spec;
    let name = match spec.key {
        ServiceKey::Addr { protocol, addr } => format!("{:<4} {addr}", protocol.name()),
        ServiceKey::Mark { is_ipv6: false, mark } => format!("FWM  {mark}"),
        ServiceKey::Mark { is_ipv6: true, mark } => format!("FWM  {mark} IPv6"),
    };
    let mut text = format!("{name} {}", spec.scheduler.name());
    if let Some(flags) = flag_names(spec.scheduler, spec.flags) {
        write!(text, " ({flags})").expect("a string");
    }
    if let Some(persistence) = spec.persistence {
        write!(text, " persistent {}", persistence.timeout.as_secs()).expect("a string");
        if let Some(mask) = special_mask(persistence) {
            write!(text, " mask {mask}").expect("a string");
        }
    }
    if spec.flags.one_packet {
        text.push_str(" ops");
    }
    text.push('\n');
    text
}

/// The netmask, or prefix length, unless it is that of single clients.
fn special_mask(persistence: Persistence) -> Option<String> {
    let mask = persistence.netmask;
    if mask == host_mask(mask.is_ipv6()) {
        return None;
    }
    Some(match mask {
        IpAddr::V4(mask) => mask.to_string(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones().to_string(),
    })
}

/// The flags by the names that the scheduler gives them (`print_sched_flags`, ipvsadm.c).
fn flag_names(scheduler: SchedulerKind, flags: ServiceFlags) -> Option<String> {
    let [first, second, third] = match scheduler {
        SchedulerKind::Sh => ["sh-fallback", "sh-port", "flag-3"],
        SchedulerKind::Mh => ["mh-fallback", "mh-port", "flag-3"],
        SchedulerKind::Rr
        | SchedulerKind::Wrr
        | SchedulerKind::Lc
        | SchedulerKind::Wlc
        | SchedulerKind::Lblc
        | SchedulerKind::Lblcr
        | SchedulerKind::Dh
        | SchedulerKind::Sed
        | SchedulerKind::Nq
        | SchedulerKind::Fo
        | SchedulerKind::Ovf
        | SchedulerKind::Twos => ["flag-1", "flag-2", "flag-3"],
    };
    let given = [(flags.flag1, first), (flags.flag2, second), (flags.flag3, third)];
    let names: Vec<&str> = given.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// `TCP 14:59  ESTABLISHED 192.0.2.1:40000    10.96.0.1:80       10.244.0.1:8080`
fn connection_line(entry: &Connection, clock: Clock) -> String {
    let protocol = entry.flow.protocol.map_or("IP", Protocol::name);
    let left = entry.seconds_left(clock);
    let (minutes, seconds, state) = (left / 60, left % 60, entry.state.name());
    let (client, peer) = (entry.flow.client.to_string(), entry.flow.peer.to_string());
    let server = entry.server;
    format!("{protocol:<3} {minutes:02}:{seconds:02}  {state:<11} {client:<18} {peer:<18} {server}\n")
}
