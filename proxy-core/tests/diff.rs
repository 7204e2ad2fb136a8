//! Rules of a real node, compared with the expected ones.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/case.rs"]
mod case;
#[path = "support/manifests.rs"]
mod manifests;

use case::Case;
use proxy_core::finding::{FindingKind, FindingSubject};
use proxy_core::iptables::diff;
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;

/// The plan of a recorded case, for the kernel of its dump, which always selects ports at random.
fn plan(case: &Case, family: IpFamily) -> Plan {
    let objects = case.update.as_ref().unwrap_or(&case.input);
    let mut config = case.config(objects);
    config.has_random_fully = true;
    Plan::new(&ServiceStore::new(objects).unwrap(), &config, family)
}

const DUMPS: [(IpFamily, &str); 2] =
    [(IpFamily::V4, "kernel-iptables-save.txt"), (IpFamily::V6, "kernel-ip6tables-save.txt")];

fn dumps() -> Vec<(String, Plan, String)> {
    let mut dumps = Vec::new();
    for folder in case::folders() {
        let case = Case::read(&folder);
        for (family, file) in DUMPS {
            if folder.join(file).is_file() {
                dumps.push((format!("{} {file}", case.name()), plan(&case, family), case.recorded(file)));
            }
        }
    }
    assert!(!dumps.is_empty());
    dumps
}

#[test]
fn a_node_that_runs_kube_proxy_is_as_it_should_be() {
    for (name, plan, dump) in dumps() {
        let found = diff::compare(&plan, &dump).unwrap();
        assert!(found.findings.is_empty(), "{name}:\n{found}");
        // As `iptables-save -c` prints it.
        let counted = dump.replace("\n-A ", "\n[12:3456] -A ");
        assert_eq!(diff::compare(&plan, &counted).unwrap(), found);
    }
}

#[test]
fn every_line_that_goes_or_comes_is_seen() {
    // The large dumps repeat the same kinds of rules, and each line costs a complete comparison.
    const LINES_MAX: usize = 100;
    for (name, plan, dump) in dumps().into_iter().filter(|(_, _, dump)| dump.lines().count() <= LINES_MAX) {
        let lines: Vec<&str> = dump.lines().collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("-A")) {
            let mut without = lines.clone();
            without.remove(index);
            let found = diff::compare(&plan, &without.join("\n")).unwrap();
            assert!(!found.findings.is_empty(), "{name}: without {line}");

            let is_guard = line.starts_with("-A KUBE-FIREWALL") || !line.starts_with("-A KUBE-");
            let mut twice = lines.clone();
            twice.insert(index, line);
            let found = diff::compare(&plan, &twice.join("\n")).unwrap();
            assert_eq!(found.findings.is_empty(), is_guard, "{name}: twice {line}");
        }
    }
}

fn edited(case: &str, edit: impl Fn(&str) -> String) -> String {
    let folder = case::folders().into_iter().find(|folder| folder.ends_with(case)).unwrap();
    let case = Case::read(&folder);
    let dump = edit(&case.recorded("kernel-iptables-save.txt"));
    diff::compare(&plan(&case, IpFamily::V4), &dump).unwrap().to_string()
}

fn without_lines(dump: &str, word: &str) -> String {
    dump.lines().filter(|line| !line.contains(word)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn differences_are_said_in_words() {
    let endpoint_gone = |dump: &str| {
        let dump = without_lines(dump, "KUBE-SEP-5KYHQA6S7JV2SJHX");
        dump.replace("--probability 0.33333333349", "--probability 0.50000000000")
    };
    insta::assert_snapshot!("an endpoint is missing", edited("029", endpoint_gone));

    let endpoint_added = |dump: &str| {
        dump.replace(":KUBE-SERVICES - [0:0]\n:KUBE-SVC", ":KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC").replace(
            "-A KUBE-SERVICES -d 10.96.0.10/32",
            "-A KUBE-SEP-AAAAAAAAAAAAAAAA -p tcp -m comment --comment \"default/web:http\" -m tcp -j DNAT --to-destination 10.244.9.9:8080\n\
             -A KUBE-SVC-CDGGSHYLG3RE2FKL -m comment --comment \"default/web:http -> 10.244.9.9:8080\" -j KUBE-SEP-AAAAAAAAAAAAAAAA\n\
             -A KUBE-SERVICES -d 10.96.0.10/32",
        )
    };
    insta::assert_snapshot!("an endpoint is stale", edited("001", endpoint_added));

    insta::assert_snapshot!(
        "a Service is missing",
        edited("013", |dump| without_lines(&without_lines(dump, "default/web"), "CDGGSHYLG3RE2FKL"))
    );
    insta::assert_snapshot!(
        "a Service is stale",
        edited("001", |dump| {
            dump.replace(
        "-A KUBE-SERVICES -d 10.96.0.10/32",
        "-A KUBE-SVC-BBBBBBBBBBBBBBBB -m comment --comment \"prod/old:http -> 10.244.9.9:8080\" -j KUBE-SEP-BBBBBBBBBBBBBBBB\n\
         -A KUBE-SERVICES -d 10.96.0.99/32 -p tcp -m comment --comment \"prod/old:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-BBBBBBBBBBBBBBBB\n\
         -A KUBE-SERVICES -d 10.96.0.10/32",
    )
        })
    );
    insta::assert_snapshot!(
        "source ranges are not kept",
        edited("013", |dump| without_lines(dump, "KUBE-PROXY-FIREWALL -d"))
    );
    insta::assert_snapshot!(
        "the node was flushed",
        edited("001", |_| "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
            .to_owned())
    );
    insta::assert_snapshot!("another mark", edited("001", |dump| dump.replace("0x4000", "0x8000")));
    insta::assert_snapshot!(
        "NodePorts come first",
        edited("029", |dump| {
            let tail = dump.lines().find(|line| line.contains("NOTE: this must be the last")).unwrap();
            without_lines(dump, "NOTE: this must be the last")
                .replace("-A KUBE-SERVICES -d 10.96", &format!("{tail}\n-A KUBE-SERVICES -d 10.96"))
        })
    );
}

#[test]
fn chains_of_others_are_not_looked_at() {
    let with_others = |dump: &str| {
        dump.replace("*nat\n", "*nat\n:CNI-FORWARD - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n:KUBE-PROXY-CANARY - [0:0]\n-A CNI-FORWARD --weird option -j ACCEPT\n")
            .replace("*filter\n", "*mangle\n:X - [0:0]\n-A X anything\nCOMMIT\n*filter\n")
    };
    assert_eq!(edited("001", with_others), "");
}

#[test]
fn what_is_no_dump_is_an_error_with_its_line() {
    let (_, plan, _) = dumps().remove(0);
    let table = "line 1: expected a table such as *nat, found";
    for (dump, expected) in [
        ("", &*format!("{table} the end of the text")),
        (
            "# Generated by iptables-save\n\n",
            "line 3: expected a table such as *nat, found the end of the text",
        ),
        ("hello", &format!("{table} \"hello\"")),
        (":INPUT ACCEPT [0:0]", &format!("{table} \":INPUT ACCEPT [0:0]\"")),
        ("COMMIT\n", &format!("{table} \"COMMIT\"")),
        (
            "*nat\n-N X\n",
            "line 2: expected a chain (:NAME), a rule (-A NAME), COMMIT or a comment, found \"-N X\"",
        ),
        ("*nat\nCOMMIT\ntable ip nat {", "line 3: expected a table such as *nat, found \"table ip nat {\""),
        (
            "*nat\n:X - [0:0]\n",
            "line 3: expected COMMIT, which ends the table nat, found the end of the text",
        ),
        ("*mangle\n", "line 2: expected COMMIT, which ends the table mangle, found the end of the text"),
        (
            "*nat\n:X - [0:0]\n*filter\nCOMMIT\n",
            "line 3: expected COMMIT, which ends the table nat, found \"*filter\"",
        ),
        (
            "*nat\n-A X -m comment --comment \"a b -j Y\nCOMMIT\n",
            "line 2: expected a closing quotation mark, found \"-A X -m comment --comment \\\"a b -j Y\"",
        ),
        (
            "*raw\n-A X -m comment --comment \"a \\\"\nCOMMIT\n",
            "line 2: expected a closing quotation mark, found \"-A X -m comment --comment \\\"a \\\\\\\"\"",
        ),
    ] {
        assert_eq!(diff::compare(&plan, dump).unwrap_err().to_string(), expected, "{dump:?}");
    }
    let escaped = "*nat\n-A X -m comment --comment \"a \\\"b\\\\\" -j Y\nCOMMIT\n";
    diff::compare(&plan, escaped).unwrap();
}

#[test]
fn a_service_that_changed_is_named() {
    // The rules before an update, compared with the plan after it.
    for folder in case::folders() {
        let case = Case::read(&folder);
        let Some(update) = &case.update else { continue };
        let config = case.config(update);
        let before = Plan::new(&ServiceStore::new(&case.input).unwrap(), &config, IpFamily::V4);
        let after = Plan::new(&ServiceStore::new(update).unwrap(), &config, IpFamily::V4);
        let found = diff::compare(&after, &proxy_core::iptables::restore(&before)).unwrap();
        let changed = after.change_since(&before);
        for finding in found.findings {
            match &finding.subject {
                FindingSubject::Service(name) => {
                    assert!(
                        changed.services.iter().any(|change| change.name.as_str() == name),
                        "{finding:?}"
                    );
                }
                // The restore input alone has no jumps.
                FindingSubject::Node => assert_eq!(finding.kind, FindingKind::Missing, "{finding:?}"),
                FindingSubject::Chain(_) | FindingSubject::VirtualService(_) => panic!("{finding:?}"),
            }
        }
    }
}
