//! Programs of an image, with the libraries that they load.

use std::collections::{BTreeMap, BTreeSet};

use super::elf::needed;
use super::tree::{Node, Tree, target_of};

/// Debian packages of the programs, and what they are for.
pub(super) const PACKAGES: [(&str, &str); 7] = [
    ("busybox-static", "modprobe and sh"),
    ("iproute2", "network namespaces, devices and link properties"),
    ("iptables", "both back ends of iptables"),
    ("nftables", "the nftables back end"),
    ("conntrack", "conntrack tables"),
    ("ipset", "sets of the IPVS mode"),
    ("ipvsadm", "virtual services of the IPVS mode"),
];

/// Paths of files that a program loads by name at run time.
const LOADED: [&str; 2] = ["/xtables/", "etc/protocols"];

/// Programs, each with all names that continue it after a hyphen: `iptables-legacy-restore`.
const PROGRAMS: [&str; 10] =
    ["ip", "tc", "busybox", "iptables", "ip6tables", "xtables", "nft", "conntrack", "ipset", "ipvsadm"];

/// Additional names of busybox.
const APPLETS: [&str; 2] = ["usr/bin/sh", "usr/sbin/modprobe"];

/// The programs of an image, their libraries, and everything that links to them.
///
/// # Errors
/// The name of a library that no package has.
pub(super) fn select(tree: &Tree) -> Result<Tree, String> {
    let mut tree = tree.clone();
    for applet in APPLETS {
        tree.insert(applet, Node::Link("/usr/bin/busybox".to_owned()));
    }
    let libraries: BTreeMap<&str, &str> = tree.iter().filter_map(|(path, _)| library(path)).collect();
    let mut wanted: Vec<String> =
        tree.iter().map(|(path, _)| path).filter(|path| is_first(path)).map(str::to_owned).collect();
    let (mut selected, mut seen) = (Tree::default(), BTreeSet::new());
    while let Some(path) = wanted.pop() {
        let Some(node) = tree.get(&path).filter(|_| seen.insert(path.clone())) else { continue };
        match node {
            Node::Link(target) => wanted.push(target_of(&path, target)),
            Node::File(bytes) => {
                for name in needed(bytes) {
                    let library = libraries.get(name.as_str());
                    let library =
                        library.ok_or_else(|| format!("{path} needs {name}, which no package has"))?;
                    wanted.push((*library).to_owned());
                }
            }
        }
        selected.insert(path, node.clone());
    }
    Ok(selected)
}

/// A shared library, by its name.
fn library(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = path.rsplit_once('/')?;
    (folder.starts_with("usr/lib") && name.contains(".so") && !folder.ends_with("/xtables"))
        .then_some((name, path))
}

fn is_first(path: &str) -> bool {
    let program = path.strip_prefix("usr/bin/").or_else(|| path.strip_prefix("usr/sbin/"));
    let is_program = |name: &str| {
        let is_named = |wanted: &&str| {
            name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        PROGRAMS.iter().any(is_named)
    };
    program.is_some_and(is_program)
        || APPLETS.contains(&path)
        || LOADED.iter().any(|part| path.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_paths() {
        for (path, expected) in [
            ("usr/sbin/iptables-legacy-restore", true),
            ("usr/sbin/xtables-nft-multi", true),
            ("usr/bin/ip", true),
            ("usr/sbin/ipset", true),
            ("usr/sbin/ipmaddr", false),
            ("usr/bin/sh", true),
            ("usr/bin/nstat", false),
            ("usr/lib/x86_64-linux-gnu/xtables/libxt_statistic.so", true),
            ("usr/lib/x86_64-linux-gnu/libxtables.so.12", false),
            ("etc/protocols", true),
        ] {
            assert_eq!(is_first(path), expected, "{path}");
        }
    }

    #[test]
    fn links_lead_to_the_libraries_of_a_program() {
        let own = std::fs::read("/proc/self/exe").expect("this program can be read");
        let mut tree = Tree::default();
        tree.insert("usr/sbin/nft", Node::Link("real".to_owned()));
        tree.insert("usr/sbin/real", Node::File(own.clone()));
        let libraries = needed(&own);
        assert!(!libraries.is_empty(), "tests are linked dynamically");
        for name in &libraries {
            tree.insert(format!("usr/lib/{name}"), Node::File(Vec::new()));
        }
        tree.insert("usr/lib/libother.so", Node::File(Vec::new()));
        let selected = select(&tree).expect("all libraries are there");
        let count = 2 + libraries.len() + APPLETS.len();
        assert_eq!(
            selected.iter().count(),
            count,
            "{:?}",
            selected.iter().map(|(path, _)| path).collect::<Vec<_>>()
        );
        let mut lacking = Tree::default();
        lacking.insert("usr/sbin/nft", Node::File(own));
        let error = select(&lacking).expect_err("it has no libraries");
        assert!(
            error.starts_with("usr/sbin/nft needs ") && error.ends_with(", which no package has"),
            "{error}"
        );
    }
}
