//! D-23: REJECT. For ICMP rate limits see `kernel_icmp_limit.rs`.

use crate::check;

#[test]
fn d23_where_reject_may_stand() {
    check(
        "d23_where",
        "
        iptables -t nat -A PREROUTING -j REJECT
        iptables -t mangle -A FORWARD -j REJECT
        iptables -t raw -A PREROUTING -j REJECT
        iptables -A FORWARD -j REJECT --reject-with tcp-reset
        iptables -A FORWARD -p udp -j REJECT --reject-with tcp-reset
        iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset
        iptables -A INPUT -j REJECT
        iptables -A OUTPUT -j REJECT
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d23_the_sender_is_told_port_unreachable() {
    check(
        "d23_icmp",
        "
        iptables -A FORWARD -p udp --dport 54 -j REJECT --reject-with icmp-admin-prohibited
        iptables -A FORWARD -j REJECT
        iptables -A INPUT -j REJECT
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=40 tos=8
        eth0 < udp 10.0.0.3:4000 10.1.0.2:54
        eth0 < tcp 10.0.0.4:4000 10.1.0.2:80 S
        eth0 < udp 10.0.0.5:4000 10.0.0.1:53
        eth0 < ip 10.0.0.6 10.1.0.2 253
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d23_who_is_not_told() {
    check(
        "d23_silent",
        "
        iptables -A FORWARD -p tcp --dport 81 -j REJECT --reject-with tcp-reset
        iptables -A FORWARD -j REJECT
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 badsum
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 S badsum
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:81 S badsum
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:81 R
        eth0 < icmp 10.0.0.4 10.1.0.2 8/0 badsum
        eth0 < error 10.0.0.5 10.1.0.2 3/3 about udp 10.1.0.2:1 10.0.0.5:2
        eth0 < udp 10.0.0.6:4000 10.1.0.2:53 len=64 part=40-72
        eth0 < udp 10.0.0.6:4000 10.1.0.2:53 len=64 part=0-40
        eth0 < udp 10.0.0.7:4000 10.1.0.2:53 to=broadcast
        iptables-save -c -t filter
        ",
    );
}

/// Neither a broadcast at IP nor one at Ethernet alone.
#[test]
fn d23_a_broadcast_is_not_answered() {
    check(
        "d23_broadcast",
        "
        iptables -A INPUT -p udp -j REJECT
        eth0 < udp 10.0.0.7:4000 10.0.0.255:53 to=broadcast
        eth0 < udp 10.0.0.7:4000 10.0.0.1:53 to=broadcast
        eth0 < udp 10.0.0.7:4000 10.0.0.1:53
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d23_a_reset_leaves_by_output_as_the_other_direction_of_the_flow() {
    check(
        "d23_reset",
        "
        iptables -A FORWARD -p tcp --dport 80 -j REJECT --reject-with tcp-reset
        iptables -A OUTPUT -p tcp --tcp-flags RST RST -m conntrack --ctdir REPLY
        iptables -A OUTPUT -p tcp --tcp-flags RST RST -m conntrack --ctstate ESTABLISHED
        iptables -A OUTPUT -p tcp --tcp-flags RST RST -m conntrack --ctstate NEW
        iptables -A OUTPUT -p tcp --tcp-flags RST RST -m conntrack --ctstate RELATED
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 S
        eth0 < tcp 10.0.0.3:4000 10.1.0.2:80 P. seq=77 ack=99 len=10
        conntrack -L
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d23_a_reset_sets_the_entry_closing() {
    check(
        "d23_closing",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p tcp -j DNAT --to-destination 10.1.0.2:8080
        iptables -N R
        iptables -A FORWARD -j R
        iptables -A OUTPUT -p tcp --tcp-flags RST RST -m conntrack --ctdir REPLY
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 S
        eth1 < tcp 10.1.0.2:8080 10.0.0.2:4000 S. seq=5000 ack=1001
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 . seq=1001 ack=5001
        conntrack -L
        iptables -A R -p tcp -m conntrack --ctdir ORIGINAL -j REJECT --reject-with tcp-reset
        eth0 < tcp 10.0.0.2:4000 10.96.0.1:80 P. seq=1001 ack=5001 len=10
        conntrack -L
        iptables-save -c -t filter
        ",
    );
}

/// The error for a DNATed flow comes from the address that the client knows.
#[test]
fn d23_an_error_about_a_translated_packet_names_what_its_sender_knows() {
    check(
        "d23_dnat",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.2:5353
        iptables -A FORWARD -p udp -j REJECT
        iptables -A OUTPUT -p icmp -m conntrack --ctstate RELATED
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53 len=30
        conntrack -L
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d23_on_a_bridge_the_answer_is_injected_there() {
    check(
        "d23_bridge",
        "
        ip addr del 10.1.0.1/24 dev eth1
        ip addr del 10.2.0.1/24 dev eth2
        ip link add br0 address 02:00:00:00:01:01 type bridge
        ip link set eth1 master br0
        ip link set eth2 master br0
        ip addr add 10.1.0.1/24 dev br0
        ip neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev br0
        iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset
        iptables -A FORWARD -p udp -j REJECT
        iptables -A OUTPUT
        eth1 < tcp 10.1.0.2:4000 10.1.0.7:80 S to=02:07
        eth1 < udp 10.1.0.2:4000 10.1.0.7:53 to=02:07
        iptables-save -c -t filter
        ",
    );
}
