//! Compares the files of a recorded case about IPVS mode: sets, virtual services, addresses, sysctls, rules and jumps.

use proxy_core::generator::Generator;
use proxy_core::ipvs::NodeState;
use proxy_core::load::{Ensure, Load, Tool};
use proxy_core::objects::{IpFamily, Object};
use serde_json::{Value, json};

use super::case::Case;
use super::compare;
use super::node_model::NodeModel;
use super::plan;
use super::restore_model::Ruleset;

struct Files {
    family: IpFamily,
    key: &'static str,
    rules: &'static str,
    jumps: &'static str,
}

const FILES: [Files; 2] = [
    Files { family: IpFamily::V4, key: "IPv4", rules: "ipvs-iptables.txt", jumps: "ipvs-iptables-jumps.txt" },
    Files {
        family: IpFamily::V6,
        key: "IPv6",
        rules: "ipvs-ip6tables.txt",
        jumps: "ipvs-ip6tables-jumps.txt",
    },
];

/// The differences; empty if the folder has no files about IPVS mode.
pub(crate) fn differences(case: &Case) -> String {
    let mut report = String::new();
    for files in &FILES {
        let has = |name: &str| case.folder.join(name).is_file();
        let (first, states) = states(case, files.family);
        let mut note = |what: &str, difference: String| {
            for line in difference.lines() {
                report += &format!("{}: ipvs {}: {what}: {line}\n", case.name(), files.key);
            }
        };
        for (how, node) in &states {
            note(how, state_differences(case, files, node));
        }
        if has(files.jumps) {
            // kube-proxy ensures them in every sync.
            let syncs = 1 + usize::from(case.update.is_some());
            note("jumps", lines_in_order(&case.recorded(files.jumps), &vec![jumps(&first); syncs].concat()));
        }
        if has("ipvs.json") {
            let recorded: Value = serde_json::from_str(&case.recorded("ipvs.json")).unwrap();
            note("sysctls", sysctls(&recorded[files.key], &first));
        }
    }
    report
}

fn state_differences(case: &Case, files: &Files, node: &NodeModel) -> String {
    let has = |name: &str| case.folder.join(name).is_file();
    let mut report = String::new();
    if has(files.rules) {
        let mut recorded = Ruleset::default();
        recorded.restore(&case.recorded(files.rules)).unwrap();
        report += &compare::differences(&recorded, &node.rules);
    }
    if has("ipset.txt") {
        report += &lines(&recorded_sets(case, files.key), &sets(node), "ipset.txt");
    }
    if has("ipvs.json") {
        let recorded: Value = serde_json::from_str(&case.recorded("ipvs.json")).unwrap();
        report += &virtual_servers(&recorded[files.key], node);
    }
    report
}

/// Makes one change after another in the state of IPv4, and returns how many were possible.
///
/// # Panics
/// If a change is not seen.
pub(crate) fn check_changes_are_seen(case: &Case) -> usize {
    type Change = fn(&mut NodeModel) -> Option<()>;
    let changes: [(&str, Change); 8] = [
        ("a missing set", |node| node.sets.pop_first().map(drop)),
        ("an extra set", |node| node.sets.insert("X".to_owned(), Default::default()).is_none().then_some(())),
        ("a missing member", |node| node.sets.get_mut("KUBE-CLUSTER-IP")?.1.pop_first().map(drop)),
        ("an extra member", |node| {
            node.sets.get_mut("KUBE-CLUSTER-IP")?.1.insert("192.0.2.1,tcp:80".to_owned()).then_some(())
        }),
        ("a missing virtual service", |node| node.services.pop_first().map(drop)),
        ("another scheduler", |node| {
            node.services.values_mut().next().map(|service| service.scheduling = "-s wlc".to_owned())
        }),
        ("another weight", |node| {
            let mut servers = node.services.values_mut().flat_map(|service| service.servers.values_mut());
            servers.next().map(|weight| *weight = "2".to_owned())
        }),
        ("a missing address", |node| node.addresses.get_mut("kube-ipvs0")?.pop_first().map(drop)),
    ];
    let (_, states) = states(case, IpFamily::V4);
    let mut possible = 0;
    for (_, node) in &states {
        assert_eq!(state_differences(case, &FILES[0], node), "");
        for (what, change) in changes {
            let mut changed = node.clone();
            if change(&mut changed).is_some() {
                possible += 1;
                let found = state_differences(case, &FILES[0], &changed);
                assert!(!found.is_empty(), "{}: {what} is not seen", case.name());
            }
        }
    }
    possible
}

/// The list that the node loads first, and its final states.
fn states(case: &Case, family: IpFamily) -> (Vec<Load>, Vec<(&'static str, NodeModel)>) {
    let loaded = |objects: &[Object]| {
        let loads = Generator::Ipvs.load(&plan(case, objects, family));
        let mut node = NodeModel::default();
        node.load(&loads).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        (loads, node)
    };
    let (first, mut node) = loaded(&case.input);
    let Some(update) = &case.update else { return (first, vec![("full load", node)]) };
    let (before, after) = (plan(case, &case.input, family), plan(case, update, family));
    let mut state = NodeState::new(&before);
    node.load(&state.sync(&after, &after.change_since(&before))).unwrap();
    // The recording back end has no connections.
    node.run(Tool::IpvsadmRestore, &state.drain(|_| 0)).unwrap();
    (first, vec![("full load after the update", loaded(update).1), ("full load, then the sync", node)])
}

fn sets(node: &NodeModel) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, (how, members)) in &node.sets {
        lines.push(format!("create {name} {how}"));
        lines.extend(members.iter().map(|member| format!("add {name} {member}")));
    }
    lines
}

/// The recorded members, as far as the kernel has them: it refuses networks with prefix length 0, which kube-proxy v1.31
/// still tried to add.
fn recorded_sets(case: &Case, family: &str) -> Vec<String> {
    let text = case.recorded("ipset.txt");
    let of_family = text.split("# ").find_map(|part| part.strip_prefix(family)).unwrap_or_default();
    let is_storable = |line: &&str| !(line.ends_with(",0.0.0.0/0") || line.ends_with(",::/0"));
    of_family.lines().filter(|line| !line.is_empty()).filter(is_storable).map(str::to_owned).collect()
}

fn virtual_servers(recorded: &Value, node: &NodeModel) -> String {
    let pretty = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|service| normalized(service).to_string()).collect()
    };
    let found: Vec<Value> = node.services.iter().map(|(key, service)| json_of(key, service)).collect();
    let bound = |address: &String| address.rsplit_once('/').unwrap().0.to_owned();
    let found_addresses: Vec<_> = node.addresses["kube-ipvs0"].iter().map(bound).collect();
    let addresses = recorded["boundAddresses"]["kube-ipvs0"].as_array().unwrap();
    let addresses: Vec<_> = addresses.iter().map(|address| address.as_str().unwrap().to_owned()).collect();
    lines(&pretty(&recorded["virtualServers"]), &pretty(&Value::Array(found)), "ipvs.json")
        + &lines(&addresses, &found_addresses, "addresses of kube-ipvs0")
}

fn normalized(service: &Value) -> Value {
    let mut service = service.clone();
    let servers = service["realServers"].as_array_mut().unwrap();
    servers.sort_by_key(Value::to_string);
    service
}

/// In the form of `ipvs.json`.
fn json_of(key: &str, service: &super::node_model::VirtualServiceModel) -> Value {
    let (option, socket) = key.split_once(' ').unwrap();
    let protocol = match option {
        "-t" => "TCP",
        "-u" => "UDP",
        _ => "SCTP",
    };
    let socket: std::net::SocketAddr = socket.parse().unwrap();
    let servers = service.servers.iter().map(|(server, weight)| {
        let server: std::net::SocketAddr = server.parse().unwrap();
        json!({"address": server.ip(), "port": server.port(), "weight": weight.parse::<u32>().unwrap()})
    });
    let words: Vec<&str> = service.scheduling.split(' ').collect();
    let after = |option: &str| words.iter().position(|word| *word == option).map(|index| words[index + 1]);
    let mut json = json!({
        "address": socket.ip(), "port": socket.port(), "protocol": protocol,
        "scheduler": after("-s"), "realServers": servers.collect::<Vec<_>>(),
    });
    if let Some(seconds) = after("-p") {
        json["flags"] = json!(["persistent"]);
        json["timeout"] = json!(seconds.parse::<u32>().unwrap());
    }
    normalized(&json)
}

fn sysctls(recorded: &Value, loads: &[Load]) -> String {
    // The conntrack settings belong to every mode.
    let set = loads.iter().filter_map(|load| match load {
        Load::Sysctl { name, value } if !name.starts_with("net.netfilter.") => {
            Some(format!("{}={value}", name.replace('.', "/")))
        }
        _ => None,
    });
    let recorded: Vec<_> = recorded["sysctls"].as_array().unwrap().iter().collect();
    let recorded: String = recorded.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect();
    lines_in_order(&recorded, &set.collect::<Vec<_>>())
}

/// The commands without the program.
fn jumps(loads: &[Load]) -> Vec<String> {
    let ensured = loads.iter().filter_map(|load| match load {
        Load::Ensure(ensure @ (Ensure::Chain { .. } | Ensure::Jump { .. })) => Some(ensure.command()),
        _ => None,
    });
    ensured.map(|command| command.split_once(' ').unwrap().1.to_owned()).collect()
}

fn lines(recorded: &[String], found: &[String], what: &str) -> String {
    let missing = recorded.iter().filter(|line| !found.contains(line));
    let extra = found.iter().filter(|line| !recorded.contains(line));
    missing
        .map(|line| format!("{what}: missing: {line}\n"))
        .chain(extra.map(|line| format!("{what}: extra:   {line}\n")))
        .collect()
}

fn lines_in_order(recorded: &str, found: &[String]) -> String {
    let recorded: Vec<&str> = recorded.lines().collect();
    if recorded == *found { String::new() } else { format!("expected {recorded:#?}, found {found:#?}\n") }
}
