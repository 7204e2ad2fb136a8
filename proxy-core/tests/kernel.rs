//! The real kernel as judge: it must accept every rule, and read back what was written.
//!
//! Needs root, `ip` and iptables; without them the tests are skipped with a message.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/case.rs"]
mod case;
#[path = "support/clusters.rs"]
mod clusters;
#[path = "support/commands.rs"]
mod commands;
#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/netns.rs"]
mod netns;

use case::Case;
use netns::{Backend, Netns};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use proxy_core::config::NodeConfig;
use proxy_core::generator::Generator;
use proxy_core::iptables::{self, sync};
use proxy_core::load::{Ensure, Load, Tool};
use proxy_core::objects::{IpFamily, Object};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

fn plan(objects: &[Object], config: &NodeConfig, family: IpFamily) -> Plan {
    Plan::new(&ServiceStore::new(objects).unwrap(), config, family)
}

fn load(netns: &Netns, backend: Backend, plan: &Plan) {
    let jumps: Vec<_> = commands::ensured(plan).iter().map(Ensure::command).collect();
    netns.run_jumps(backend, plan.family, &jumps);
    netns.restore(backend, plan.family, &iptables::restore(plan)).unwrap();
}

/// This machine's configuration: nfacct counters need a kernel module that few kernels have, and any current iptables
/// supports random ports.
fn on_this_machine(mut config: NodeConfig) -> NodeConfig {
    config.has_nfacct = false;
    config.has_random_fully = true;
    config
}

/// Every case loads, and reads back as the recorded kernel printed kube-proxy's rules.
#[test]
fn recorded_cases_load_and_read_back_as_recorded() {
    for folder in case::folders() {
        let case = Case::read(&folder);
        let Some(netns) = Netns::new(Backend::Nft) else { return };
        let config = on_this_machine(case.config(&case.input));
        for (family, file) in
            FAMILIES.into_iter().zip(["kernel-iptables-save.txt", "kernel-ip6tables-save.txt"])
        {
            load(&netns, Backend::Nft, &plan(&case.input, &config, family));
            if let Some(update) = &case.update {
                let config = on_this_machine(case.config(update));
                let sync = sync::between(&plan(&case.input, &config, family), &plan(update, &config, family));
                netns.restore(Backend::Nft, family, &sync).unwrap();
            }
            let path = folder.join(file);
            if path.is_file() {
                let recorded = netns::comparable(&std::fs::read_to_string(path).unwrap());
                let saved = netns.save(Backend::Nft, family);
                assert_same(&without_service_order(recorded), &without_service_order(saved), &case.name());
            }
        }
    }
}

fn assert_same(expected: &[String], found: &[String], what: &str) {
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    let extra: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{what}: missing {missing:#?}, extra {extra:#?}");
    let different = expected.iter().zip(found).find(|(left, right)| left != right);
    assert_eq!(different, None, "{what}: order differs");
}

/// kube-proxy iterates over a Go map: the recorded order of Services in shared chains is arbitrary.
fn without_service_order(mut lines: Vec<String>) -> Vec<String> {
    const SHARED: [&str; 4] =
        ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"];
    let chain = |line: &String| line.split(' ').nth(2).unwrap_or("").to_owned();
    lines.sort_by_key(|line| (line.split(' ').next().unwrap_or("").to_owned(), chain(line)));
    for group in lines.chunk_by_mut(|left, right| chain(left) == chain(right)) {
        if SHARED.contains(&chain(&group[0]).as_str()) {
            group.sort();
        }
    }
    lines
}

/// The members of all sets. The kernel lists them in the order of its hash tables.
fn saved_sets(netns: &Netns) -> Vec<String> {
    let saved = netns.run(&["ipset", "save"], "").unwrap();
    let mut lines: Vec<_> =
        saved.lines().filter(|line| line.starts_with("add ")).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Loads the texts of IPVS mode that this kernel can: it has neither IPVS (with the match `ipvs`) nor dummy devices, so a
/// bridge has the addresses. Returns false if it could not load the rules.
fn load_ipvs_mode(netns: &Netns, family: IpFamily, loads: &[Load]) -> bool {
    let mut has_rules = true;
    let mut ensured = Vec::new();
    for load in loads {
        match load {
            Load::Sysctl { .. } | Load::Text { tool: Tool::IpvsadmRestore, .. } => {}
            Load::Ensure(ensure @ (Ensure::Chain { .. } | Ensure::Jump { .. })) => {
                ensured.push(ensure.command())
            }
            Load::Ensure(Ensure::Device { device }) => {
                netns.run_jumps(Backend::Nft, family, &std::mem::take(&mut ensured));
                netns.run(&["ip", "link", "add", device, "type", "bridge"], "").unwrap();
            }
            Load::Text { tool: Tool::IpsetRestore, text } => {
                netns.run(&["ipset", "restore"], text).map(drop).unwrap();
            }
            Load::Text { tool: Tool::IpBatch, text } => {
                netns.run(&["ip", "-batch", "-"], text).map(drop).unwrap();
            }
            Load::Text { tool: Tool::IptablesRestore | Tool::Ip6tablesRestore, text } => {
                if text.contains("-m ipvs ") {
                    has_rules = false;
                } else {
                    netns.restore(Backend::Nft, family, text).unwrap();
                }
            }
        }
    }
    assert!(ensured.is_empty(), "chains come before the device");
    has_rules
}

/// IPVS mode: real `ipset restore`, `iptables-restore` and `ip -batch` accept what is written for every case, and a sync
/// leads the kernel to the new state. `ipvsadm --restore` needs a kernel with IPVS.
#[test]
fn sets_rules_and_addresses_of_ipvs_mode_load() {
    for folder in case::folders() {
        let case = Case::read(&folder);
        for family in FAMILIES {
            let Some(synced) = Netns::new(Backend::Nft) else { return };
            if let Err(error) = synced.run(&["ipset", "--version"], "") {
                let is_required = std::env::var("HAIRPIN_KERNEL").is_ok_and(|value| value == "required");
                assert!(!is_required, "ipset is required: {error}");
                eprintln!("SKIPPED: no ipset: {error}");
                return;
            }
            let config = on_this_machine(case.config(&case.input));
            let before = plan(&case.input, &config, family);
            let mut is_complete = load_ipvs_mode(&synced, family, &Generator::Ipvs.load(&before));
            let Some(update) = &case.update else { continue };
            let Some(fresh) = Netns::new(Backend::Nft) else { return };
            let after = plan(update, &on_this_machine(case.config(update)), family);
            is_complete &= load_ipvs_mode(&synced, family, &Generator::Ipvs.sync(&before, &after).load);
            is_complete &= load_ipvs_mode(&fresh, family, &Generator::Ipvs.load(&after));
            assert_eq!(saved_sets(&synced), saved_sets(&fresh), "{}", case.name());
            if is_complete {
                let [synced, fresh] = [synced, fresh].map(|netns| netns.save(Backend::Nft, family));
                assert_same(&fresh, &synced, &case.name());
            }
        }
    }
}

/// Random updates: after full rules and a sync, the kernel has the new full rules.
#[test]
fn a_sync_leads_the_kernel_to_the_new_state() {
    const UPDATES: usize = 12;
    let mut runner = TestRunner::deterministic();
    let strategy = (clusters::pair(), clusters::config());
    for backend in Backend::ALL {
        for _ in 0..UPDATES {
            let ((before, after), config) = strategy.new_tree(&mut runner).unwrap().current();
            let config = on_this_machine(config);
            let (Some(synced), Some(fresh)) = (Netns::new(backend), Netns::new(backend)) else { return };
            for family in FAMILIES {
                let [before, after] = [&before, &after].map(|objects| plan(objects, &config, family));
                load(&synced, backend, &before);
                let sync = sync::between(&before, &after);
                synced.restore(backend, family, &sync).unwrap_or_else(|error| {
                    panic!("{error}\n{}\nthen\n{}", iptables::restore(&before), sync)
                });
                load(&fresh, backend, &after);
                assert_same(&fresh.save(backend, family), &synced.save(backend, family), &sync);
            }
        }
    }
}
