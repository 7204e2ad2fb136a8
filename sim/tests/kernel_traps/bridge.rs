//! D-46 and D-47: bridged frames at the IP hooks, and hairpin mode.

use crate::check;

const BRIDGE: &str = "
    ip addr del 10.1.0.1/24 dev eth1
    ip addr del 10.2.0.1/24 dev eth2
    ip link add br0 address 02:00:00:00:01:01 type bridge
    ip link set eth1 master br0
    ip link set eth2 master br0
    ip addr add 10.1.0.1/24 dev br0
    ip neigh replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev br0
    ip neigh replace 10.1.0.7 lladdr 02:00:00:00:02:07 dev br0
    iptables -t mangle -A PREROUTING
    iptables -t mangle -A INPUT
    iptables -t mangle -A FORWARD -i br0 -o br0
    iptables -t mangle -A FORWARD -m physdev --physdev-is-bridged --physdev-in eth1 --physdev-out eth2
    iptables -t mangle -A FORWARD -i br0 -o eth0
    iptables -t mangle -A POSTROUTING
    iptables -t mangle -A POSTROUTING -o br0
";

fn bridged(name: &str, case: &str) {
    check(name, &format!("{BRIDGE}{case}\niptables-save -c -t mangle\nconntrack -L"));
}

#[test]
fn d46_a_bridged_frame_passes_the_ip_hooks_and_keeps_its_ttl() {
    bridged(
        "d46_bridged",
        "
        iptables -A FORWARD -m conntrack --ctstate NEW
        eth2 < udp 10.1.0.7:9 10.1.0.2:9 from=02:07 to=01:02
        eth1 < udp 10.1.0.2:4000 10.1.0.7:53 from=01:02 to=02:07 ttl=1
        eth1 < udp 10.1.0.2:4000 10.1.0.7:53 from=01:02 to=02:07 ttl=9 len=1400
        sysctl -w net.bridge.bridge-nf-call-iptables=0
        eth1 < udp 10.1.0.2:4000 10.1.0.7:53 from=01:02 to=02:07",
    );
}

#[test]
fn d46_dnat_to_the_same_bridge_goes_on_bridged_with_a_new_mac() {
    bridged(
        "d46_dnat",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.7:5353
        eth2 < udp 10.1.0.7:9 10.1.0.2:9 from=02:07 to=01:02
        eth1 < udp 10.1.0.2:4000 10.96.0.1:53 from=01:02 to=01:01
        eth2 < udp 10.1.0.7:5353 10.1.0.2:4000 from=02:07 to=01:02",
    );
}

/// The route to the bridge itself does not help if the host does not forward.
#[test]
fn d46_dnat_without_forwarding() {
    bridged(
        "d46_no_forwarding",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.7:5353
        sysctl -w net.ipv4.ip_forward=0
        eth1 < udp 10.1.0.2:4000 10.96.0.1:53 from=01:02 to=01:01",
    );
}

#[test]
fn d46_dnat_to_elsewhere_is_handed_up_and_prerouting_is_not_repeated() {
    bridged(
        "d46_up",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.0.0.2:5353
        iptables -t nat -A PREROUTING -d 10.1.0.7 -p udp -j DNAT --to-destination 10.0.0.2:5353
        eth1 < udp 10.1.0.2:4000 10.96.0.1:53 from=01:02 to=01:01
        eth1 < udp 10.1.0.2:4001 10.1.0.7:53 from=01:02 to=02:07
        eth0 < udp 10.0.0.2:5353 10.1.0.2:4000",
    );
}

#[test]
fn d46_dnat_to_the_host_itself() {
    bridged(
        "d46_local",
        "
        listen udp 10.1.0.1:53
        iptables -t nat -A PREROUTING -d 10.1.0.7 -p udp -j DNAT --to-destination 10.1.0.1:53
        eth1 < udp 10.1.0.2:4000 10.1.0.7:99 from=01:02 to=02:07",
    );
}

#[test]
fn d46_masquerade_of_bridged_frames() {
    bridged(
        "d46_masquerade",
        "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.7:5353
        iptables -t nat -A POSTROUTING -s 10.1.0.2 -j MASQUERADE
        eth2 < udp 10.1.0.7:9 10.1.0.1:9 from=02:07 to=01:01
        eth1 < udp 10.1.0.2:4000 10.96.0.1:53 from=01:02 to=01:01
        eth2 < udp 10.1.0.7:5353 10.1.0.1:4000 from=02:07 to=01:01",
    );
}

/// A Pod connects to its own Service: the frame leaves through its ingress port, if the port allows it.
#[test]
fn d47_out_of_the_port_of_ingress_only_in_hairpin_mode() {
    let case = "
        iptables -t nat -A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.1.0.2:5353
        iptables -t nat -A POSTROUTING -s 10.1.0.2 -d 10.1.0.2 -j MASQUERADE
        eth1 < udp 10.1.0.2:4000 10.96.0.1:53 from=01:02 to=01:01
        conntrack -L
        bridge link set dev eth1 hairpin on
        eth1 < udp 10.1.0.2:4001 10.96.0.1:53 from=01:02 to=01:01
        eth1 < udp 10.1.0.2:5353 10.1.0.1:4001 from=01:02 to=01:01";
    bridged("d47", case);
}

/// Frames with an unknown destination are flooded, except to the ingress port; in hairpin mode there as well.
#[test]
fn d47_flooding() {
    bridged(
        "d47_flood",
        "
        eth1 < udp 10.1.0.2:4000 10.1.0.8:53 from=01:02 to=02:08
        bridge link set dev eth1 hairpin on
        eth1 < udp 10.1.0.2:4001 10.1.0.8:53 from=01:02 to=02:08",
    );
}
