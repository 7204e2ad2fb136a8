//! Dumps of a node in IPVS mode, compared with what it should have. The dumps are those of a real kernel (`ipvs-dumps/`).
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/case.rs"]
mod case;
#[path = "support/manifests.rs"]
mod manifests;

use case::Case;
use proxy_core::ipvs::diff::{Dump, compare};
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use std::path::Path;

const CASES: [&str; 4] = ["013", "029", "041", "043"];

fn plans(name: &str) -> [Plan; 2] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube-proxy-cases").join(name);
    let case = Case::read(&folder);
    let mut config = case.config(&case.input);
    config.has_random_fully = true;
    config.has_nfacct = false;
    let store = ServiceStore::new(&case.input).unwrap();
    [IpFamily::V4, IpFamily::V6].map(|family| Plan::new(&store, &config, family))
}

fn dump(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/ipvs-dumps/{name}.txt"));
    std::fs::read_to_string(path).unwrap()
}

/// The differences of both families.
fn differences(plans: &[Plan; 2], dump: &str) -> String {
    let dump = [Dump { source: "dump", text: dump }];
    plans.iter().map(|plan| compare(plan, &dump).unwrap().diff.to_string()).collect()
}

#[test]
fn a_node_as_it_should_be_has_no_differences() {
    type Edit = fn(&str) -> String;
    let edits: [(&str, Edit); 8] = [
        ("nothing", str::to_owned),
        ("counters", |dump| dump.replace("\n-A KUBE-", "\n[12:345] -A KUBE-").replace("[0:0] -A", "-A")),
        ("order of members, services and servers", |dump| {
            let mut lines: Vec<&str> = dump.lines().collect();
            // Servers stay behind their service.
            lines.sort_by_key(|line| match line.split(' ').next() {
                Some("add") => (1, line.len()),
                Some("-a") if line.contains(" -r ") => (1, line.len()),
                Some("create") => (0, line.len()),
                _ => (0, 0),
            });
            lines.join("\n")
        }),
        ("larger hash tables", |dump| dump.replace("hashsize 1024", "hashsize 4096")),
        ("defaults", |dump| dump.replace(" -p 60", " -p 60 -M 255.255.255.255").replace(" -m -w 1", " -m")),
        ("a server that ends its connections", |dump| {
            dump.replace(
                "-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -m -w 1",
                "-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -m -w 1\n-a -t 10.96.0.10:80 -r 10.244.9.9:8080 -m -w 0",
            )
        }),
        ("sets, rules and addresses of others", |dump| {
            format!("create mine hash:net family inet\nadd mine 10.0.0.0/8\n{dump}9: eth0: <UP> mtu 1500\n    inet 10.9.9.9/24\n")
                .replace("*nat\n", "*nat\n:DOCKER - [0:0]\n-A OUTPUT -j DOCKER\n")
        }),
        ("one line for each address", |dump| {
            let address = |line: &str| match line.strip_prefix("    inet") {
                Some(rest) if line.ends_with("kube-ipvs0") => format!("2: kube-ipvs0    inet{rest}\n"),
                _ => format!("{line}\n"),
            };
            dump.lines().map(address).collect()
        }),
    ];
    for name in CASES {
        let (plans, dump) = (plans(name), dump(name));
        for (what, edit) in edits {
            assert_eq!(differences(&plans, &edit(&dump)), "", "{name}: {what}");
        }
    }
}

#[test]
fn every_line_that_goes_is_seen() {
    for name in CASES {
        let (plans, dump) = (plans(name), dump(name));
        let lines: Vec<&str> = dump.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_content =
                ["-A ", "[0:0] -A", "-a ", "create ", "add "].iter().any(|start| line.starts_with(start))
                    || line.contains("scope global");
            if !is_content {
                continue;
            }
            let mut without = lines.clone();
            without.remove(index);
            // Members and servers without their set or service would be no dump.
            let owner = line.strip_prefix("create ").map_or_else(
                || {
                    line.strip_prefix("-A ")
                        .filter(|_| line.contains(" -s ") && !line.contains("KUBE"))
                        .map(|rest| format!("-a {} -r", rest.split(" -s").next().unwrap()))
                },
                |rest| Some(format!("add {} ", rest.split(' ').next().unwrap())),
            );
            without.retain(|other| owner.as_ref().is_none_or(|owner| !other.starts_with(owner)));
            assert_ne!(differences(&plans, &without.join("\n")), "", "{name}: without {line}");
        }
    }
}

#[test]
fn differences_are_said_with_their_place_and_effect() {
    let without = |dump: &str, words: &[&str]| -> String {
        let kept = dump.lines().filter(|line| !words.iter().any(|word| line.contains(word)));
        kept.map(|line| format!("{line}\n")).collect()
    };
    let after =
        |dump: &str, line: &str, more: &str| dump.replace(&format!("{line}\n"), &format!("{line}\n{more}\n"));
    let check = |name: &str, what: &str, edit: &dyn Fn(&str) -> String| {
        insta::assert_snapshot!(what, differences(&plans(name), &edit(&dump(name))));
    };
    check("029", "a server is missing", &|dump| without(dump, &["-t 10.96.0.10:80 -r 10.244.3.3:8080"]));
    check("029", "servers have other weights and methods, and one is too many", &|dump| {
        let dump = dump
            .replace(
                "-t 10.96.0.10:80 -r 10.244.3.3:8080 -m -w 1",
                "-t 10.96.0.10:80 -r 10.244.3.3:8080 -m -w 0",
            )
            .replace(
                "-t 10.96.0.10:80 -r 10.244.4.4:8080 -m -w 1",
                "-t 10.96.0.10:80 -r 10.244.4.4:8080 -g -w 5",
            );
        after(&dump, "-A -t 10.96.0.10:80 -s rr -p 60", "-a -t 10.96.0.10:80 -r 10.244.9.9:8080 -m -w 1")
    });
    check("029", "a virtual service is different", &|dump| {
        dump.replace(
            "-A -t 10.96.0.10:80 -s rr -p 60",
            "-A -t 10.96.0.10:80 -s sh -p 10800 -M 255.255.0.0 -b sh-port",
        )
        .replace("-A -t 192.168.1.10:30080 -s rr -p 60", "-A -t 192.168.1.10:30080 -s rr")
    });
    check("029", "a Service is missing as a whole", &|dump| {
        without(dump, &["10.96.0.10", "10.244.1.2", "30080"])
    });
    check("029", "virtual services of others", &|dump| {
        after(
            dump,
            "-A -t 10.96.0.10:80 -s rr -p 60",
            "-A -t 10.96.0.99:80 -s rr\n-a -t 10.96.0.99:80 -r 10.244.9.9:8080 -m -w 1\n-A -f 7 -s wlc",
        )
    });
    check("013", "members are missing", &|dump| {
        without(
            dump,
            &["add KUBE-CLUSTER-IP", "add KUBE-LOAD-BALANCER-FW", "add KUBE-LOAD-BALANCER-SOURCE-CIDR"],
        )
    });
    check("013", "members and sets are too many", &|dump| {
        let dump = after(
            dump,
            "create KUBE-NODE-PORT-LOCAL-TCP bitmap:port range 0-65535",
            "add KUBE-NODE-PORT-LOCAL-TCP 30080\ncreate KUBE-OLD hash:ip family inet hashsize 1024 maxelem 65536",
        );
        dump.replace("add KUBE-IPVS-IPS", "add KUBE-IPVS-IPS 10.96.0.99\nadd KUBE-IPVS-IPS")
    });
    check("013", "a set is missing, another has another type", &|dump| {
        without(dump, &["KUBE-LOAD-BALANCER-FW hash", "add KUBE-LOAD-BALANCER-FW"]).replace(
            "create KUBE-IPVS-IPS hash:ip family inet",
            "create KUBE-IPVS-IPS hash:ip timeout 60 family inet",
        )
    });
    check("013", "rules are missing, foreign and in another order", &|dump| {
        let dump =
            without(dump, &["-A INPUT -m comment --comment \"kubernetes ipvs access filter\"", "-j REJECT"]);
        let dump = after(
            &dump,
            "[0:0] -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
            "-A KUBE-NODE-PORT -j ACCEPT",
        );
        let masquerade = "[0:0] -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n";
        let dump = dump.replacen(masquerade, "", 1);
        dump.replacen(
            "[0:0] -A KUBE-POSTROUTING -m comment",
            &format!("{masquerade}[0:0] -A KUBE-POSTROUTING -m comment"),
            1,
        )
    });
    check("013", "chains of iptables mode are left", &|dump| {
        dump.replacen(
            "*nat\n",
            "*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\n:KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]\n",
            1,
        )
    });
    check("043", "addresses of the device", &|dump| {
        let dump = without(dump, &["    inet6 2001:db8::7"]);
        format!(
            "{dump}9: kube-ipvs0: <BROADCAST,NOARP>\n    inet6 2001:db8::99/128 scope global\n    inet6 fe80::1/64 scope link\n"
        )
    });
    check("029", "the device is missing", &|dump| without(dump, &["kube-ipvs0"]));
    check("029", "only rules are given", &|dump| dump[..dump.find("create ").unwrap()].to_owned());
    check("029", "nothing but an address list is given", &|dump| {
        dump[dump.find("1: lo").unwrap()..].to_owned()
    });
}

#[test]
fn what_is_no_dump_is_an_error_with_its_place() {
    let plan = &plans("029")[0];
    let any = "the output of iptables-save, ipset save, ipvsadm -Sn or ip addr";
    for (text, expected) in [
        ("", format!("line 1: expected {any}, found the end of the text")),
        ("# only a comment\n", format!("line 2: expected {any}, found the end of the text")),
        ("\nName: KUBE-CLUSTER-IP\n", format!("line 2: expected {any}, found \"Name: KUBE-CLUSTER-IP\"")),
        ("IP Virtual Server version 1.2.1", format!("line 1: expected {any}, found \"IP Virtual Server version 1.2.1\"")),
        ("    inet 10.0.0.1/32", format!("line 1: expected {any}, found \"    inet 10.0.0.1/32\"")),
        (
            "*nat\nCOMMIT\n*filter\nCOMMIT\n*nat\nCOMMIT",
            "line 5: expected each table once: iptables-save of one back end and one address family, found \"*nat\"".to_owned(),
        ),
        ("add X 10.0.0.1", "line 1: expected a set that an earlier line creates, found \"add X 10.0.0.1\"".to_owned()),
        ("create X hash:ip\ncreate X hash:ip", "line 2: expected each set once, found \"create X hash:ip\"".to_owned()),
        ("create X", "line 1: expected the type of the set, found \"create X\"".to_owned()),
        (
            "-A -t web:http -s rr",
            "line 1: expected a service: -t IP:PORT, -u IP:PORT, --sctp-service IP:PORT or -f MARK, with numbers (ipvsadm -Sn), \
             found \"-A -t web:http -s rr\""
                .to_owned(),
        ),
        ("-A -t 10.0.0.1:80", "line 1: expected a scheduler: -s NAME, found \"-A -t 10.0.0.1:80\"".to_owned()),
        (
            "\n\n-a -t 10.0.0.1:80 -r 10.0.0.2:80",
            "line 3: expected a server of a service that an earlier line adds, found \"-a -t 10.0.0.1:80 -r 10.0.0.2:80\"".to_owned(),
        ),
        (
            "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -q",
            "line 2: expected an option of a server: -m, -g, -i, -w or --tun-type, found \"-a -t 10.0.0.1:80 -r 10.0.0.2:80 -q\""
                .to_owned(),
        ),
        (
            "2: kube-ipvs0: <NOARP>\n    inet x",
            "line 2: expected an address after inet or inet6, found \"    inet x\"".to_owned(),
        ),
    ] {
        let found = compare(plan, &[Dump { source: "dump", text }]).unwrap_err().to_string();
        assert_eq!(found, format!("dump: {expected}"), "{text:?}");
    }
    let text = "create X hash:ip\n";
    let twice = [Dump { source: "a", text }, Dump { source: "b", text }];
    assert_eq!(
        compare(plan, &twice).unwrap_err().to_string(),
        "b: line 1: expected one dump with the output of ipset save: a has it too, found \"create X hash:ip\""
    );
}
