//! Properties of all sets and elements.

use crate::ipset::{Ipset, IpsetOptions};
use crate::time::Instant;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NOW: Instant = Instant::from_nanos(7_000_000_000);

fn ip() -> impl Strategy<Value = String> {
    any::<u32>().prop_map(|addr| std::net::Ipv4Addr::from_bits(addr | 1).to_string())
}

fn ip6() -> impl Strategy<Value = String> {
    // Runs of zeros, and addresses written with dots.
    let word = select(vec![0_u16, 0, 0, 1, 0xffff, 0xfd00]);
    vec(word, 8).prop_map(|words| {
        let words: [u16; 8] = words.try_into().unwrap();
        std::net::Ipv6Addr::from(words).to_string()
    })
}

fn net() -> impl Strategy<Value = String> {
    (ip(), 1_u8..=32).prop_map(|(addr, prefix)| format!("{addr}/{prefix}"))
}

fn port() -> impl Strategy<Value = String> {
    prop_oneof![
        (select(vec!["", "tcp:", "udp:", "sctp:", "udplite:"]), any::<u16>())
            .prop_map(|(protocol, port)| format!("{protocol}{port}")),
        (any::<u8>(), any::<u8>()).prop_map(|(icmp_type, code)| format!("icmp:{icmp_type}/{code}")),
        (140_u8..).prop_map(|protocol| format!("{protocol}:0")),
    ]
}

/// A type with its options, and an element for it.
fn set_and_element() -> impl Strategy<Value = (&'static str, String)> {
    prop_oneof![
        ip().prop_map(|ip| ("hash:ip", ip)),
        ip6().prop_filter("not null", |ip| ip != "::").prop_map(|ip| ("hash:ip family inet6", ip)),
        net().prop_map(|net| ("hash:net", net)),
        (ip(), port()).prop_map(|(ip, port)| ("hash:ip,port", format!("{ip},{port}"))),
        (net(), port()).prop_map(|(net, port)| ("hash:net,port", format!("{net},{port}"))),
        (ip(), port(), ip()).prop_map(|(ip, port, to)| ("hash:ip,port,ip", format!("{ip},{port},{to}"))),
        (ip(), port(), net()).prop_map(|(ip, port, net)| ("hash:ip,port,net", format!("{ip},{port},{net}"))),
        any::<u16>().prop_map(|port| ("bitmap:port range 0-65535", port.to_string())),
        any::<u8>().prop_map(|host| ("bitmap:ip range 10.0.0.0/24", format!("10.0.0.{host}"))),
    ]
}

fn restored(text: &str) -> Result<Ipset, TestCaseError> {
    let mut ipset = Ipset::default();
    ipset
        .restore(NOW, "f", text, IpsetOptions::default())
        .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
    Ok(ipset)
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_what_it_was(
        sets in vec((set_and_element(), select(vec!["", " timeout 9", " counters", " comment", " timeout 0 counters comment"])), 1..6),
        options in select(vec!["", "", " timeout 70", " packets 5 bytes 6", " comment \"x y\""]),
    ) {
        let mut ipset = Ipset::default();
        for (index, ((set, element), extensions)) in sets.iter().enumerate() {
            let text = format!("create s{index} {set}{extensions}\nadd s{index} {element}\n");
            ipset.restore(NOW, "f", &text, IpsetOptions::default()).unwrap();
            // Options that the set does not support are rejected without effect.
            _ = ipset.restore(NOW, "f", &format!("add s{index} {element}{options}\n"), IpsetOptions { exist: true });
        }
        let saved = ipset.save(NOW);
        prop_assert_eq!(restored(&saved)?.save(NOW), saved);
    }

    #[test]
    fn what_was_added_is_there_and_deleting_undoes_it((set, element) in set_and_element()) {
        let create = format!("create a {set}\n");
        let empty = restored(&create)?.save(NOW);
        let mut ipset = restored(&format!("{create}add a {element}\n"))?;
        prop_assert_ne!(ipset.save(NOW), empty.clone());
        let again = ipset.restore(NOW, "f", &format!("add a {element}\n"), IpsetOptions::default());
        prop_assert!(again.is_err(), "it exists already");
        ipset.restore(NOW, "f", &format!("del a {element}\n"), IpsetOptions::default()).unwrap();
        prop_assert_eq!(ipset.save(NOW), empty);
        let again = ipset.restore(NOW, "f", &format!("del a {element}\n"), IpsetOptions::default());
        prop_assert!(again.is_err(), "it was deleted");
    }

    #[test]
    fn a_range_of_networks_covers_what_it_names(from in any::<u32>(), to in any::<u32>()) {
        let (from, to) = (from.min(to), from.max(to));
        prop_assume!((from, to) != (0, u32::MAX));
        let name = std::net::Ipv4Addr::from_bits;
        let saved = restored(&format!("create a hash:net\nadd a {}-{}\n", name(from), name(to)))?.save(NOW);
        let mut next = u64::from(from);
        for line in saved.lines().filter_map(|line| line.strip_prefix("add a ")) {
            let (addr, prefix) = line.split_once('/').unwrap_or((line, "32"));
            prop_assert_eq!(u64::from(addr.parse::<std::net::Ipv4Addr>().unwrap().to_bits()), next);
            next += 1 << (32 - prefix.parse::<u32>().unwrap());
        }
        prop_assert_eq!(next, u64::from(to) + 1);
    }

    #[test]
    fn no_text_is_too_strange(
        words in vec(select(vec![
            "create", "add", "del", "flush", "destroy", "rename", "swap", "a", "b", "l", "hash:ip", "hash:net", "hash:ip,port",
            "list:set", "bitmap:port", "range", "0-9", "timeout", "5", "10.0.0.1", "10.0.0.0/8", "10.0.0.1,tcp:80-90", "-exist",
            "before", "comment", "\"", "nomatch", "family", "inet6", "fd00::1", "netmask", "\n", "\n", "\n", ",", "é",
        ]), 0..60),
    ) {
        let mut ipset = Ipset::default();
        _ = ipset.restore(NOW, "f", &words.join(" "), IpsetOptions::default());
        let saved = ipset.save(NOW);
        prop_assert_eq!(restored(&saved)?.save(NOW), saved);
    }
}
