//! IPVS of a namespace, from `ipvsadm`, `ipset` and `ip`.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use proxy_core::ipvs::DEVICE;

use super::lab::{LabError, LabNetns};
use crate::observation::IpvsObservation;

/// The virtual services, connections, sets and addresses of a namespace.
///
/// # Errors
/// If a tool fails or prints another format.
pub(super) fn list(netns: &LabNetns) -> Result<IpvsObservation, LabError> {
    let services = netns.run("ipvsadm", &["-Ln"], b"")?;
    let connections = netns.run("ipvsadm", &["-Lnc"], b"")?;
    let sets = netns.run("ipset", &["save"], b"")?;
    let addresses = addresses(&netns.run("ip", &["-oneline", "-family", "inet", "address"], b"")?);
    IpvsObservation::read(&services, &connections, &sets, addresses).map_err(|message| {
        netns.refused("ipvsadm -Ln".to_owned(), io::Error::new(io::ErrorKind::InvalidData, message))
    })
}

/// The addresses of `kube-ipvs0`: `2: kube-ipvs0    inet 10.96.0.10/32 scope global kube-ipvs0\ …`.
fn addresses(listing: &str) -> BTreeSet<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (device, _, address) = (words.next()?, words.next()?, words.next()?);
        (device == DEVICE).then(|| address.split('/').next()?.parse().ok()).flatten()
    };
    listing.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addresses_of_the_dummy_device_count() {
        let listing = "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n\
                       4: kube-ipvs0    inet 10.96.0.10/32 scope global kube-ipvs0\\       valid_lft forever\n\
                       4: kube-ipvs0    inet 10.96.0.9/32 scope global kube-ipvs0\\       valid_lft forever\n";
        let expected = ["10.96.0.9", "10.96.0.10"].map(|address| address.parse().expect("an address"));
        assert_eq!(addresses(listing), BTreeSet::from(expected));
    }
}
