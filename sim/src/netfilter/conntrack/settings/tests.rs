use super::ConntrackSettings;
use crate::device::Devices;
use crate::sysctl::Sysctls;

/// D-13, D-14: the defaults by sysctl name, as read on a Linux 6.18 host.
const DEFAULTS: &[(&str, u32)] = &[
    ("nf_conntrack_max", 262_144),
    ("nf_conntrack_checksum", 1),
    ("nf_conntrack_tcp_loose", 1),
    ("nf_conntrack_tcp_be_liberal", 0),
    ("nf_conntrack_tcp_ignore_invalid_rst", 0),
    ("nf_conntrack_tcp_max_retrans", 3),
    ("nf_conntrack_tcp_timeout_syn_sent", 120),
    ("nf_conntrack_tcp_timeout_syn_recv", 60),
    ("nf_conntrack_tcp_timeout_established", 432_000),
    ("nf_conntrack_tcp_timeout_fin_wait", 120),
    ("nf_conntrack_tcp_timeout_close_wait", 60),
    ("nf_conntrack_tcp_timeout_last_ack", 30),
    ("nf_conntrack_tcp_timeout_time_wait", 120),
    ("nf_conntrack_tcp_timeout_close", 10),
    ("nf_conntrack_tcp_timeout_max_retrans", 300),
    ("nf_conntrack_tcp_timeout_unacknowledged", 300),
    ("nf_conntrack_udp_timeout", 30),
    ("nf_conntrack_udp_timeout_stream", 120),
    ("nf_conntrack_icmp_timeout", 30),
    ("nf_conntrack_sctp_timeout_closed", 10),
    ("nf_conntrack_sctp_timeout_cookie_wait", 3),
    ("nf_conntrack_sctp_timeout_cookie_echoed", 3),
    ("nf_conntrack_sctp_timeout_established", 210),
    ("nf_conntrack_sctp_timeout_shutdown_sent", 3),
    ("nf_conntrack_sctp_timeout_shutdown_recd", 3),
    ("nf_conntrack_sctp_timeout_shutdown_ack_sent", 3),
    ("nf_conntrack_sctp_timeout_heartbeat_sent", 30),
    ("nf_conntrack_generic_timeout", 600),
];

#[test]
fn defaults_are_those_of_the_kernel() {
    let settings = ConntrackSettings::default();
    for (name, value) in DEFAULTS {
        assert_eq!(settings.get(name), Some(*value), "{name}");
    }
    assert!(ConntrackSettings::leaves().into_iter().eq(DEFAULTS.iter().map(|(name, _)| *name)));
}

#[test]
fn what_is_set_is_what_is_read() {
    let mut settings = ConntrackSettings::default();
    for (name, default) in DEFAULTS {
        let value = match default {
            0 => 1,
            1 => 0,
            more => more / 2,
        };
        settings.set(name, &value.to_string()).unwrap();
        assert_eq!(settings.get(name), Some(value), "{name}");
    }
}

#[test]
fn what_the_kernel_refuses_is_refused() {
    let mut settings = ConntrackSettings::default();
    for (leaf, value, expected) in [
        ("nf_conntrack_nope", "1", "the name of a conntrack sysctl"),
        ("udp_timeout", "1", "the name of a conntrack sysctl"),
        ("nf_conntrack_tcp_loose", "2", "a number from 0 to 1"),
        ("nf_conntrack_tcp_max_retrans", "256", "a number from 0 to 255"),
        ("nf_conntrack_udp_timeout", "-1", "a number from 0 to 2147483647"),
    ] {
        assert_eq!(settings.set(leaf, value), Err(expected.to_owned()), "{leaf} = {value}");
    }
    assert_eq!(settings, ConntrackSettings::default());
}

#[test]
fn names_are_those_of_sysctl() {
    for (name, leaf) in [
        ("net.netfilter.nf_conntrack_udp_timeout", Some("nf_conntrack_udp_timeout")),
        ("net.netfilter.nf_conntrack_max", Some("nf_conntrack_max")),
        ("net.nf_conntrack_max", Some("nf_conntrack_max")),
        ("net.nf_conntrack_checksum", None),
        ("net.netfilter.nf_conntrack_acct", None),
    ] {
        assert_eq!(ConntrackSettings::leaf_of(name), leaf);
    }
}

#[test]
fn sysctls_of_a_netns_reach_them() {
    let (mut sysctls, devices) = (Sysctls::default(), Devices::default());
    let name = "net.netfilter.nf_conntrack_tcp_timeout_established";
    sysctls.set(&devices, name, "86400").unwrap();
    assert_eq!(sysctls.get(&devices, name).unwrap(), "86400");
    assert_eq!(sysctls.conntrack.timeouts.tcp_established, 86_400);
    assert!(sysctls.set(&devices, "net.netfilter.nf_conntrack_nope", "1").is_err());
}
