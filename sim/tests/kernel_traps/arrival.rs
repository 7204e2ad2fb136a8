//! D-40 to D-45: packets and ARP requests from the wire. For routing alone see `kernel_routing.rs`, for ARP alone
//! `kernel_arp.rs`.

use crate::check;

#[test]
fn d40_martians_are_judged_after_prerouting() {
    check(
        "d40",
        "
        listen udp 127.0.0.1:53
        iptables -t nat -A PREROUTING -p udp -d 127.0.0.9 -j DNAT --to-destination 10.1.0.2
        iptables -t nat -A PREROUTING -p udp -d 10.96.0.1 -j DNAT --to-destination 127.0.0.1:53
        iptables -A INPUT -p udp
        eth0 < udp 10.0.0.2:4000 127.0.0.9:53
        eth0 < udp 10.0.0.2:4000 127.0.0.8:53
        eth0 < udp 10.0.0.2:4000 10.96.0.1:53
        conntrack -L
        sysctl -w net.ipv4.conf.eth0.route_localnet=1
        eth0 < udp 10.0.0.2:4001 10.96.0.1:53
        iptables-save -c -t nat
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d40_the_reverse_path_is_judged_after_prerouting_by_the_larger_value() {
    check(
        "d40_rp_filter",
        "
        iptables -t raw -A PREROUTING -p udp
        iptables -A FORWARD -p udp
        eth0 < udp 10.2.0.9:4000 10.1.0.2:53
        sysctl -w net.ipv4.conf.all.rp_filter=1
        eth0 < udp 10.2.0.9:4000 10.1.0.2:53
        sysctl -w net.ipv4.conf.eth0.rp_filter=2
        eth0 < udp 10.2.0.9:4000 10.1.0.2:53
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        iptables-save -c -t raw
        iptables-save -c -t filter
        ",
    );
}

/// A node replies for its own VIP to a packet from its own address: only SNAT makes that packet acceptable.
#[test]
fn d41_an_own_address_is_no_source_from_the_wire() {
    check(
        "d41",
        "
        iptables -t raw -A PREROUTING -p udp
        iptables -A FORWARD -p udp
        eth0 < udp 10.0.0.1:4000 10.1.0.2:53 from=00:09
        eth0 < udp 10.1.0.1:4000 10.1.0.2:53 from=00:09
        sysctl -w net.ipv4.conf.eth0.accept_local=1
        eth0 < udp 10.0.0.1:4000 10.1.0.2:53 from=00:09
        iptables-save -c -t raw
        iptables-save -c -t filter
        ",
    );
}

#[test]
fn d42_loopback_addresses_come_from_the_loopback() {
    check(
        "d42",
        "
        listen udp 127.0.0.1:53
        eth0 < udp 127.0.0.1:4000 10.1.0.2:53 from=00:09
        eth0 < udp 10.0.0.2:4000 127.0.0.1:53
        eth0 < arp who-has 127.0.0.1 tell 10.0.0.2
        sysctl -w net.ipv4.conf.all.route_localnet=1
        eth0 < udp 127.0.0.1:4000 10.1.0.2:53 from=00:09
        eth0 < udp 10.0.0.2:4000 127.0.0.1:53
        eth0 < arp who-has 127.0.0.1 tell 10.0.0.2
        ",
    );
}

#[test]
fn d43_strict_and_loose_reverse_paths() {
    check(
        "d43",
        "
        sysctl -w net.ipv4.conf.all.rp_filter=1
        eth0 < udp 10.0.0.9:4000 10.1.0.2:53
        eth0 < udp 10.2.0.9:4000 10.1.0.2:53
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        sysctl -w net.ipv4.conf.all.rp_filter=2
        eth0 < udp 10.2.0.9:4000 10.1.0.2:53
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        ip route add 0.0.0.0/0 via 10.2.0.2
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        sysctl -w net.ipv4.conf.all.rp_filter=1
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        eth2 < udp 172.16.0.9:4000 10.1.0.2:53
        ip addr del 10.0.0.1/24 dev eth0
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        sysctl -w net.ipv4.conf.all.rp_filter=0
        eth0 < udp 172.16.0.9:4000 10.1.0.2:53
        ",
    );
}

#[test]
fn d44_ttl_before_mtu_before_decrement_before_forward() {
    check(
        "d44",
        "
        ip link set eth1 mtu 1000
        iptables -A FORWARD
        eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=1100 ttl=1 df
        eth0 < udp 10.0.0.3:4000 10.1.0.2:53 len=1100 ttl=9 df
        eth0 < udp 10.0.0.4:4000 10.1.0.2:53 len=900 ttl=2 df
        eth0 < udp 10.0.0.4:4000 10.1.0.2:53 len=900 ttl=1
        iptables-save -c -t filter
        iptables -A FORWARD -j REJECT
        eth0 < udp 10.0.0.5:4000 10.1.0.2:53 ttl=9
        iptables-save -c -t filter
        ",
    );
}

/// Bridges instead of dummy devices, which this kernel lacks.
#[test]
fn d45_any_own_address_is_answered_for_on_any_device() {
    check(
        "d45",
        "
        ip link add kube0 address 02:00:00:00:08:01 type bridge
        ip addr add 10.96.0.10/32 dev kube0
        ip route add local 10.97.0.0/16 dev lo
        eth0 < arp who-has 10.0.0.1 tell 10.0.0.2
        eth0 < arp who-has 10.1.0.1 tell 10.0.0.2
        eth0 < arp who-has 10.96.0.10 tell 10.0.0.2
        eth0 < arp who-has 10.97.1.2 tell 10.0.0.2
        eth0 < arp who-has 10.0.0.9 tell 10.0.0.2
        sysctl -w net.ipv4.conf.eth0.arp_ignore=1
        eth0 < arp who-has 10.0.0.1 tell 10.0.0.2
        eth0 < arp who-has 10.1.0.1 tell 10.0.0.2
        eth0 < arp who-has 10.96.0.10 tell 10.0.0.2
        eth0 < arp who-has 10.97.1.2 tell 10.0.0.2
        ",
    );
}

/// With icmp_errors_use_inbound_ifaddr, an error comes from the device by which the packet came, even if it leaves by
/// another one; but from a local address that the packet was sent to.
#[test]
fn d41_an_error_may_come_from_the_device_of_arrival() {
    check(
        "inbound_ifaddr",
        "
        iptables -A FORWARD -p tcp -j REJECT
        eth1 < udp 10.0.0.2:4000 10.2.0.2:53 ttl=1
        sysctl -w net.ipv4.icmp_errors_use_inbound_ifaddr=1
        eth1 < udp 10.0.0.3:4000 10.2.0.2:53 ttl=1
        eth1 < tcp 10.0.0.4:4000 10.2.0.2:80 S
        eth1 < udp 10.0.0.5:4000 10.2.0.1:53
        eth1 < udp 10.0.0.6:4000 10.9.0.1:53
        ",
    );
}
