//! Packets through rules written by the real kube-proxy.

use super::net::Net;
use crate::ct::PacketCt;
use crate::hook::{Family, Hook, Verdict};
use crate::netfilter::fixture::Seg;
use crate::packet::Packet;
use crate::tuple::Direction;
use crate::xtables::TableKind;
use crate::xtables::tests::text::{AFFINITY, with_jumps};

fn net() -> Net {
    let mut net = Net::new("");
    net.ns.xtables = with_jumps(Family::Ipv4);
    net.restore(AFFINITY);
    net
}

/// Destination of a SYN to the ClusterIP.
fn connect(net: &mut Net, from: &str) -> String {
    let mut packet = syn(net, from);
    net.track(Hook::Prerouting, &mut packet);
    assert_eq!(net.nat(Hook::Prerouting, &mut packet), Verdict::Accept);
    let PacketCt::Entry { id, .. } = packet.meta.ct else { panic!("not tracked") };
    let reply = net.ns.conntrack.entry(id).unwrap().tuple(Direction::Reply);
    format!("{}:{}", reply.src, reply.src_port())
}

fn syn(net: &mut Net, from: &str) -> Packet {
    net.packet(&Seg::new(from, "10.96.0.10:80", "S").bytes())
}

#[test]
fn affinity_sends_a_client_to_its_endpoint_until_it_was_away_too_long() {
    let mut net = net();
    let first = connect(&mut net, "10.244.9.9:1000");
    for port in 1001..1020 {
        net.sleep(59.0);
        assert_eq!(connect(&mut net, &format!("10.244.9.9:{port}")), first, "each connection renews it");
    }
    let mut seen = std::collections::BTreeSet::new();
    for port in 2000..2040 {
        net.sleep(61.0);
        seen.insert(connect(&mut net, &format!("10.244.9.9:{port}")));
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn what_comes_from_outside_the_cluster_is_marked_for_masquerading() {
    let mut net = net();
    for (from, mark) in [("10.244.9.9:1000", 0), ("192.168.7.7:1000", 0x4000)] {
        let mut packet = syn(&mut net, from);
        net.track(Hook::Prerouting, &mut packet);
        assert_eq!(net.eval(TableKind::Nat, Hook::Prerouting, &mut packet), Verdict::Accept);
        assert_eq!(packet.meta.mark, mark, "{from}");
    }
    assert_eq!(net.counted(TableKind::Nat, "KUBE-MARK-MASQ"), ["[1:40] -j MARK --set-xmark 0x4000/0x4000"]);
}
