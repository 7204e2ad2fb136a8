//! The files of `hairpin render --out`, and their effect on a real kernel.

use conformance::arm::kernel::lab::Lab;
use conformance::arm::kernel::requirement::{Requirement, missing};
use sim::hook::Family;
use sim::ipset::{Ipset, IpsetOptions};
use sim::ipvs::{Clock, Ipvs};
use sim::time::Instant;
use sim::xtables::{RestoreOptions, Xtables};
use std::collections::BTreeSet;
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

/// Both families share the files of ipset, ipvsadm and ip.
#[test]
fn ipvs_mode_has_sets_virtual_services_addresses_and_rules() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let output = render(out.path(), &["--mode", "ipvs", "--family", "dual", "--node", "node-1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = ["ipset.rules", "ipvs.rules", "ip.batch"];
    let texts = files.map(|file| format!("# {file}\n{}", read(out.path(), &format!("node-1/{file}"))));
    insta::assert_snapshot!("ipvs_files", texts.concat());
    insta::assert_snapshot!("ipvs_setup", read(out.path(), "node-1/setup.sh"));
    let (ipset, ipvs) = (read(out.path(), "node-1/ipset.rules"), read(out.path(), "node-1/ipvs.rules"));
    assert_eq!(ipset.lines().filter(|line| line.starts_with("create ")).count(), 2 * 17);
    assert!(ipvs.lines().all(|line| line.starts_with("-A ") || line.starts_with("-a ")));
    for file in ["iptables.rules", "ip6tables.rules"] {
        assert!(read(out.path(), &format!("node-1/{file}")).starts_with("*nat\n"));
    }
}

/// The sets and rules of IPVS mode are text that the simulator knows, although scenarios do not run in this mode yet.
#[test]
fn the_simulator_reads_the_sets_and_rules_of_ipvs_mode() {
    let out = tempfile::tempdir().expect("a temporary folder");
    assert!(render(out.path(), &["--mode", "ipvs", "--node", "node-1"]).status.success());
    let mut ipset = Ipset::default();
    let sets = read(out.path(), "node-1/ipset.rules");
    ipset.restore(Instant::START, "ipset.rules", &sets, IpsetOptions { exist: false }).expect("sets load");
    let members = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| line.starts_with("add ")).map(str::to_owned).collect()
    };
    assert_eq!(members(&ipset.save(Instant::START)), members(&sets));
    let rules = read(out.path(), "node-1/iptables.rules");
    let options = RestoreOptions { noflush: true, counters: true };
    Xtables::default()
        .restore(&mut ipset, Family::Ipv4, "iptables.rules", &rules, options)
        .expect("rules load");
}

#[test]
fn unreadable_inputs_and_outputs_end_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("latin-1.yaml"), b"a: 1\nb: caf\xe9\n").expect("the folder can be written");
    std::fs::write(path("file"), "").expect("the folder can be written");
    let (latin_1, file, nothing) = (path("latin-1.yaml"), path("file"), path("nothing/"));
    let cases = [
        (vec!["-", "--node", "x", "--diff", "-"], "`-` is given twice"),
        (vec!["-", "-"], "`-` is given twice"),
        (vec![&*latin_1], "found the byte 0xe9 at line 2, column 7"),
        (vec!["/dev/zero"], "/dev/zero has more than 256 MiB"),
        (vec!["nodeport-local", "--node", "node-1", "--diff", "."], "Is a directory"),
        (vec!["nodeport-local", "--out", &*file], "Not a directory"),
        (vec![&*nothing], "there is no such file"),
    ];
    for (arguments, said) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_hairpin"))
            .arg("render")
            .args(&arguments)
            .output()
            .expect("hairpin starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_pipe_can_be_named_as_a_file() {
    let manifests = include_bytes!("../scenarios/nodeport-local.yaml");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let reads = std::thread::spawn(move || {
        Command::new(env!("CARGO_BIN_EXE_hairpin")).args(["render", "/dev/stdin"]).stdin(reader).output()
    });
    std::io::Write::write_all(&mut writer, manifests).expect("hairpin reads");
    drop(writer);
    let output = reads.join().expect("the thread ends").expect("hairpin starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_kernel_has_the_rules_after_setup_and_the_same_ones_after_a_second_setup() {
    let needs =
        [Requirement::Root, Requirement::Program("ip"), Requirement::Program("iptables"), Requirement::Netns];
    let lacks = missing(&needs);
    if !lacks.is_empty() {
        eprintln!("skipped setup.sh: missing {lacks:?}");
        return;
    }
    let out = tempfile::tempdir().expect("a temporary folder");
    assert!(render(out.path(), &["--node", "node-2"]).status.success());
    let folder = out.path().join("node-2");
    let lab = Lab::create(["node-2"]).expect("namespaces can be created");
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

/// The rules of node-1 of `nodeport-local`, loaded into the simulator and saved again; in IPVS mode, with the sets and
/// virtual services.
fn saved_by_the_simulator(mode: &str) -> [String; 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(render(folder.path(), &["--mode", mode, "--node", "node-1"]).status.success());
    let mut tables = Xtables::default();
    let (mut ipset, mut ipvs) = (Ipset::default(), Ipvs::default());
    if mode == "ipvs" {
        let (sets, services) =
            (read(folder.path(), "node-1/ipset.rules"), read(folder.path(), "node-1/ipvs.rules"));
        ipset
            .restore(Instant::START, "ipset.rules", &sets, IpsetOptions { exist: false })
            .expect("rendered sets load");
        ipvs.restore(Clock::exact(Instant::START), "ipvs.rules", &services).expect("rendered services load");
    }
    let script = read(folder.path(), "node-1/setup.sh");
    for (number, line) in (1..).zip(script.lines()) {
        let mut words = line.splitn(4, ' ');
        let command = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("chain"), Some("iptables"), Some(table), Some(chain)) => {
                format!("iptables -t {table} -N {chain}")
            }
            (Some("jump"), Some("iptables"), Some(table), Some(rule)) => {
                format!("iptables -t {table} -I {rule}")
            }
            _ => continue,
        };
        tables.command(&mut ipset, "setup.sh", number, &command).expect("the commands of setup.sh are valid");
    }
    let rules = read(folder.path(), "node-1/iptables.rules");
    let options = RestoreOptions { noflush: true, counters: true };
    tables.restore(&mut ipset, Family::Ipv4, "iptables.rules", &rules, options).expect("rendered rules load");
    [tables.save(Family::Ipv4, false), ipset.save(Instant::START), ipvs.save()]
}

fn diff(mode: &str, dumps: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hairpin"));
    command.args(["render", "nodeport-local", "--node", "node-1", "--mode", mode]);
    for (number, dump) in dumps.iter().enumerate() {
        let file = folder.path().join(format!("dump-{number}"));
        std::fs::write(&file, dump).expect("a file can be written");
        command.arg("--diff").arg(&file);
    }
    let output = command.output().expect("hairpin starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn releases_of_kube_proxy_can_be_named() {
    let rendered = |release: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_hairpin"))
            .args(["render", "nodeport-local", "--node", "node-1", "--kube-proxy-version", release])
            .output()
            .expect("hairpin starts");
        (output.status.code(), output.stdout)
    };
    assert_eq!(rendered("newest").0, Some(0));
    assert_eq!(rendered("1.31").0, Some(0));
    assert_eq!(rendered("1.0").0, Some(2));
}

#[test]
fn a_node_is_compared_with_what_it_should_have() {
    let [saved, ..] = saved_by_the_simulator("iptables");
    assert_eq!(diff("iptables", &[&saved]), (Some(0), "node-1 has the expected rules\n".to_owned()));
    let (code, words) = diff("iptables", &[&saved, &saved]);
    assert!(code == Some(2) && words.contains("one dump has everything"), "{words}");
    let without_dnat: Vec<&str> = saved.lines().filter(|line| !line.contains("-j DNAT")).collect();
    let (code, words) = diff("iptables", &[&without_dnat.join("\n")]);
    assert_eq!(code, Some(1));
    assert!(words.contains("missing in nat") && words.contains("DNAT"), "{words}");
    for (dump, place) in [
        ("what is this", "dump-0: line 1: expected a table"),
        ("", "dump-0: line 1: expected a table"),
        ("*nat\n:KUBE-SERVICES - [0:0]\n", "dump-0: line 3: expected COMMIT"),
        (
            "*nat\n-A X -m comment --comment \"open\nCOMMIT\n",
            "dump-0: line 2: expected a closing quotation mark",
        ),
    ] {
        let (code, words) = diff("iptables", &[dump]);
        assert_eq!(code, Some(2), "{dump:?}: {words}");
        assert!(
            words.contains(place) && words.contains("help: use the complete output of iptables-save"),
            "{dump:?}: {words}"
        );
    }
}

#[test]
fn a_node_in_ipvs_mode_is_compared_by_all_its_dumps() {
    let saved = saved_by_the_simulator("ipvs");
    let [rules, sets, services] = saved.each_ref().map(String::as_str);
    let addresses =
        "2: kube-ipvs0: <BROADCAST,NOARP> mtu 1500\n    inet 10.96.0.1/32 scope global kube-ipvs0\n";
    let all = [rules, sets, services].concat();
    let other = all.replace(" -s rr", " -s wlc");
    let expected = "node-1 has the expected rules, sets and virtual services; addresses were not compared, without output \
                    of ip addr\n";
    for dumps in [&[&*all][..], &[rules, sets, services], &[services, rules, sets]] {
        assert_eq!(diff("ipvs", dumps), (Some(0), expected.to_owned()));
    }
    for (dumps, expected) in [
        (vec![rules, sets], "missing in ipvsadm -Sn"),
        (vec![&*all, addresses], "missing in device kube-ipvs0"),
        (vec![&*other], "the scheduler is wlc instead of rr"),
    ] {
        let (code, words) = diff("ipvs", &dumps);
        assert!(code == Some(1) && words.contains(expected), "{code:?} {words}");
    }
    let (code, words) = diff("ipvs", &[&all, "Name: KUBE-CLUSTER-IP\n"]);
    assert_eq!(code, Some(2));
    assert!(
        words.contains("dump-1: line 1: expected the output of") && words.contains("help: give"),
        "{words}"
    );
}
