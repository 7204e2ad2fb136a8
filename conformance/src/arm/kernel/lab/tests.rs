use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::*;
use crate::arm::kernel::client::{self, ClientRequest, exchange};
use crate::arm::kernel::prompt::Prompt;
use crate::arm::kernel::testing::can_run;
use crate::arm::kernel::wiring::{LinkEnd, Wiring};
use crate::observation::Transport;
use sim::wire::MacAddr;

fn host_state() -> String {
    let run = |program, args: &[&str]| ToolCommand { program, args, input: b"" }.run().unwrap_or_default();
    [
        run("ip", &["-o", "address"]),
        run("ip", &["-o", "link"]),
        run("ip", &["route", "show", "table", "all"]),
        run("iptables-legacy-save", &[]),
        run("nft", &["list", "ruleset"]),
        run("sysctl", &["-a", "-r", "^net\\.(ipv4\\.(conf|ip_forward)|bridge)"]),
    ]
    .join("\n--\n")
}

fn bridged() -> Wiring {
    let mut wiring = Wiring::default();
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let a = LinkEnd { node: "a", device: "eth0", mac: mac(1) };
    let b = LinkEnd { node: "b", device: "veth0", mac: mac(2) };
    wiring.begin("a");
    wiring.begin("b");
    wiring.bridge("b", "cni0", mac(3));
    wiring.veth(b, a, Some(("cni0", true)));
    wiring.early_sysctl("b", "net.ipv4.ip_forward", "1");
    for (node, device, address) in [("a", "eth0", "10.0.0.1/24"), ("b", "cni0", "10.0.0.2/24")] {
        wiring.address(node, device, address.parse().expect("a network"));
    }
    wiring.route("a", "10.1.0.0/16".parse().expect("a network"), "10.0.0.2".parse().ok(), "eth0");
    wiring
}

#[test]
fn a_lab_is_wired_reached_and_gone_and_the_machine_is_as_before() {
    if !can_run("a_lab_is_wired_reached_and_gone_and_the_machine_is_as_before") {
        return;
    }
    let before = host_state();
    let lab = Lab::create(["a", "b"]).expect("a lab");
    bridged().apply(&lab).expect("wired");
    let request = ClientRequest {
        protocol: Transport::Icmp,
        to: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 0),
        source_port: None,
        bytes: b"?".to_vec(),
        timeout: Duration::from_secs(2),
        is_kept: false,
    };
    let (pinged, _) =
        exchange(lab.netns("a"), &request, &Prompt::start("clients").expect("a thread")).expect("a socket");
    assert_eq!(pinged.end, client::End::Answered);
    let forward = lab.netns("b").enter(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward"));
    assert_eq!(forward.expect("entered").expect("read").trim(), "1");
    let names: Vec<String> = lab.all_netns().map(|netns| netns.system_name().to_owned()).collect();
    assert!(names.iter().all(|name| netns_path(name).exists()));
    drop(lab);
    assert!(!names.iter().any(|name| netns_path(name).exists()));
    assert_eq!(host_state(), before);
}

#[test]
fn a_panic_leaves_the_namespace_and_tears_the_lab_down() {
    if !can_run("a_panic_leaves_the_namespace_and_tears_the_lab_down") {
        return;
    }
    let own = || std::fs::read_link("/proc/thread-self/ns/net").expect("read");
    let before = own();
    let name = std::panic::catch_unwind(|| {
        let lab = Lab::create(["a"]).expect("a lab");
        let name = lab.netns("a").system_name().to_owned();
        let inside = lab.netns("a").enter(|| {
            assert_ne!(own(), before);
            panic!("{name}")
        });
        inside.expect("entered")
    })
    .expect_err("it panics")
    .downcast::<String>()
    .expect("the message is the name");
    assert_eq!(own(), before, "the thread has returned");
    assert!(!netns_path(&name).exists());
}

#[test]
fn what_the_machine_owns_cannot_be_set() {
    if !can_run("what_the_machine_owns_cannot_be_set") {
        return;
    }
    let lab = Lab::create(["a"]).expect("a lab");
    for name in ["kernel.hostname", "net/../kernel/hostname", "net...kernel.hostname", "vm.swappiness"] {
        let error = lab.netns("a").set_sysctls([(name, "1")]).expect_err("refused");
        assert!(error.to_string().contains("not a sysctl of a network namespace"), "{error}");
    }
    let missing = lab.netns("a").set_sysctls([("net.ipv4.no_such_thing", "1")]);
    assert!(missing.is_err());
}

#[test]
fn a_refused_wiring_says_what_the_tool_said() {
    if !can_run("a_refused_wiring_says_what_the_tool_said") {
        return;
    }
    let lab = Lab::create(["a"]).expect("a lab");
    let mut wiring = Wiring::default();
    wiring.hairpin("a", "eth7", true);
    let error = wiring.apply(&lab).expect_err("eth7 does not exist").to_string();
    assert!(error.contains("Cannot find device \"eth7\""), "{error}");
}
