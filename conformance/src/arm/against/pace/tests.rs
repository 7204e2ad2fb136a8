//! A lab has no other settings than those listed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::hastened;
use crate::arm::Arm;
use crate::arm::kernel::KernelArm;
use crate::arm::kernel::lab::{Lab, LabNetns};
use crate::arm::kernel::testing::can_run;
use crate::backend::Backend;
use crate::prepare::{Prepared, prepare};
use crate::settings::{LAB_SETTINGS, Place};
use crate::suite;
use crate::topology::Topology;
use sim::sysctl::Sysctls;

/// Sysctls that follow another one of the list: aliases in other units, and what `ip_forward` changes besides.
const CONSEQUENCES: [&str; 4] = [
    "net.ipv4.neigh.DEVICE.retrans_time",
    "net.ipv4.neigh.DEVICE.base_reachable_time",
    "net.ipv4.conf.DEVICE.forwarding",
    "net.ipv4.conf.all.accept_redirects",
];

/// Every sysctl below a folder of `/proc/sys`, in the calling thread's namespace.
fn sysctls_below(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sysctls_below(&path, found);
        } else if let (Ok(value), Ok(name)) = (fs::read_to_string(&path), path.strip_prefix("/proc/sys")) {
            let name = name.display().to_string().replace('/', ".");
            found.insert(name, value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

fn all_sysctls(netns: &LabNetns) -> BTreeMap<String, String> {
    let folders =
        ["ipv4", "bridge", "ipv6/conf", "core"].map(|folder| Path::new("/proc/sys/net").join(folder));
    let mut found = BTreeMap::new();
    let is_of_ipv6 = |name: &str| name.starts_with("net.ipv6.") && !name.ends_with(".disable_ipv6");
    netns.enter(|| folders.iter().for_each(|folder| sysctls_below(folder, &mut found))).expect("a namespace");
    found.retain(|name, _| !is_of_ipv6(name));
    found
}

/// The name of a sysctl of a device, with another word in place of the device.
fn of(place: &str, name: &str) -> String {
    for group in ["net.ipv4.neigh.", "net.ipv4.conf.", "net.ipv6.conf."] {
        if let Some((_, leaf)) = name.strip_prefix(group).and_then(|rest| rest.rsplit_once('.')) {
            return format!("{group}{place}.{leaf}");
        }
    }
    name.to_owned()
}

#[test]
fn a_lab_has_the_defaults_of_the_kernel_and_the_listed_settings() {
    if !can_run("a_lab_has_the_defaults_of_the_kernel_and_the_listed_settings") {
        return;
    }
    let built_in = suite::find("nodeport-cluster").expect("a built-in scenario");
    let Ok(Prepared { cluster, .. }) = prepare(built_in.load()) else { panic!("the scenario is valid") };
    let topology = hastened(&Topology::of(&cluster));
    let mut arm = KernelArm::new(Backend::default());
    arm.build(&topology).expect("a lab");
    let fresh = Lab::create(["fresh"]).expect("a lab");
    let mut defaults = all_sysctls(fresh.netns("fresh"));
    defaults.extend(Sysctls::inherited());
    for (netns, plan) in &topology.netns {
        let listed = LAB_SETTINGS.iter().filter(|setting| setting.place != Place::Other);
        let allowed: Vec<&str> = listed
            .map(|setting| setting.name)
            .chain(plan.early_sysctls.iter().map(|(name, _)| name.as_str()))
            .chain(CONSEQUENCES)
            .collect();
        for (name, value) in all_sysctls(arm.netns(netns).expect("it was built")) {
            let names = [name.clone(), of("default", &name), of("lo", &name), of("DEVICE", &name)];
            // A device starts with the values of `default`, and so did `lo`.
            let expected = names.iter().find_map(|name| defaults.get(name));
            let is_allowed = names.iter().any(|name| allowed.contains(&name.as_str()));
            assert!(expected == Some(&value) || is_allowed, "{netns}: {name} = {value}, not {expected:?}");
        }
    }
}
