//! D-06, D-07, D-16, D-17: address selection of NAT, devices bound to flows, and NAT of local packets.

use crate::check;

#[test]
fn d06_masquerade_takes_the_first_primary_address_towards_the_next_hop() {
    check(
        "d06",
        "
        iptables -t nat -A POSTROUTING -j MASQUERADE
        ip addr add 10.1.0.77/24 dev eth1
        ip addr add 10.3.0.1/24 dev eth1
        ip neigh replace 10.3.0.5 lladdr 02:00:00:00:01:05 dev eth1
        ip route add 10.9.0.0/24 via 10.1.0.2 src 10.1.0.77
        ip route add 10.9.1.0/24 via 10.3.0.5
        ip route add 10.9.2.9/32 dev eth1
        ip neigh replace 10.9.2.9 lladdr 02:00:00:00:01:06 dev eth1
        eth0 < udp 10.0.0.2:4000 10.9.0.9:53
        eth0 < udp 10.0.0.2:4000 10.9.1.9:53
        eth0 < udp 10.0.0.2:4000 10.9.2.9:53
        conntrack -L
        ",
    );
}

#[test]
fn d06_a_device_without_address_takes_that_of_another() {
    check(
        "d06_other",
        "
        iptables -t nat -A POSTROUTING -j MASQUERADE
        ip addr del 10.2.0.1/24 dev eth2
        ip route add 10.9.0.0/24 dev eth2
        ip neigh replace 10.9.0.9 lladdr 02:00:00:00:02:09 dev eth2
        eth0 < udp 10.0.0.2:4000 10.9.0.9:53
        conntrack -L
        ",
    );
}

/// Packets without a source address, such as those of a DHCP client, are left alone.
#[test]
fn d06_without_any_address_packets_are_dropped() {
    check(
        "d06_none",
        "
        iptables -t nat -A POSTROUTING -j MASQUERADE
        ip addr del 10.0.0.1/24 dev eth0
        ip addr del 10.1.0.1/24 dev eth1
        ip addr del 10.2.0.1/24 dev eth2
        ip route add 10.1.0.0/24 dev eth1
        ip neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev eth1
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        conntrack -L
        iptables-save -c -t nat
        ip route add 255.255.255.255/32 dev eth1
        send udp 68 255.255.255.255:67
        conntrack -L
        iptables-save -c -t nat
        ",
    );
}

#[test]
fn d07_a_masqueraded_flow_ends_when_its_device_changes() {
    check(
        "d07",
        "
        iptables -t nat -A POSTROUTING -d 10.9.0.9 -j MASQUERADE
        iptables -t nat -A POSTROUTING -d 10.9.0.8 -j SNAT --to-source 10.1.0.1
        ip route add 10.9.0.0/24 via 10.1.0.2
        eth0 < udp 10.0.0.2:4000 10.9.0.9:53
        eth0 < udp 10.0.0.2:4000 10.9.0.8:53
        ip route replace 10.9.0.0/24 via 10.2.0.2
        eth0 < udp 10.0.0.2:4000 10.9.0.9:53
        conntrack -L
        eth0 < udp 10.0.0.2:4000 10.9.0.9:53
        eth0 < udp 10.0.0.2:4000 10.9.0.8:53
        conntrack -L
        ",
    );
}

#[test]
fn d07_masqueraded_flows_go_with_the_device_and_with_the_address() {
    check(
        "d07_flush",
        "
        iptables -t nat -A POSTROUTING -p udp -j MASQUERADE
        iptables -t nat -A POSTROUTING -p tcp -j SNAT --to-source 10.1.0.1
        ip addr add 10.3.0.1/24 dev eth2
        ip neigh replace 10.3.0.2 lladdr 02:00:00:00:02:02 dev eth2
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53
        eth0 < tcp 10.0.0.2:4000 10.1.0.2:80 S
        eth0 < udp 10.0.0.2:4001 10.2.0.2:53
        eth0 < udp 10.0.0.2:4002 10.3.0.2:53
        ip link set eth1 down
        sleep 0.2
        conntrack -L
        ip addr del 10.2.0.1/24 dev eth2
        sleep 0.2
        conntrack -L
        ",
    );
}

#[test]
fn d16_output_is_routed_again_with_the_source_that_it_has() {
    check(
        "d16",
        "
        iptables -t nat -A OUTPUT -d 10.0.0.9 -p udp -j DNAT --to-destination 10.1.0.2:5353
        iptables -t nat -A OUTPUT -d 127.0.0.1 -p udp -j DNAT --to-destination 10.1.0.3:5353
        iptables -A OUTPUT -o eth1
        iptables -t mangle -A POSTROUTING -o eth1
        send udp 4000 10.0.0.9:53
        conntrack -L
        eth1 < udp 10.1.0.2:5353 10.0.0.1:4000
        send udp 4001 127.0.0.1:53
        sysctl -w net.ipv4.conf.eth1.route_localnet=1
        send udp 4002 127.0.0.1:53
        iptables-save -c -t nat
        iptables-save -c -t filter
        iptables-save -c -t mangle
        conntrack -L
        ",
    );
}

/// A process on the node connects to a VIP, and is masqueraded on output.
#[test]
fn d16_a_vip_from_the_host_itself() {
    check(
        "d16_vip",
        "
        ip route add 10.96.0.0/16 via 10.0.0.9
        iptables -t nat -A OUTPUT -d 10.96.0.1 -p udp -j MARK --or-mark 16384
        iptables -t nat -A OUTPUT -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.2:5353
        iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
        send udp 4000 10.96.0.1:53
        conntrack -L
        iptables-save -c -t nat
        ",
    );
}

#[test]
fn d17_what_is_delivered_can_have_its_source_translated() {
    check(
        "d17",
        "
        iptables -t nat -A INPUT -p udp -j SNAT --to-source 10.0.0.9
        listen udp 10.0.0.1:53
        eth0 < udp 10.0.0.2:4000 10.0.0.1:53
        conntrack -L
        iptables-save -c -t nat
        ",
    );
}

#[test]
fn d49_a_packet_to_oneself_passes_all_hooks_with_one_entry() {
    check(
        "d49",
        "
        listen udp 127.0.0.1:53
        iptables -t raw -A OUTPUT -p udp --dport 53 -m conntrack --ctstate INVALID
        iptables -t raw -A PREROUTING -p udp --dport 53 -m conntrack --ctstate NEW
        iptables -t raw -A PREROUTING -p udp --sport 53 -m conntrack --ctstate ESTABLISHED
        iptables -t mangle -A OUTPUT -p udp --dport 53 -j MARK --set-mark 7
        iptables -t mangle -A PREROUTING -i lo -m mark --mark 7
        iptables -t nat -A PREROUTING -p udp -j ACCEPT
        iptables -t nat -A OUTPUT -p udp -j ACCEPT
        iptables -t nat -A POSTROUTING -p udp -j ACCEPT
        iptables -t nat -A INPUT -p udp -j ACCEPT
        iptables -A INPUT -m conntrack --ctstate NEW
        iptables -A OUTPUT -m conntrack --ctstate NEW
        send udp 4000 127.0.0.1:53
        iptables-save -c -t raw
        iptables-save -c -t mangle
        iptables-save -c -t nat
        iptables-save -c -t filter
        conntrack -L
        ",
    );
}

/// 0.0.0.0 means the host itself: packets are sent from the loopback address to the same address.
#[test]
fn d49_a_packet_to_the_unspecified_address_is_one_to_oneself() {
    check(
        "d49_unspecified",
        "
        listen udp 127.0.0.1:53
        iptables -A OUTPUT -d 0.0.0.0 -p udp
        iptables -A OUTPUT -d 127.0.0.1 -p udp -m conntrack --ctstate NEW
        send udp 4000 0.0.0.0:53
        iptables-save -c -t filter
        conntrack -L
        ",
    );
}
