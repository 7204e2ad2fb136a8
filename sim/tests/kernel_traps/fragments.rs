//! D-01, D-19, D-23: fragments and their reassembly.

use crate::check;
use std::ops::Range;

/// Tracks nothing, but enables conntrack.
const TRACK: &str = "iptables -A FORWARD -p 253 -m conntrack --ctstate NEW\n";

/// Fragments stay separate as long as nothing needs whole packets.
#[test]
fn d01_without_conntrack_fragments_are_forwarded_one_by_one() {
    check(
        "frag_forwarded",
        "
        iptables -t raw -A PREROUTING -p udp
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 part=0-40
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 part=40-72
        ip link set eth1 mtu 68
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=0-48
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=48-72
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=3 df
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=4
        ip link set eth1 mtu 1400
        eth0 < ip 10.0.0.2 10.1.0.2 17 len=67008 id=5 part=65528-67008
        eth0 < ip 10.0.0.2 10.1.0.2 17 len=68000 id=6 part=65528-67008
        iptables-save -c -t raw
        ",
    );
}

/// Defragmentation has priority -400: raw sees one packet, NAT translates it, and it is refragmented on output.
#[test]
fn d01_conntrack_sees_whole_packets_before_raw() {
    check(
        "frag_conntrack",
        "
        iptables -t raw -A PREROUTING -p udp -m udp --dport 53 -m length --length 1428
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp --dport 53 -j DNAT --to-destination 10.1.0.2:5353
        iptables -A FORWARD -p udp --dport 5353
        iptables -A FORWARD -f
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53 len=1400 part=0-800
        conntrack -L
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53 len=1400 part=800-1408
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53 len=1400 id=2 part=800-1408
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53 len=1400 id=2 part=0-800
        eth1 < udp 10.1.0.2:5353 10.0.0.2:4000 len=1400 part=800-1408
        eth1 < udp 10.1.0.2:5353 10.0.0.2:4000 len=1400 part=0-800
        eth0 < udp 10.0.0.3:4000 10.96.0.1:53 len=1400 part=0-800
        conntrack -L
        iptables-save -c -t raw
        iptables-save -c -t nat
        iptables-save -c -t filter
        ",
    );
}

/// Overlapping fragments invalidate their datagram; duplicates are harmless.
#[test]
fn d01_fragments_that_contradict_each_other() {
    let part =
        |id: u8, part: &str| format!("eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id={id} part={part}\n");
    let datagram = |(id, parts): (u8, &&[&str])| parts.iter().map(|one| part(id, one)).collect::<String>();
    let datagrams: [&[&str]; 12] = [
        &["0-80", "0-80", "80-160", "160-240"],
        &["0-80", "40-120", "80-160", "160-240"],
        &["160-240", "80-160", "0-80"],
        &["160-240", "80-160", "80-240", "0-80"],
        &["80-160", "160-240", "80-240", "0-80"],
        &["0-80", "80-160", "0-160", "160-240"],
        &["0-80", "160-240", "0-240", "80-160"],
        &["160-240", "0-80", "16-40", "80-160"],
        &["0-80", "0-88", "80-160", "160-240"],
        &["0-160", "80-160", "160-240"],
        &["0-240", "0-80"],
        &["160-240", "0-200", "80-160"],
    ];
    let cases: String = (1..).zip(&datagrams).map(datagram).collect();
    check("frag_overlap", &format!("{TRACK}{cases}"));
}

/// Random fragments of datagrams, some of which fit together.
#[test]
fn d01_random_fragments() {
    let mut state = 1_u32;
    let mut below = |range: u32| {
        // Numerical Recipes; the high bits are better.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % range
    };
    let mut text = TRACK.to_owned();
    for id in 1..=40 {
        for _ in 0..2 + below(4) {
            let (a, b) = (below(5) * 24, below(5) * 24);
            let (from, to) = if a == b { (a, a + 24) } else { (a.min(b), a.max(b)) };
            let len = 24 * 4 - 8 - if below(8) == 0 { 24 } else { 0 };
            // A fragment that would start after the end becomes an empty last fragment.
            let to = to.min(len + 8).max(from + 8);
            if from < len + 8 {
                let packet = format!("udp 10.0.0.2:4000 10.1.0.2:53 len={len} id={id} part={from}-{to}");
                text.push_str(&format!("eth0 < {packet}\n"));
            }
        }
    }
    check("frag_random", &text);
}

#[test]
fn d01_what_is_wrong_about_ends() {
    check(
        "frag_ends",
        &format!(
            "{TRACK}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=1 part=40-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=92 id=1 part=80-100
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=1 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=92 id=2 part=80-96
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=2 part=40-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=2 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=3 part=0-44
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=3 part=40-80
            eth0 < ip 10.0.0.2 10.1.0.2 17 len=80 id=4 part=0-4
            eth0 < ip 10.0.0.2 10.1.0.2 17 len=40 id=4 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=5 tos=1 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=5 tos=0 part=40-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=6 tos=1 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=6 tos=3 part=40-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=7 ttl=9 part=40-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=72 id=7 ttl=5 part=0-40
            "
        ),
    );
}

/// A packet is sent in the fragments in which it was received, without their DF, if these fit.
#[test]
fn d01_the_geometry_of_fragments_is_kept() {
    check(
        "frag_geometry",
        &format!(
            "{TRACK}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=1 part=0-16
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=1 part=16-96
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=1 part=96-240
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=2 df part=160-240
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=2 df part=0-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=2 df part=80-160
            ip link set eth1 mtu 100
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=3 part=0-16
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=3 part=16-96
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=232 id=3 part=96-240
            "
        ),
    );
}

/// DF of the largest fragment forbids smaller fragments; DF of others is ignored.
#[test]
fn d44_fragments_with_df() {
    check(
        "frag_df",
        &format!(
            "{TRACK}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=152 id=1 df part=0-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=152 id=1 df part=80-160
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=152 id=2 part=0-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=152 id=2 df part=80-160
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=132 id=3 part=0-80
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=132 id=3 df part=80-140
            ip link set eth1 mtu 90
            eth0 < udp 10.0.0.3:4000 10.1.0.2:53 len=152 id=4 df part=0-80
            eth0 < udp 10.0.0.3:4000 10.1.0.2:53 len=152 id=4 df part=80-160
            eth0 < udp 10.0.0.4:4000 10.1.0.2:53 len=152 id=5 part=0-80
            eth0 < udp 10.0.0.4:4000 10.1.0.2:53 len=152 id=5 part=80-160
            eth0 < udp 10.0.0.4:4000 10.1.0.2:53 len=152 id=6
            eth0 < udp 10.0.0.5:4000 10.1.0.2:53 len=152 id=7 df
            "
        ),
    );
}

#[test]
fn d01_the_addressee_puts_fragments_together() {
    check(
        "frag_local",
        "
        listen udp 10.0.0.1:53
        iptables -t mangle -A PREROUTING -p udp
        iptables -t mangle -A INPUT -p udp
        eth0 < udp 10.0.0.2:4000 10.0.0.1:53 len=64 part=40-72
        eth0 < udp 10.0.0.2:4000 10.0.0.1:53 len=64 part=0-40
        eth0 < icmp 10.0.0.2 10.0.0.1 8/0 len=2000 part=0-1480
        eth0 < icmp 10.0.0.2 10.0.0.1 8/0 len=2000 part=1480-2008
        iptables-save -c -t mangle
        ",
    );
}

#[test]
fn d01_what_is_sent_is_fragmented_after_the_hooks() {
    check(
        "frag_output",
        "
        iptables -t nat -A POSTROUTING -p udp -j SNAT --to-source 10.1.0.77
        iptables -A OUTPUT -p udp -m length --length 3028
        send udp 4000 10.1.0.2:53 len=3000
        send udp 4001 10.1.0.2:53 len=1472
        send udp 4002 10.1.0.2:53 len=1473
        iptables-save -c -t filter
        conntrack -L
        ",
    );
}

/// Only the destination host reports missing fragments, and only if the first one arrived.
#[test]
fn d01_fragments_that_do_not_come() {
    check(
        "frag_timeout",
        "
        sysctl -w net.ipv4.ipfrag_time=1
        eth0 < udp 10.0.0.2:4000 10.0.0.1:53 len=64 id=1 part=0-40
        eth0 < udp 10.0.0.3:4000 10.0.0.1:53 len=64 id=2 part=40-72
        sleep 1.5
        iptables -A FORWARD -p 253 -m conntrack --ctstate NEW
        eth0 < udp 10.0.0.4:4000 10.0.0.1:53 len=64 id=3 part=0-40
        eth0 < udp 10.0.0.5:4000 10.1.0.2:53 len=64 id=4 part=0-40
        sleep 1.5
        eth0 < udp 10.0.0.4:4000 10.0.0.1:53 len=64 id=3 part=40-72
        eth0 < udp 10.0.0.5:4000 10.1.0.2:53 len=64 id=4 part=40-72
        ",
    );
}

/// The device of the last fragment, not of the first, decides if the sender is notified.
#[test]
fn d01_fragments_that_do_not_come_by_one_way() {
    check(
        "frag_timeout_device",
        "
        iptables -A FORWARD -p 253 -m conntrack --ctstate NEW
        sysctl -w net.ipv4.ipfrag_time=1
        sysctl -w net.ipv4.conf.eth1.rp_filter=1
        eth0 < udp 10.0.0.4:4000 10.0.0.1:53 len=152 id=1 part=0-40
        eth1 < udp 10.0.0.4:4000 10.0.0.1:53 len=152 id=1 part=40-80
        sleep 1.5
        eth1 < udp 10.0.0.5:4000 10.0.0.1:53 len=152 id=2 part=0-40
        eth0 < udp 10.0.0.5:4000 10.0.0.1:53 len=152 id=2 part=40-80
        sleep 1.5
        eth0 < udp 10.0.0.6:4000 10.0.0.1:53 len=152 id=3 part=0-40
        eth1 < udp 10.0.0.6:4000 10.0.0.1:53 len=152 id=3 part=0-40
        sleep 1.5
        ",
    );
}

/// Packets from the loopback carry their conntrack entry. Reassembly drops the reference.
#[test]
fn d01_fragments_by_the_loopback_let_go_of_their_entry() {
    check(
        "frag_loopback",
        "
        iptables -A OUTPUT -p udp -m conntrack --ctstate NEW
        ip link set lo mtu 1500
        listen udp 10.0.0.1:53
        send udp 4000 10.0.0.1:53 len=1800
        send udp 4001 10.0.0.1:9 len=4000
        conntrack -L use
        ",
    );
}

/// The first halves of datagrams with these ids, one per line.
fn beginnings(ids: Range<u32>) -> String {
    ids.map(|id| format!("eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id={id} part=0-40\n")).collect()
}

/// The number of other fragments of the same sender between two fragments of a datagram is limited.
#[test]
fn d01_fragments_that_are_too_far_apart() {
    let others = beginnings(100..104);
    check(
        "frag_distance",
        &format!(
            "{TRACK}
            sysctl -w net.ipv4.ipfrag_max_dist=4
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=1 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=100 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=1 part=40-72
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=0-40
            {others}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=40-72
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=0-40
            "
        ),
    );
}

/// Without that limit nothing is counted, and datagrams that began then are not counted later.
#[test]
fn d01_fragments_that_nobody_counts() {
    let (uncounted, counted) = (beginnings(100..106), beginnings(200..206));
    check(
        "frag_uncounted",
        &format!(
            "{TRACK}
            sysctl -w net.ipv4.ipfrag_max_dist=4
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=1 part=0-40
            sysctl -w net.ipv4.ipfrag_max_dist=0
            {uncounted}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=0-40
            sysctl -w net.ipv4.ipfrag_max_dist=4
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=1 part=40-72
            {counted}
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 id=2 part=40-72
            "
        ),
    );
}

/// With conntrack, the first fragment is not rejected because of its incomplete checksum.
#[test]
fn d23_a_fragmented_packet_is_refused_once() {
    check(
        "frag_reject",
        &format!(
            "{TRACK}
            iptables -A FORWARD -p udp -j REJECT
            iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 part=0-40
            eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 part=40-72
            eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 . len=64 ack=7 part=40-84
            eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 . len=64 ack=7 part=0-40
            iptables-save -c -t filter
            "
        ),
    );
}

#[test]
fn d46_fragments_on_a_bridge() {
    check(
        "frag_bridge",
        &format!(
            "
            ip addr del 10.1.0.1/24 dev eth1
            ip addr del 10.2.0.1/24 dev eth2
            ip link add br0 address 02:00:00:00:01:01 type bridge
            ip link set eth1 master br0
            ip link set eth2 master br0
            ip addr add 10.1.0.1/24 dev br0
            ip neigh replace 10.1.0.7 lladdr 02:00:00:00:02:07 dev br0
            eth2 < udp 10.1.0.7:9 10.1.0.2:9 from=02:07 to=01:02
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 len=152 from=01:02 to=02:07 part=0-80
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 len=152 from=01:02 to=02:07 part=80-160
            {TRACK}
            iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.7:5353
            iptables -t mangle -A FORWARD -p udp
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=2 len=152 from=01:02 to=02:07 part=0-80
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=2 len=152 from=01:02 to=02:07 part=80-160
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=3 len=152 df from=01:02 to=02:07 part=80-160
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=3 len=152 df from=01:02 to=02:07 part=0-80
            eth1 < udp 10.1.0.2:4001 10.96.0.1:53 id=4 len=152 from=01:02 to=01:01 part=0-80
            eth1 < udp 10.1.0.2:4001 10.96.0.1:53 id=4 len=152 from=01:02 to=01:01 part=80-160
            ip link set eth2 mtu 90
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=5 len=152 from=01:02 to=02:07
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=6 len=152 df from=01:02 to=02:07
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=7 len=62 from=01:02 to=02:07
            iptables-save -c -t mangle
            "
        ),
    );
}

/// The last port gets the packet itself, with the original fragments; the others get copies, which are fragmented anew.
#[test]
fn d46_fragments_that_a_bridge_floods() {
    check(
        "frag_flood",
        &format!(
            "
            ip addr del 10.0.0.1/24 dev eth0
            ip addr del 10.1.0.1/24 dev eth1
            ip addr del 10.2.0.1/24 dev eth2
            ip link add br0 address 02:00:00:00:01:01 type bridge
            ip link set eth0 master br0
            ip link set eth1 master br0
            ip link set eth2 master br0
            ip addr add 10.1.0.1/24 dev br0
            {TRACK}
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=2 len=232 from=01:02 to=02:07 part=0-16
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=2 len=232 from=01:02 to=02:07 part=16-96
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=2 len=232 from=01:02 to=02:07 part=96-240
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=3 len=232 df from=01:02 to=02:07 part=0-80
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=3 len=232 df from=01:02 to=02:07 part=80-160
            eth1 < udp 10.1.0.2:4000 10.1.0.7:53 id=3 len=232 df from=01:02 to=02:07 part=160-240
            "
        ),
    );
}
