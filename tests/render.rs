//! What `hairpin render --out` writes, and what a real kernel makes of it.

use conformance::arm::kernel::lab::Lab;
use conformance::arm::kernel::requirement::{Requirement, missing};
use std::path::Path;
use std::process::{Command, Output};

fn render(out: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hairpin"))
        .args(["render", "nodeport-local", "--out"])
        .arg(out)
        .args(arguments)
        .output()
        .expect("hairpin starts")
}

fn read(out: &Path, file: &str) -> String {
    std::fs::read_to_string(out.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_node_has_a_folder_with_rules_and_a_script() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let output = render(out.path(), &["--family", "dual"]);
    assert!(output.status.success());
    for node in ["node-1", "node-2"] {
        for file in ["iptables.rules", "ip6tables.rules"] {
            assert!(read(out.path(), &format!("{node}/{file}")).starts_with("*filter\n"));
        }
    }
    insta::assert_snapshot!(read(out.path(), "node-1/setup.sh"));
}

#[test]
fn the_kernel_has_the_rules_after_setup_and_the_same_ones_after_a_second_setup() {
    let needs =
        [Requirement::Root, Requirement::Program("ip"), Requirement::Program("iptables"), Requirement::Netns];
    let lacks = missing(&needs);
    if !lacks.is_empty() {
        eprintln!("setup.sh is not run: this machine lacks {lacks:?}");
        return;
    }
    let out = tempfile::tempdir().expect("a temporary folder");
    assert!(render(out.path(), &["--node", "node-2"]).status.success());
    let folder = out.path().join("node-2");
    let lab = Lab::create(["node-2"]).expect("namespaces can be made");
    let node = lab.netns("node-2");
    let setup = || {
        let folder = folder.to_str().expect("a path in UTF-8");
        node.run("sh", &["-c", "cd \"$0\" && sh setup.sh", folder], b"").expect("setup.sh succeeds");
        let saved = node.run("iptables-save", &[], b"").expect("rules can be read");
        saved.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    };
    let first = setup();
    assert_eq!(setup(), first, "the second time changes nothing");
    let rendered = read(out.path(), "node-2/iptables.rules");
    let rules_of = |text: &str, chain: &str| {
        text.lines().filter(|line| line.starts_with(&format!("-A {chain} "))).count()
    };
    for chain in rendered.lines().filter_map(|line| line.strip_prefix(':')) {
        let chain = chain.split(' ').next().expect("a chain has a name");
        assert_eq!(rules_of(&first, chain), rules_of(&rendered, chain), "rules of {chain}");
    }
    for jump in ["-A PREROUTING ", "-A POSTROUTING ", "-A INPUT ", "-A FORWARD ", "-A OUTPUT "] {
        assert!(first.lines().any(|line| line.starts_with(jump)), "a jump from {jump}");
    }
}
