//! D-18 to D-22: packet metadata, and the iptables engine.

use crate::{check, check_legacy};

#[test]
fn d18_a_veth_takes_the_entry_and_leaves_the_mark() {
    check(
        "d18",
        "
        ip link add va type veth peer name vb
        ip link set va up
        ip link set vb up
        ip addr add 10.5.0.1/24 dev va
        ip neigh replace 10.5.0.2 lladdr 02:00:00:00:09:02 dev va
        ip route add 10.6.0.0/24 via 10.5.0.2
        iptables -t mangle -A POSTROUTING -o va -m conntrack --ctstate NEW -j MARK --set-mark 7
        iptables -t raw -A PREROUTING -i vb -m mark --mark 7
        iptables -t raw -A PREROUTING -i vb -m conntrack --ctstate INVALID
        iptables -t raw -A PREROUTING -i vb -j DROP
        eth0 < udp 10.0.0.2:4000 10.6.0.9:53
        iptables-save -c -t mangle
        iptables-save -c -t raw
        ",
    );
}

#[test]
fn d18_a_namespace_takes_the_mark() {
    check(
        "d18_netns",
        "
        iptables -t raw -A PREROUTING -m mark --mark 7
        iptables -t raw -A PREROUTING -m mark --mark 0
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 mark=7
        iptables-save -c -t raw
        ",
    );
}

#[test]
fn d19_return_in_a_base_chain_means_its_policy() {
    check(
        "d19_policy",
        "
        iptables -P FORWARD DROP
        iptables -N A
        iptables -N B
        iptables -A FORWARD -p udp --dport 1 -j RETURN
        iptables -A FORWARD -p udp --dport 2 -j A
        iptables -A FORWARD -p udp --dport 3 -g A
        iptables -A FORWARD -p udp --dport 4 -j B
        iptables -A FORWARD -p udp --dport 5 -j LOG --log-prefix five
        iptables -A FORWARD -p udp --dport 5 -j MARK --set-mark 1
        iptables -A FORWARD -p udp -j ACCEPT
        iptables -A A -p udp -j MARK --set-mark 2
        iptables -A B -g A
        iptables -A B -j DROP
        eth0 < udp 10.0.0.2:4000 10.1.0.2:1
        eth0 < udp 10.0.0.2:4000 10.1.0.2:2
        eth0 < udp 10.0.0.2:4000 10.1.0.2:3
        eth0 < udp 10.0.0.2:4000 10.1.0.2:4
        eth0 < udp 10.0.0.2:4000 10.1.0.2:5
        iptables-save -c -t filter
        ",
    );
}

/// Without conntrack nothing reassembles fragments. `iptables-nft` expresses port matches as payload expressions, and
/// the kernel's fast path for two bytes does not check for a transport header (`nft_payload_fast_eval`,
/// net/netfilter/nf_tables_core.c): a later fragment has no port, and so its port is not 53.
#[test]
fn d19_later_fragments_match_no_port() {
    check_legacy(
        "d19_fragments",
        "
        iptables -A FORWARD -p udp --dport 53 -j ACCEPT
        iptables -A FORWARD -p udp ! --dport 53 -j ACCEPT
        iptables -A FORWARD -p tcp --dport 80 -j ACCEPT
        iptables -A FORWARD -p icmp --icmp-type 8 -j ACCEPT
        iptables -A FORWARD -p udp -m multiport --dports 53 -j ACCEPT
        iptables -A FORWARD -f -j ACCEPT
        iptables -A FORWARD -p 17 -j ACCEPT
        iptables -A FORWARD -j DROP
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 part=0-40
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=64 part=40-72
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 . len=64 part=0-40
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 . len=64 part=40-84
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 . len=64 part=8-84
        eth0 < icmp 10.0.0.2 10.1.0.2 8/0 len=64 part=40-72
        iptables-save -c -t filter
        ",
        &["[1:52] -A FORWARD -p udp -m udp ! --dport 53 -j ACCEPT", "[3:212] -A FORWARD -f -j ACCEPT"],
    );
}

/// A match drops a packet that is too short (`hotdrop`), whatever follows. Payload expressions of `iptables-nft` read
/// the available bytes and do not drop.
#[test]
fn d19_a_truncated_header_is_dropped_by_the_match() {
    check_legacy(
        "d19_hotdrop",
        "
        iptables -A FORWARD -p udp ! --dport 53
        iptables -A FORWARD -p tcp ! --dport 80
        iptables -A FORWARD -p icmp ! --icmp-type 8
        iptables -A FORWARD -j ACCEPT
        eth0 < ip 10.0.0.2 10.1.0.2 17 len=6
        eth0 < ip 10.0.0.2 10.1.0.2 6 len=16
        eth0 < ip 10.0.0.2 10.1.0.2 1 len=2
        eth0 < ip 10.0.0.2 10.1.0.2 253 len=2
        iptables-save -c -t filter
        ",
        &["[1:26] -A FORWARD -p udp -m udp ! --dport 53", "[3:84] -A FORWARD -j ACCEPT"],
    );
}

/// A match is evaluated only if those before it matched, and a rule only if it is reached.
#[test]
fn d20_statistic_is_asked_when_it_is_reached() {
    check(
        "d20",
        "
        iptables -A FORWARD -p udp -m statistic --mode nth --every 2 --packet 0 -m mark --mark 1
        iptables -A FORWARD -p udp -m mark --mark 1 -m statistic --mode nth --every 2 --packet 0
        iptables -A FORWARD -p udp --dport 53 -m statistic --mode nth --every 2 --packet 0
        iptables -A FORWARD -p udp --dport 53 -m statistic --mode nth --every 2 --packet 1 -j ACCEPT
        iptables -A FORWARD -p udp -m statistic --mode nth --every 3 --packet 2
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        eth0 < udp 10.0.0.2:4000 10.1.0.2:54
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        eth0 < udp 10.0.0.2:4000 10.1.0.2:54
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        iptables -A FORWARD -m statistic --mode random --probability 0.33333333349
        iptables-save -c -t filter
        ",
    );
}

/// `--probability P` matches `P * 2^31` of the numbers below 2^31. The bounds are five standard deviations of a
/// binomial distribution; a kernel or simulator with another definition is far outside.
#[test]
fn d20_random_matches_as_often_as_it_says() {
    const COUNT: u32 = 4000;
    let rule = "-A OUTPUT -p udp -m statistic --mode random --probability 0.25";
    let within = |matched: u32| (863..=1137).contains(&matched);
    let mut host = crate::dut::Counted::new(&format!("iptables {rule}"));
    assert!(within(host.send(COUNT)), "the simulator");
    for backend in crate::backends() {
        let tool = format!("iptables-{}", backend.name());
        let send = format!("for i in {{1..{COUNT}}}; do printf x > /dev/udp/127.0.0.1/9; done 2> /dev/null");
        let save = format!("ip link set lo up; {tool} {rule}; {send}; {tool}-save -c -t filter");
        let said = crate::netns::run(&[vec![save]]).concat().concat();
        let line = said.lines().find(|line| line.contains("statistic")).expect("the rule is there");
        let matched = line[1..line.find(':').unwrap()].parse().unwrap();
        assert!(within(matched), "{tool}: {matched}");
    }
}

#[test]
fn d21_recent_reaps_and_names_its_lists() {
    check(
        "d21",
        "
        iptables -A FORWARD -p udp --dport 1 -m recent --name A --set
        iptables -A FORWARD -p udp --dport 2 -m recent --name A --rcheck --seconds 1 --reap
        iptables -A FORWARD -p udp --dport 3 -m recent --name A --rcheck
        iptables -A FORWARD -p udp --dport 3 -m recent --name B --rcheck
        iptables -A FORWARD -p udp --dport 4 -m recent --name A --update --hitcount 3
        iptables -A FORWARD -p udp --dport 5 -m recent ! --set --name A
        iptables -A FORWARD -p udp --dport 6 -m recent --name A --remove
        eth0 < udp 10.0.0.2:4000 10.1.0.2:3
        eth0 < udp 10.0.0.2:4000 10.1.0.2:1
        eth0 < udp 10.0.0.2:4000 10.1.0.2:3
        eth0 < udp 10.0.0.2:4000 10.1.0.2:2
        eth0 < udp 10.0.0.3:4000 10.1.0.2:2
        sleep 1.5
        eth0 < udp 10.0.0.2:4000 10.1.0.2:3
        eth0 < udp 10.0.0.2:4000 10.1.0.2:2
        eth0 < udp 10.0.0.2:4000 10.1.0.2:3
        eth0 < udp 10.0.0.3:4000 10.1.0.2:1
        sleep 1.5
        eth0 < udp 10.0.0.4:4000 10.1.0.2:2
        eth0 < udp 10.0.0.3:4000 10.1.0.2:3
        eth0 < udp 10.0.0.2:4000 10.1.0.2:4
        eth0 < udp 10.0.0.2:4000 10.1.0.2:5
        eth0 < udp 10.0.0.2:4000 10.1.0.2:1
        eth0 < udp 10.0.0.2:4000 10.1.0.2:4
        eth0 < udp 10.0.0.2:4000 10.1.0.2:1
        eth0 < udp 10.0.0.2:4000 10.1.0.2:4
        eth0 < udp 10.0.0.2:4000 10.1.0.2:4
        eth0 < udp 10.0.0.2:4000 10.1.0.2:6
        eth0 < udp 10.0.0.2:4000 10.1.0.2:6
        eth0 < udp 10.0.0.2:4000 10.1.0.2:3
        iptables-save -c -t filter
        ",
    );
}

/// A list holds a hundred addresses; a new one replaces the least recently seen.
#[test]
fn d21_a_full_list_forgets_whom_it_saw_longest_ago() {
    let set = |host: usize| format!("eth0 < udp 10.0.7.{host}:4000 10.1.0.2:1\n");
    let fill: String = (1..=100).map(set).collect();
    check(
        "d21_full",
        &format!(
            "
            iptables -A FORWARD -p udp --dport 1 -m recent --name A --set
            iptables -A FORWARD -p udp --dport 2 -m recent --name A --rcheck
            {fill}
            {}
            {}
            eth0 < udp 10.0.7.1:4000 10.1.0.2:2
            eth0 < udp 10.0.7.2:4000 10.1.0.2:2
            eth0 < udp 10.0.7.3:4000 10.1.0.2:2
            eth0 < udp 10.0.7.101:4000 10.1.0.2:2
            iptables-save -c -t filter
            ",
            set(1),
            set(101),
        ),
    );
}

/// Forwarding decrements the TTL of a packet, which is remembered as received.
#[test]
fn d21_the_ttl_is_that_before_forwarding() {
    check(
        "d21_ttl",
        "
        iptables -t mangle -A PREROUTING -p udp --dport 1 -m recent --name A --set
        iptables -A FORWARD -p udp -m recent --name A --rcheck --rttl
        iptables -t mangle -A POSTROUTING -p udp -m recent --name A --rcheck --rttl
        iptables -t mangle -A PREROUTING -p udp -m recent --name A --rcheck --rttl
        eth0 < udp 10.0.0.2:4000 10.1.0.2:1 ttl=50
        eth0 < udp 10.0.0.2:4000 10.1.0.2:2 ttl=50
        eth0 < udp 10.0.0.2:4000 10.1.0.2:2 ttl=51
        iptables-save -c -t filter
        iptables-save -c -t mangle
        ",
    );
}

#[test]
fn d22_local_is_what_the_local_table_says() {
    check(
        "d22",
        "
        ip link add kube0 address 02:00:00:00:08:01 type bridge
        ip addr add 10.96.0.10/32 dev kube0
        ip route add local 10.97.0.0/16 dev lo
        iptables -t mangle -A PREROUTING -m addrtype --dst-type LOCAL
        iptables -t mangle -A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-in
        iptables -t mangle -A PREROUTING -m addrtype ! --dst-type LOCAL
        iptables -t mangle -A PREROUTING -m addrtype --src-type LOCAL
        iptables -t mangle -A PREROUTING -m addrtype --dst-type BROADCAST
        eth0 < udp 10.0.0.2:4000 10.0.0.1:53 badsum
        eth0 < udp 10.0.0.2:4000 10.1.0.1:53 badsum
        eth0 < udp 10.0.0.2:4000 10.96.0.10:53 badsum
        eth0 < udp 10.0.0.2:4000 10.97.3.4:53 badsum
        iptables-save -c -t mangle
        eth0 < udp 10.0.0.2:4000 127.0.0.5:53
        eth0 < udp 10.0.0.2:4000 10.1.0.9:53
        eth0 < udp 10.1.0.1:4000 10.1.0.9:53
        eth0 < udp 10.0.0.2:4000 10.0.0.255:53 to=broadcast
        iptables-save -c -t mangle
        ",
    );
}
