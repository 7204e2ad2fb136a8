use super::*;
use crate::device::{DeviceKind, Scope};
use crate::wire::MacAddr;

fn devices() -> Devices {
    let mut devices = Devices::default();
    devices.add("lo", MacAddr::ZERO, u16::MAX, DeviceKind::Loopback);
    devices.add("eth0", MacAddr([2, 0, 0, 0, 0, 1]), 1500, DeviceKind::Dummy);
    devices.add("eth0.100", MacAddr([2, 0, 0, 0, 0, 2]), 1500, DeviceKind::Dummy);
    devices
}

const ETH0: DeviceId = DeviceId(2);

/// Writes values in order, then reads one back.
fn check(writes: &[(&str, &str)], name: &str, expected: &str) {
    let devices = devices();
    let mut sysctls = Sysctls::default();
    for (name, value) in writes {
        sysctls.set(&devices, name, value).unwrap();
    }
    assert_eq!(sysctls.get(&devices, name).unwrap(), expected, "{name} after {writes:?}");
}

#[test]
fn what_is_written_is_read() {
    check(&[], "net.ipv4.ip_default_ttl", "64");
    check(&[], "net.ipv4.ip_local_port_range", "32768\t60999");
    check(&[("net.ipv4.ip_local_port_range", "2000 3000")], "net.ipv4.ip_local_port_range", "2000\t3000");
    check(&[("net.ipv4.ip_local_port_range", "2000")], "net.ipv4.ip_local_port_range", "2000\t60999");
    check(&[], "net.ipv4.tcp_rmem", "4096\t131072\t6291456");
    check(&[("net.ipv4.tcp_rmem", "1 2\t3")], "net.ipv4.tcp_rmem", "1\t2\t3");
    check(&[("net.ipv4.tcp_rmem", "1 2")], "net/ipv4/tcp_rmem", "1\t2\t6291456");
    check(&[("net/ipv4/conf/eth0.100/rp_filter", "2")], "net.ipv4.conf.eth0.100.rp_filter", "2");
    check(&[("net.ipv4.conf.eth0/100.rp_filter", "2")], "net/ipv4/conf/eth0.100/rp_filter", "2");
    check(&[("net.ipv4.neigh.eth0.locktime", "0")], "net.ipv4.neigh.eth0.locktime", "0");
    check(&[("net.ipv4.conf.default.rp_filter", "1")], "net.ipv4.conf.eth0.rp_filter", "1");
}

#[test]
fn every_name_can_be_set_to_what_it_is() {
    let (devices, mut sysctls) = (devices(), Sysctls::default());
    let names = Sysctls::names(&devices);
    for name in &names {
        let value = sysctls.get(&devices, name).unwrap();
        sysctls.set(&devices, name, &value).unwrap();
    }
    for name in [
        "net.ipv4.ip_forward",
        "net.ipv4.tcp_rmem",
        "net.netfilter.nf_conntrack_max",
        "net.netfilter.nf_conntrack_udp_timeout",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.conf.eth0/100.rp_filter",
        "net.ipv4.neigh.default.locktime",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    assert!(!names.iter().any(|name| name.starts_with("net.ipv4.neigh.all.")));
}

#[test]
fn ip_forward_and_all_forwarding_are_one_switch_that_reaches_every_device() {
    for switch in ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"] {
        for name in [
            "net.ipv4.ip_forward",
            "net.ipv4.conf.all.forwarding",
            "net.ipv4.conf.default.forwarding",
            "net.ipv4.conf.eth0.forwarding",
        ] {
            check(&[(switch, "1")], name, "1");
        }
        let off = ("net.ipv4.conf.eth0.forwarding", "0");
        check(&[(switch, "1"), off], "net.ipv4.ip_forward", "1");
        // A switch that is already on is not set again.
        check(&[(switch, "1"), off, (switch, "1")], "net.ipv4.conf.eth0.forwarding", "0");
        check(&[("net.ipv4.conf.default.forwarding", "1")], "net.ipv4.conf.eth0.forwarding", "0");
    }
}

#[test]
fn whom_a_new_default_reaches() {
    let mut devices = devices();
    let mut sysctls = Sysctls::default();
    devices.get_mut(ETH0).insert_addr("10.0.0.1/24".parse().unwrap(), Scope::Universe).unwrap();
    let vlan = devices.by_name("eth0.100").unwrap().id;
    let mut set = |devices: &Devices, value: &str| {
        sysctls.set(devices, "net.ipv4.conf.default.rp_filter", value).unwrap();
        devices.iter().map(|device| sysctls.rp_filter(device.id)).collect::<Vec<_>>()
    };
    // An address pins the values of its device; `lo` has none in this test.
    assert_eq!(set(&devices, "1"), [1, 0, 1]);
    devices.add("late", MacAddr::ZERO, 1500, DeviceKind::Dummy);
    // Devices created after the first write start with a value that counts as written.
    assert_eq!(set(&devices, "2"), [2, 0, 2, 1]);
    devices.get_mut(vlan).insert_addr("10.0.1.1/24".parse().unwrap(), Scope::Universe).unwrap();
    assert_eq!(set(&devices, "0"), [0, 0, 2, 1]);
}

/// The effective value for the four combinations of `all` and `eth0`.
fn check_combination(name: &str, values: [u32; 2], expected: [[u32; 2]; 2]) {
    let devices = devices();
    let setting = DeviceSetting::by_name(device::Group::Conf, name).unwrap();
    for (i, all) in values.into_iter().enumerate() {
        for (j, own) in values.into_iter().enumerate() {
            let mut sysctls = Sysctls::default();
            sysctls.set(&devices, &format!("net.ipv4.conf.all.{name}"), &all.to_string()).unwrap();
            sysctls.set(&devices, &format!("net.ipv4.conf.eth0.{name}"), &own.to_string()).unwrap();
            assert_eq!(sysctls.effective(setting, ETH0), expected[i][j], "{name}: all {all}, eth0 {own}");
        }
    }
}

/// D-40: rows are `all`, columns the device.
#[test]
fn all_and_device_combine_as_inetdevice_h_says() {
    const MAX: [[u32; 2]; 2] = [[1, 2], [2, 2]];
    const OR: [[u32; 2]; 2] = [[0, 1], [1, 1]];
    const AND: [[u32; 2]; 2] = [[0, 0], [0, 1]];
    const OWN: [[u32; 2]; 2] = [[0, 1], [0, 1]];
    for name in ["rp_filter", "arp_ignore", "arp_announce", "arp_accept"] {
        check_combination(name, [1, 2], MAX);
    }
    for name in [
        "accept_local",
        "arp_filter",
        "log_martians",
        "promote_secondaries",
        "proxy_arp",
        "route_localnet",
        "secure_redirects",
        "send_redirects",
        "shared_media",
        "src_valid_mark",
    ] {
        check_combination(name, [0, 1], OR);
    }
    check_combination("bc_forwarding", [0, 1], AND);
    check_combination("forwarding", [0, 1], OWN);
}

fn check_error(name: &str, value: &str, expected: &str) {
    let error = Sysctls::default().set(&devices(), name, value).unwrap_err();
    assert_eq!((error.name.as_str(), error.value.as_str()), (name, value));
    assert!(error.expected.contains(expected), "{error}");
}

#[test]
fn errors_say_what_was_expected() {
    check_error("net.ipv4.no_such_thing", "1", "supports");
    check_error("kernel.hostname", "x", "supports");
    check_error("net.ipv4.conf.eth9.rp_filter", "1", "\"eth9\"");
    check_error("net.ipv4.conf.eth0.rp_filtre", "1", "rp_filter");
    check_error("net.ipv4.conf.rp_filter", "1", "DEVICE.NAME");
    check_error("net.ipv4.neigh.all.locktime", "1", "\"all\"");
    check_error("net.ipv4.ip_default_ttl", "0", "from 1 to 255");
    check_error("net.ipv4.conf.eth0.rp_filter", "-1", "from 0");
    check_error("net.ipv4.conf.eth0.rp_filter", "on", "a number");
    check_error("net.ipv4.ip_local_port_range", "3000 2000", "two ports");
    check_error("net.ipv4.ip_local_port_range", "1 65535", "two ports");
    check_error("net.ipv4.ip_local_port_range", "", "two ports");
    check_error("net.ipv4.tcp_rmem", "", "one to three numbers");
    check_error("net.ipv4.tcp_rmem", "1 2 3 4", "one to three numbers");
    check_error("net.ipv4.tcp_rmem", "1 0", "one to three numbers");
}

#[test]
fn tables_are_in_the_order_of_their_enums() {
    scalar::assert_order();
    device::assert_order();
}
