//! Real ipset, ipvsadm, iptables and ip, in a virtual machine with IPVS, load what IPVS mode prints for every recorded case,
//! in both families; and what they print afterwards is what the simulator prints, and no difference to `render --diff`.
//!
//! With `HAIRPIN_VM=required` in the environment, as in CI, the absence of a virtual machine is a failure.
//! `KUBE_PROXY_CASES` names another folder of cases. With `IPVS_DUMPS=DIR`, the dumps are written to `DIR/CASE.txt`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "../../proxy-core/tests/support/case.rs"]
mod case;
mod guest;
#[path = "../../proxy-core/tests/support/manifests.rs"]
mod manifests;

use case::Case;
use guest::Dumped;
use proxy_core::config::NodeConfig;
use proxy_core::generator::Generator;
use proxy_core::ipvs;
use proxy_core::ipvs::diff::{Dump, compare};
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use sim::ipvs::{Clock, Ipvs};
use sim::time::Instant;
use std::path::Path;

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

/// A node with both families.
struct Node {
    name: String,
    plans: [Plan; 2],
}

fn nodes() -> Vec<Node> {
    let mut nodes = Vec::new();
    for folder in case::folders() {
        let case = Case::read(&folder);
        let states = [("", Some(&case.input)), (" updated", case.update.as_ref())];
        for (state, objects) in states.into_iter().filter_map(|(state, objects)| Some((state, objects?))) {
            let config = as_the_guest(case.config(objects));
            let store = ServiceStore::new(objects).unwrap();
            let plans = FAMILIES.map(|family| Plan::new(&store, &config, family));
            nodes.push(Node { name: format!("{}{state}", case.name()), plans });
        }
    }
    nodes
}

/// The guest's iptables supports random ports, and its kernel has no nfacct counters.
fn as_the_guest(mut config: NodeConfig) -> NodeConfig {
    config.has_nfacct = false;
    config.has_random_fully = true;
    config
}

/// What the simulator prints after `ipvsadm --restore` of a text.
fn simulated(text: &str) -> String {
    let mut ipvs = Ipvs::default();
    ipvs.restore(Clock::exact(Instant::START), "ipvs.rules", text).unwrap();
    ipvs.save()
}

#[test]
fn real_tools_load_every_text_and_print_what_was_loaded() {
    let nodes = nodes();
    let loads = nodes.iter().map(|Node { name, plans }| {
        let loads = plans.iter().flat_map(|plan| Generator::Ipvs.load(plan)).collect();
        (name.as_str(), loads)
    });
    let Some(dumped) = guest::load_all(loads) else { return };
    assert_eq!(dumped.len(), nodes.len());
    for (Node { name, plans }, dumped) in nodes.iter().zip(&dumped) {
        let Dumped { node, messages, rules, sets, virtual_services, addresses } = dumped;
        assert_eq!(name, node);
        assert_eq!(messages, "", "{name}: a tool refused something");
        let loaded = plans.each_ref().map(|plan| ipvs::texts(plan).ipvs).concat();
        assert_eq!(virtual_services, &simulated(&loaded), "{name}: ipvsadm -Sn");
        assert_eq!(
            virtual_services,
            &simulated(virtual_services),
            "{name}: ipvsadm -Sn, read and printed again"
        );
        let all = [rules.as_str(), sets, virtual_services, addresses].concat();
        if let Some(folder) = std::env::var_os("IPVS_DUMPS") {
            std::fs::write(Path::new(&folder).join(format!("{name}.txt")), &all).unwrap();
        }
        let apart =
            [("rules", rules), ("sets", sets), ("services", virtual_services), ("addresses", addresses)]
                .map(|(source, text)| Dump { source, text });
        for plan in plans {
            for dumps in [&[Dump { source: "all", text: &all }][..], &apart] {
                let comparison = compare(plan, dumps).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(comparison.diff.to_string(), "", "{name} {:?}", plan.family);
                assert!(comparison.has_addresses);
            }
        }
    }
    let lines = |start: &str| {
        let lines =
            dumped.iter().flat_map(|dumped| dumped.virtual_services.lines().chain(dumped.sets.lines()));
        lines.filter(|line| line.starts_with(start)).count()
    };
    assert!(lines("-A ") > 0);
    println!(
        "{} nodes with {} virtual services, {} servers, {} sets, {} set members",
        nodes.len(),
        lines("-A "),
        lines("-a "),
        lines("create "),
        lines("add ")
    );
}
