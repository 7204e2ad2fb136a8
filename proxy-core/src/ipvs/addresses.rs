//! Addresses of the dummy device, and the text for `ip -batch`.

use super::set_table::Member;

/// The dummy device that has all VIPs. It stays down: its addresses are local all the same.
pub const DEVICE: &str = "kube-ipvs0";

/// The lines that add or delete (`verb`) these members of KUBE-IPVS-IPS.
///
/// kube-proxy: `EnsureAddressBind`, pkg/proxy/ipvs/netlink_linux.go: with the length of the whole address.
pub(super) fn batch<'a>(verb: &str, addresses: impl IntoIterator<Item = &'a Member>) -> String {
    let mut text = String::new();
    for member in addresses {
        let length = match member {
            Member::Address(address) if address.is_ipv6() => 128,
            Member::Address(_) => 32,
            Member::Socket(_) | Member::SocketAndSource(..) | Member::SocketAndNet(..) | Member::Port(_) => {
                unreachable!("KUBE-IPVS-IPS has addresses only")
            }
        };
        text += &format!("address {verb} {member}/{length} dev {DEVICE}\n");
    }
    text
}
