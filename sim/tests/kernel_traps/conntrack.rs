//! D-01 to D-15: hooks and conntrack.

use crate::{check, check_legacy};

/// Rules that each match only if the one before matched, and record that.
fn stations(chains: &[(&str, &str)]) -> String {
    let rule = |(number, (table, chain)): (usize, &(&str, &str))| {
        format!("iptables -t {table} -A {chain} -m mark --mark {number} -j MARK --set-mark {}\n", number + 1)
    };
    chains.iter().enumerate().map(rule).collect()
}

const TABLES: &str = "
    iptables-save -c -t raw
    iptables-save -c -t mangle
    iptables-save -c -t nat
    iptables-save -c -t filter
    iptables-save -c -t security
";

/// Without a rule that needs conntrack, nothing is tracked and the nat table is not called.
const TRACK: &str = "iptables -A FORWARD -p 253 -m conntrack --ctstate NEW\n";

#[test]
fn d01_a_nat_table_alone_does_not_begin_to_track() {
    check(
        "d01_no_conntrack",
        &format!(
            "
            iptables -t nat -A PREROUTING -p udp -j MARK --set-mark 1
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53
            conntrack -L
            {TRACK}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53
            conntrack -L
            iptables -D FORWARD -p 253 -m conntrack --ctstate NEW
            eth0 < udp 10.0.0.2:4001 10.1.0.2:53
            iptables-save -c -t nat
            conntrack -L
            "
        ),
    );
}

#[test]
fn d01_what_is_forwarded_passes_hooks_by_priority() {
    let chains = stations(&[
        ("raw", "PREROUTING"),
        ("mangle", "PREROUTING"),
        ("nat", "PREROUTING"),
        ("mangle", "FORWARD"),
        ("filter", "FORWARD"),
        ("security", "FORWARD"),
        ("mangle", "POSTROUTING"),
        ("nat", "POSTROUTING"),
    ]);
    check("d01_forward", &format!("{TRACK}{chains} eth0 < udp 10.0.0.2:4000 10.1.0.2:53 {TABLES}"));
}

/// `iptables-nft` registers its table security with priority 150, not 50, and so after source NAT.
#[test]
fn d01_what_is_delivered_passes_hooks_by_priority() {
    let chains = stations(&[
        ("raw", "PREROUTING"),
        ("mangle", "PREROUTING"),
        ("nat", "PREROUTING"),
        ("mangle", "INPUT"),
        ("filter", "INPUT"),
        ("security", "INPUT"),
        ("nat", "INPUT"),
    ]);
    let listen = "listen udp 10.0.0.1:53";
    let case = format!("{TRACK}{chains} {listen}\n eth0 < udp 10.0.0.2:4000 10.0.0.1:53 {TABLES}");
    check_legacy("d01_input", &case, &["[0:0] -A INPUT -m mark --mark 0x6"]);
}

#[test]
fn d01_what_is_sent_passes_hooks_by_priority() {
    let chains = stations(&[
        ("raw", "OUTPUT"),
        ("mangle", "OUTPUT"),
        ("nat", "OUTPUT"),
        ("filter", "OUTPUT"),
        ("security", "OUTPUT"),
        ("mangle", "POSTROUTING"),
        ("nat", "POSTROUTING"),
    ]);
    check("d01_output", &format!("{TRACK}{chains} send udp 4000 10.1.0.2:53 {TABLES}"));
}

/// Conntrack runs between raw and mangle: before it the packet has no entry, which `ctstate INVALID` matches; raw can
/// exempt a packet from tracking.
#[test]
fn d01_conntrack_stands_between_raw_and_mangle() {
    check(
        "d01_conntrack",
        "
        iptables -t raw -A PREROUTING -m conntrack --ctstate INVALID
        iptables -t raw -A PREROUTING -p udp --dport 99 -j CT --notrack
        iptables -t raw -A PREROUTING -m conntrack --ctstate UNTRACKED
        iptables -t mangle -A PREROUTING -m conntrack --ctstate NEW
        iptables -t mangle -A PREROUTING -m conntrack --ctstate UNTRACKED
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        eth0 < udp 10.0.0.2:4000 10.1.0.2:99
        iptables-save -c -t raw
        iptables-save -c -t mangle
        conntrack -L
        ",
    );
}

#[test]
fn d02_nat_is_asked_once_for_each_side_while_the_flow_is_new() {
    check(
        "d02",
        "
        iptables -t nat -A PREROUTING -p udp --dport 53 -j DNAT --to-destination 10.1.0.2:5353
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        iptables -t nat -F PREROUTING
        iptables -t nat -A PREROUTING -p udp --dport 53 -j DNAT --to-destination 10.1.0.3:5353
        iptables -t nat -A POSTROUTING -p udp -j MASQUERADE
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        eth0 < udp 10.0.0.2:4001 10.96.0.1:53
        iptables-save -c -t nat
        conntrack -L
        ",
    );
}

/// A flow older than the nat table is NEW and without a binding, but confirmed: its tuples stay.
#[test]
fn d02_a_flow_older_than_the_nat_table_is_not_translated() {
    check(
        "d02_older",
        "
        iptables -A FORWARD -m conntrack --ctstate NEW
        eth0 < udp 10.0.0.2:4000 10.1.0.9:53
        iptables -t nat -A PREROUTING -p udp -j DNAT --to-destination 10.1.0.2
        eth0 < udp 10.0.0.2:4000 10.1.0.9:53
        eth0 < udp 10.0.0.2:4000 10.1.0.9:53
        iptables-save -c -t nat
        iptables-save -c -t filter
        conntrack -L
        ",
    );
}

#[test]
fn d03_a_syn_that_is_sent_again_is_new_while_nat_is_not_asked() {
    check(
        "d03",
        "
        iptables -t nat -A PREROUTING -p tcp -d 10.96.0.1 -j MARK --set-mark 5
        iptables -t nat -A PREROUTING -p tcp -d 10.96.0.1 -j DNAT --to-destination 10.1.0.2:8080
        iptables -A FORWARD -m conntrack --ctstate NEW
        iptables -A FORWARD -m mark --mark 5
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S
        conntrack -L
        sleep 2
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S
        conntrack -L
        eth1 < tcp 10.1.0.2:8080 10.0.0.2:4000 S. seq=5000 ack=1001
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 . seq=1001 ack=5001
        iptables-save -c -t nat
        iptables-save -c -t filter
        conntrack -L
        ",
    );
}

#[test]
fn d03_one_way_udp_stays_new_until_a_reply() {
    check(
        "d03_udp",
        "
        iptables -t nat -A PREROUTING -p udp -d 10.96.0.1 -j DNAT --to-destination 10.1.0.2:53
        iptables -A FORWARD -m conntrack --ctstate NEW
        iptables -A FORWARD -m conntrack --ctstate ESTABLISHED
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        eth1 < udp 10.1.0.2:53 10.0.0.2:4000
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        iptables-save -c -t nat
        iptables-save -c -t filter
        ",
    );
}

/// Two flows keep their ports if these are free, and a rule that leaves no choice drops a packet whose port is taken.
/// Port searches whose first step the kernel draws are recorded (`sim/recordings/nat.txt`).
#[test]
fn d05_a_port_is_kept_if_it_is_free() {
    check(
        "d05_kept",
        "
        iptables -t nat -A POSTROUTING -s 10.0.0.2 -j SNAT --to-source 10.1.0.1
        iptables -t nat -A POSTROUTING -s 10.0.0.3 -p udp -j SNAT --to-source 10.1.0.1:4000
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        eth0 < udp 10.0.0.2:4001 10.1.0.2:53
        eth0 < udp 10.0.0.3:7 10.1.0.2:53
        eth0 < udp 10.0.0.3:7 10.1.0.2:54
        conntrack -L
        ",
    );
}

/// A range of one port: a TIME_WAIT flow is replaced only by a SYN with a later sequence number.
#[test]
fn d05_a_closed_flow_gives_way() {
    check(
        "d05",
        "
        iptables -t nat -A POSTROUTING -p tcp -j SNAT --to-source 10.1.0.1:5000-5000
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 S seq=1000
        eth1 < tcp 10.1.0.2:80 10.1.0.1:5000 S. seq=5000 ack=1001
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 . seq=1001 ack=5001
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 S seq=9000
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 F. seq=1001 ack=5001
        eth1 < tcp 10.1.0.2:80 10.1.0.1:5000 F. seq=5001 ack=1002
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 . seq=1002 ack=5002
        conntrack -L
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 S seq=900
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 S seq=9000
        conntrack -L
        ",
    );
}

#[test]
fn d08_a_packet_that_filter_drops_leaves_nothing() {
    check(
        "d08",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -m statistic --mode nth --every 2 --packet 0 -p udp -j DNAT --to-destination 10.1.0.2
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.3
        iptables -A FORWARD -d 10.1.0.2 -j DROP
        iptables -t mangle -A POSTROUTING -p udp --dport 99 -j DROP
        iptables -A INPUT -p udp --dport 99 -j DROP
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        conntrack -L
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        conntrack -L
        eth0 < udp 10.0.0.2:4000 10.1.0.9:99
        eth0 < udp 10.0.0.2:4000 10.0.0.1:99
        conntrack -L
        iptables-save -c -t nat
        ",
    );
}

/// Packets of one flow that wait for a neighbour between PREROUTING and POSTROUTING of a bridge are confirmed one after
/// the other, each with its own entry.
const BRIDGE_THAT_QUEUES: &str = "
    ip addr del 10.1.0.1/24 dev eth1
    ip addr del 10.2.0.1/24 dev eth2
    ip link add br0 address 02:00:00:00:01:01 type bridge
    ip link set eth1 master br0
    ip link set eth2 master br0
    ip addr add 10.1.0.1/24 dev br0
";

#[test]
fn d09_of_two_tcp_packets_that_begin_a_flow_the_later_is_dropped() {
    check(
        "d09_tcp",
        &format!(
            "{BRIDGE_THAT_QUEUES}
            iptables -t nat -A PREROUTING -d 10.96.0.1 -j DNAT --to-destination 10.1.0.7
            eth1 < tcp 10.1.0.2:4000 10.96.0.1:80 S
            eth1 < tcp 10.1.0.2:4000 10.96.0.1:80 S
            conntrack -L
            eth2 < arp reply 10.1.0.7 is-at 02:07 to 10.1.0.1
            conntrack -L
            conntrack -S
            iptables-save -c -t nat
            "
        ),
    );
}

#[test]
fn d09_of_two_udp_packets_that_begin_a_flow_both_pass() {
    check(
        "d09_udp",
        &format!(
            "{BRIDGE_THAT_QUEUES}
            iptables -t nat -A PREROUTING -d 10.96.0.1 -j DNAT --to-destination 10.1.0.7
            eth1 < udp 10.1.0.2:4000 10.96.0.1:53
            eth1 < udp 10.1.0.2:4000 10.96.0.1:53 len=5
            conntrack -L
            eth2 < arp reply 10.1.0.7 is-at 02:07 to 10.1.0.1
            conntrack -L
            conntrack -S
            iptables-save -c -t nat
            "
        ),
    );
}

/// Two servers for one request: the later reply gets an entry with only the reply direction, for one second.
#[test]
fn d09_a_udp_flow_to_two_servers_is_known_by_its_replies() {
    check(
        "d09_servers",
        &format!(
            "{BRIDGE_THAT_QUEUES}
            iptables -t nat -A PREROUTING -d 10.96.0.1 -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 10.1.0.7
            iptables -t nat -A PREROUTING -d 10.96.0.1 -j DNAT --to-destination 10.1.0.8
            eth1 < udp 10.1.0.2:4000 10.96.0.1:53
            eth1 < udp 10.1.0.2:4000 10.96.0.1:53 len=5
            eth2 < arp reply 10.1.0.7 is-at 02:07 to 10.1.0.1
            eth2 < arp reply 10.1.0.8 is-at 02:08 to 10.1.0.1
            conntrack -L
            eth2 < udp 10.1.0.8:53 10.1.0.2:4000 len=6 to=01:02
            eth2 < udp 10.1.0.7:53 10.1.0.2:4000 len=7 to=01:02
            conntrack -L
            sleep 2
            eth2 < udp 10.1.0.8:53 10.1.0.2:4000 len=8 to=01:02
            conntrack -L
            conntrack -S
            "
        ),
    );
}

#[test]
fn d11_a_packet_without_an_entry_passes_untranslated() {
    check(
        "d11",
        "
        iptables -t nat -A PREROUTING -d 10.1.0.9 -j DNAT --to-destination 10.1.0.2
        iptables -t nat -A POSTROUTING -j MASQUERADE
        iptables -A FORWARD -m conntrack --ctstate INVALID
        eth0 < icmp 10.0.0.2 10.1.0.9 0/0
        eth0 < tcp 10.0.0.2:4000 10.1.0.9:80 R
        eth0 < udp 10.0.0.2:4000 10.1.0.9:53 badsum
        eth0 < udp 10.0.0.2:4000 10.1.0.9:53
        iptables-save -c -t nat
        iptables-save -c -t filter
        conntrack -L
        conntrack -S
        ",
    );
}

/// The TCP state transitions are recorded; this is their effect on NAT: the SYN that ends a TIME_WAIT is load-balanced
/// anew.
#[test]
fn d12_a_syn_in_time_wait_is_balanced_afresh() {
    check(
        "d12",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 10.1.0.2
        iptables -t nat -A PREROUTING -d 10.96.0.1 -j DNAT --to-destination 10.1.0.3
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S seq=1000
        eth1 < tcp 10.1.0.2:80 10.0.0.2:4000 S. seq=5000 ack=1001
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 . seq=1001 ack=5001
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 F. seq=1001 ack=5001
        eth1 < tcp 10.1.0.2:80 10.0.0.2:4000 F. seq=5001 ack=1002
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 . seq=1002 ack=5002
        conntrack -L
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S seq=9000
        conntrack -L
        iptables-save -c -t nat
        ",
    );
}

#[test]
fn d14_other_protocols_have_ten_minutes() {
    check(
        "d14",
        "
        iptables -A FORWARD -m conntrack --ctstate NEW
        eth0 < ip 10.0.0.2 10.1.0.2 253
        eth1 < ip 10.1.0.2 10.0.0.2 253
        eth0 < icmp 10.0.0.2 10.1.0.2 8/0
        conntrack -L
        ",
    );
}

#[test]
fn d15_an_error_is_related_if_it_goes_to_the_peer_of_its_flow() {
    check(
        "d15",
        "
        iptables -t nat -A PREROUTING -p udp -d 10.96.0.1 -j DNAT --to-destination 10.1.0.2
        iptables -t nat -A POSTROUTING -p udp -j MASQUERADE
        iptables -A FORWARD -m conntrack --ctstate RELATED
        iptables -A FORWARD -m conntrack --ctstate INVALID
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53 len=20
        eth1 < error 10.1.0.2 10.1.0.1 3/3 about udp 10.1.0.1:4000 10.1.0.2:53 len=20 ttl=60
        eth1 < error 10.1.0.9 10.1.0.1 3/1 quote=28 about udp 10.1.0.1:4000 10.1.0.2:53 len=20 ttl=60
        eth1 < error 10.1.0.2 10.0.0.2 3/3 about udp 10.1.0.1:4000 10.1.0.2:53 len=20 ttl=60
        eth1 < error 10.1.0.2 10.1.0.1 3/3 about udp 10.1.0.1:4444 10.1.0.2:53 len=20 ttl=60
        eth1 < error 10.1.0.2 10.1.0.1 5/1 about udp 10.1.0.1:4000 10.1.0.2:53 len=20 ttl=60
        iptables-save -c -t filter
        iptables-save -c -t nat
        ",
    );
}
