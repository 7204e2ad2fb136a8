use super::*;
use proptest::prelude::*;

const DEVICES: u16 = 6;

/// A change of a device; numbers are taken modulo the number of devices.
#[derive(Clone, Copy, Debug)]
enum Change {
    Up(u16, bool),
    Master(u16, Option<u16>),
    Address(u16, u8),
    NoAddresses(u16),
    Mac(u16, u8),
}

fn arbitrary_change() -> impl Strategy<Value = Change> {
    let device = 1..=DEVICES;
    prop_oneof![
        (device.clone(), any::<bool>()).prop_map(|(device, is_up)| Change::Up(device, is_up)),
        (device.clone(), prop::option::of(1..=2_u16)).prop_map(|(port, bridge)| Change::Master(port, bridge)),
        (device.clone(), 0..4_u8).prop_map(|(device, addr)| Change::Address(device, addr)),
        device.clone().prop_map(Change::NoAddresses),
        (device, 0..4_u8).prop_map(|(device, mac)| Change::Mac(device, mac)),
    ]
}

fn addr(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn apply(devices: &mut Devices, joined: &mut Vec<(DeviceId, DeviceId)>, change: Change) {
    match change {
        Change::Up(device, is_up) => devices.get_mut(DeviceId(device)).is_up = is_up,
        Change::Master(port, bridge) => {
            let (port, bridge) = (DeviceId(port), bridge.map(DeviceId));
            devices.set_master(port, bridge);
            joined.retain(|(_, other)| *other != port);
            joined.extend(bridge.map(|bridge| (bridge, port)));
        }
        Change::Address(device, last) => {
            let net = Ipv4Net::new_assert(addr(last), 24);
            // It may exist already.
            let _ = devices.get_mut(DeviceId(device)).insert_addr(net, Scope::Universe);
        }
        Change::NoAddresses(device) => devices.get_mut(DeviceId(device)).addrs.clear(),
        Change::Mac(device, last) => devices.get_mut(DeviceId(device)).mac = mac(last),
    }
}

proptest! {
    /// After any changes, lookups give the same result as visiting all devices.
    #[test]
    fn look_ups_equal_a_naive_scan(changes in prop::collection::vec(arbitrary_change(), 0..40)) {
        let mut devices = Devices::default();
        for number in 1..=DEVICES {
            devices.add(&format!("dev{number}"), mac(9), 1500, DeviceKind::Bridge);
        }
        let mut joined = Vec::new();
        for change in changes {
            apply(&mut devices, &mut joined, change);
            for last in 0..4 {
                let holds = |device: &&Device| device.addrs.iter().any(|held| held.net.addr() == addr(last));
                let holder = devices.iter().find(holds).map(|device| device.id);
                prop_assert_eq!(devices.owner_of(addr(last)).map(|device| device.id), holder);
            }
            for bridge in [DeviceId(1), DeviceId(2)] {
                let is_port = |device: &&Device| device.master == Some(bridge);
                let is_live = devices.iter().filter(is_port).any(|port| port.is_running());
                prop_assert_eq!(devices.has_live_port(bridge), is_live);
                for last in 0..4 {
                    let is_local = devices.get(bridge).mac == mac(last)
                        || devices.iter().filter(is_port).any(|port| port.mac == mac(last));
                    prop_assert_eq!(devices.is_local_mac(bridge, mac(last)), is_local);
                }
                let ports = joined.iter().filter(|(of, _)| *of == bridge).map(|(_, port)| *port);
                prop_assert_eq!(devices.ports(bridge), ports.collect::<Vec<_>>());
            }
        }
    }
}
