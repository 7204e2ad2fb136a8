//! How kube-proxy interprets its configuration and its Node.

use super::*;
use crate::objects::{ConntrackConfiguration, NodeAddress};
use crate::plan::{NodePlan, NodePortAddresses};

fn node(addresses: &[(&str, &str)], pod_cidrs: &[&str]) -> Node {
    let mut node = Node::default();
    node.status.addresses = addresses
        .iter()
        .map(|(kind, address)| NodeAddress {
            address_type: (*kind).to_owned(),
            address: (*address).to_owned(),
        })
        .collect();
    node.spec.pod_cidrs = pod_cidrs.iter().map(|cidr| (*cidr).to_owned()).collect();
    node
}

#[test]
fn the_first_internal_address_of_a_family_is_the_nodes() {
    type Addresses = &'static [(&'static str, &'static str)];
    let cases: [(Addresses, &str, [&str; 2]); 6] = [
        (&[("InternalIP", "10.0.0.1"), ("InternalIP", "10.0.0.2")], "", ["10.0.0.1", "::1"]),
        (&[("ExternalIP", "192.0.2.1"), ("InternalIP", "10.0.0.1")], "", ["10.0.0.1", "::1"]),
        (&[("Hostname", "a"), ("ExternalIP", "192.0.2.1")], "", ["192.0.2.1", "::1"]),
        (&[("InternalIP", "fd00::1"), ("InternalIP", "10.0.0.1")], "", ["10.0.0.1", "fd00::1"]),
        (&[("InternalIP", "10.0.0.1")], "10.0.0.9", ["10.0.0.9", "::1"]),
        (&[("InternalIP", "10.0.0.1")], "0.0.0.0", ["10.0.0.1", "::1"]),
    ];
    for (addresses, bind, expected) in cases {
        let configuration = KubeProxyConfiguration { bind_address: bind.to_owned(), ..Default::default() };
        let config = NodeConfig::new(Machine::new("a"), &configuration, Some(&node(addresses, &[]))).unwrap();
        assert_eq!(config.node_ips.map(|ip| ip.to_string()), expected, "{addresses:?} {bind}");
    }
}

#[test]
fn addresses_of_the_machine_win_over_those_of_the_node() {
    let mut machine = Machine::new("a");
    machine.node_ips = vec!["10.9.9.9".parse().unwrap()];
    let node = node(&[("InternalIP", "10.0.0.1")], &[]);
    let config = NodeConfig::new(machine, &KubeProxyConfiguration::default(), Some(&node)).unwrap();
    assert_eq!(config.node_ip(IpFamily::V4).to_string(), "10.9.9.9");
}

#[test]
fn only_the_first_cidr_of_a_family_tells_local_traffic() {
    let source = |text: &str| Some(LocalTraffic::Source(text.parse().unwrap()));
    let cases = [
        ("", "10.0.0.0/8, 11.0.0.0/8,fd00::/8", [source("10.0.0.0/8"), source("fd00::/8")]),
        ("ClusterCIDR", "fd00::/8", [None, source("fd00::/8")]),
        ("ClusterCIDR", "", [None, None]),
        ("NodeCIDR", "10.0.0.0/8", [source("10.244.1.0/24"), source("fd00:1::/64")]),
    ];
    let node = node(&[], &["10.244.1.0/24", "10.244.2.0/24", "fd00:1::/64"]);
    for (mode, cluster_cidr, expected) in cases {
        let configuration = KubeProxyConfiguration {
            detect_local_mode: mode.to_owned(),
            cluster_cidr: cluster_cidr.to_owned(),
            ..Default::default()
        };
        let config = NodeConfig::new(Machine::new("a"), &configuration, Some(&node)).unwrap();
        assert_eq!(config.local_traffic, expected, "{mode} {cluster_cidr}");
    }
}

#[test]
fn node_ports_answer_where_they_are_told_to() {
    let only = |ips: &[&str]| NodePortAddresses::Only(ips.iter().map(|ip| ip.parse().unwrap()).collect());
    let all = || NodePortAddresses::AllLocal;
    // The list, then for each family the addresses and whether NodePorts work on localhost.
    type OfFamily = (NodePortAddresses, bool);
    let cases: [(&[&str], [OfFamily; 2]); 9] = [
        (&[], [(all(), true), (all(), false)]),
        (&["0.0.0.0/0"], [(all(), true), (all(), false)]),
        (&["10.0.0.0/8"], [(only(&["10.0.0.1"]), false), (all(), false)]),
        (&["127.0.0.0/8", "10.0.0.0/8"], [(only(&["10.0.0.1", "127.0.0.1"]), true), (all(), false)]),
        (&["fd00::/8"], [(all(), true), (only(&["fd00::1"]), false)]),
        (&["primary"], [(only(&["10.0.0.1"]), false), (only(&["fd00::1"]), false)]),
        (
            &["primary", "localhost"],
            [(only(&["10.0.0.1", "127.0.0.1"]), true), (only(&["::1", "fd00::1"]), false)],
        ),
        (&["all"], [(all(), true), (all(), false)]),
        (&["192.0.2.0/24"], [(only(&[]), false), (all(), false)]),
    ];
    for (list, expected) in cases {
        let mut machine = Machine::new("a");
        machine.node_ips = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        machine
            .interface_addresses
            .extend(["10.0.0.1/8", "172.17.0.1/16", "fd00::1/64"].map(|net| net.parse::<IpNet>().unwrap()));
        let configuration = KubeProxyConfiguration {
            node_port_addresses: list.iter().map(|entry| (*entry).to_owned()).collect(),
            ..Default::default()
        };
        let config = NodeConfig::new(machine, &configuration, None).unwrap();
        for (family, (addresses, localhost)) in [IpFamily::V4, IpFamily::V6].into_iter().zip(expected) {
            let plan = NodePlan::new(&config, family);
            assert_eq!(plan.node_port_addresses, addresses, "{list:?} {family:?}");
            assert_eq!(plan.localhost_node_ports, localhost, "{list:?} {family:?}");
        }
    }
}

#[test]
fn a_family_without_primary_address_takes_node_ports_everywhere() {
    let mut machine = Machine::new("a");
    machine.node_ips = vec!["10.0.0.1".parse().unwrap()];
    let configuration =
        KubeProxyConfiguration { node_port_addresses: vec!["primary".to_owned()], ..Default::default() };
    let config = NodeConfig::new(machine, &configuration, None).unwrap();
    assert_eq!(NodePlan::new(&config, IpFamily::V6).node_port_addresses, NodePortAddresses::AllLocal);
}

#[test]
fn conntrack_sysctls_follow_the_cpus() {
    let cases = [
        (
            ConntrackConfiguration::default(),
            1,
            "max=131072 tcp_timeout_established=86400 tcp_timeout_close_wait=3600",
        ),
        (
            ConntrackConfiguration::default(),
            8,
            "max=262144 tcp_timeout_established=86400 tcp_timeout_close_wait=3600",
        ),
        (
            ConntrackConfiguration {
                max_per_core: Some(0),
                tcp_established_timeout: Some("0s".to_owned()),
                tcp_close_wait_timeout: Some("1h30m0s".to_owned()),
                udp_timeout: Some("1500ms".to_owned()),
                tcp_be_liberal: true,
                ..Default::default()
            },
            1,
            "tcp_timeout_close_wait=5400 tcp_be_liberal=1 udp_timeout=1",
        ),
    ];
    for (conntrack, cpu_count, expected) in cases {
        let mut machine = Machine::new("a");
        machine.cpu_count = cpu_count;
        let configuration = KubeProxyConfiguration { conntrack, ..Default::default() };
        let config = NodeConfig::new(machine, &configuration, None).unwrap();
        let shown: Vec<_> = config
            .conntrack_sysctls
            .iter()
            .map(|(name, value)| {
                format!("{}={value}", name.strip_prefix("net.netfilter.nf_conntrack_").unwrap())
            })
            .collect();
        assert_eq!(shown.join(" "), expected);
    }
}

#[test]
fn device_names_are_what_linux_and_iptables_take() {
    for good in ["eth0", "cni0", "br-1234", "veth.1", "a23456789012345"] {
        assert!(InterfaceName::new(good).is_some(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "a b", "a+", "!a", "-i", "a2345678901234567", "a\n", "é", "a:1", "\"a"]
    {
        assert!(InterfaceName::new(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn durations_are_those_of_go() {
    for (text, expected) in [("0", Some(0)), ("24h0m0s", Some(86400)), ("90s", Some(90)), ("999ms", Some(0))]
    {
        assert_eq!(parse_duration(text), expected, "{text}");
    }
    for text in ["", "1", "s", "1x", "-1s", "99999999999999999999h"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn ipvs_settings_are_validated() {
    let with = |change: &dyn Fn(&mut crate::objects::IpvsConfiguration)| {
        let mut configuration = KubeProxyConfiguration::default();
        change(&mut configuration.ipvs);
        NodeConfig::new(Machine::new("a"), &configuration, None).map_err(|error| error.to_string())
    };
    let settings = with(&|ipvs| {
        ipvs.scheduler = "mh".to_owned();
        ipvs.exclude_cidrs = vec!["10.96.0.9/24".to_owned(), "fd00::/8".to_owned()];
        ipvs.tcp_fin_timeout = Some("2m".to_owned());
    })
    .unwrap();
    assert_eq!(settings.ipvs.scheduler, Scheduler::Mh);
    assert_eq!(settings.ipvs.timeouts, IpvsTimeouts { tcp_fin: 120, ..IpvsTimeouts::default() });
    for (family, expected) in [(IpFamily::V4, "10.96.0.0/24"), (IpFamily::V6, "fd00::/8")] {
        let excluded = NodePlan::new(&settings, family).ipvs.excluded;
        assert_eq!(excluded.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
    type Change = dyn Fn(&mut crate::objects::IpvsConfiguration);
    let cases: [(&Change, &str); 3] = [
        (&|ipvs| ipvs.scheduler = "random".to_owned(), "ipvs.scheduler"),
        (&|ipvs| ipvs.exclude_cidrs = vec!["10.96.0.9".to_owned()], "ipvs.excludeCIDRs[0]"),
        (&|ipvs| ipvs.udp_timeout = Some("-1s".to_owned()), "ipvs.udpTimeout"),
    ];
    for (change, path) in cases {
        let error = with(change).unwrap_err();
        assert!(error.contains(path), "{path}: {error}");
    }
}
