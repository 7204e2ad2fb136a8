//! Loads the lists of nodes in a virtual machine, each in a network namespace of its own.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::thread;

use proxy_core::load::{Ensure, Load, Tool};

/// With its path: the shell of busybox has an `ip` of its own, which knows less.
const IP: &str = "/bin/ip";

/// What the tools print after a node has loaded its list.
#[derive(Debug, Default)]
pub(crate) struct Dumped {
    pub(crate) node: String,
    /// What the tools said while they loaded.
    pub(crate) messages: String,
    /// `iptables-save` or `ip6tables-save`.
    pub(crate) rules: String,
    /// `ipset save`.
    pub(crate) sets: String,
    /// `ipvsadm -Sn`.
    pub(crate) virtual_services: String,
    /// `ip addr`.
    pub(crate) addresses: String,
}

/// Nodes of one virtual machine: its answer must come within a time limit.
const NODES_MAX: usize = 60;

/// `None`, with a message, if there is no virtual machine.
pub(crate) fn load_all<'a>(nodes: impl Iterator<Item = (&'a str, Vec<Load>)>) -> Option<Vec<Dumped>> {
    let scripts = nodes.zip(["nft", "legacy"].into_iter().cycle());
    let scripts: Vec<String> =
        scripts.map(|((name, loads), backend)| node_script(name, backend, &loads)).collect();
    let mut all = Vec::new();
    for scripts in scripts.chunks(NODES_MAX) {
        // The first command loads ip_vs: its sysctls exist from then on.
        all.extend(dumps(&run(format!("ipvsadm -L > /dev/null\n{}", scripts.concat()))?));
    }
    Some(all)
}

/// What a script prints in a virtual machine.
fn run(script: String) -> Option<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hairpin"))
        .args(["lab", "vm", "exec", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hairpin starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // Without a virtual machine, the command ends before it reads.
    let writer = thread::spawn(move || drop(stdin.write_all(script.as_bytes())));
    let output = child.wait_with_output().expect("hairpin ends");
    writer.join().expect("nothing panics");
    let messages = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) {
        // Not with `eprintln`, which the test harness captures.
        let _ = writeln!(io::stderr(), "SKIPPED: {messages}");
        let is_required = std::env::var("HAIRPIN_VM").is_ok_and(|value| value == "required");
        assert!(!is_required, "the virtual machine is required: {messages}");
        return None;
    }
    assert!(output.status.success(), "{messages}");
    Some(String::from_utf8(output.stdout).expect("dumps are text"))
}

/// The dumps in what scripts print.
fn dumps(text: &str) -> Vec<Dumped> {
    let mut all = Vec::new();
    for part in text.split("=== ").skip(1) {
        let (title, body) = part.split_once('\n').expect("a title is a line");
        if let Some(node) = title.strip_prefix("node ") {
            all.push(Dumped { node: node.to_owned(), ..Dumped::default() });
            continue;
        }
        let dumped: &mut Dumped = all.last_mut().expect("the title of a node comes first");
        let place = match title {
            "messages" => &mut dumped.messages,
            "rules" => &mut dumped.rules,
            "sets" => &mut dumped.sets,
            "services" => &mut dumped.virtual_services,
            "addresses" => &mut dumped.addresses,
            other => panic!("unknown title {other}"),
        };
        body.clone_into(place);
    }
    all
}

/// Loads a list in a new namespace, prints the dumps, and deletes the namespace. An emulated processor takes long for each
/// process, so there are as few as possible.
fn node_script(name: &str, backend: &str, loads: &[Load]) -> String {
    let mut files = Files::default();
    // Without local routes, no address is a unicast address, and ipvsadm cannot add servers.
    files.add("ip -batch", "link set lo up\n");
    let mut has_device = false;
    let mut sysctls = String::new();
    let mut ensured: Vec<&Ensure> = Vec::new();
    for item in loads {
        match item {
            // Conntrack settings belong to the whole machine.
            Load::Sysctl { name, .. } if name.starts_with("net.netfilter.") => {}
            Load::Sysctl { name, value } => {
                writeln!(sysctls, "echo {value} > /proc/sys/{}", name.replace('.', "/")).unwrap();
            }
            Load::Ensure(ensure @ (Ensure::Chain { .. } | Ensure::Jump { .. })) => ensured.push(ensure),
            Load::Ensure(Ensure::Device { device }) => {
                if std::mem::replace(&mut has_device, true) {
                    continue;
                }
                files.add("ip -batch", &format!("link add {device} type dummy\n"));
            }
            Load::Text { tool, text } => {
                let family = match tool {
                    Tool::IptablesRestore => Some("iptables"),
                    Tool::Ip6tablesRestore => Some("ip6tables"),
                    Tool::IpsetRestore | Tool::IpvsadmRestore | Tool::IpBatch => None,
                };
                if let Some(family) = family {
                    let first = restore_input(&std::mem::take(&mut ensured));
                    files.add(&format!("{family}-{backend}-restore --noflush"), &(first + text));
                } else {
                    files.add(command(*tool), text);
                }
            }
        }
    }
    let (written, load) = files.script();
    let titled = [
        ("messages", format!("{{ {sysctls}{load}}} 2>&1")),
        ("rules", format!("iptables-{backend}-save -c\nip6tables-{backend}-save")),
        ("sets", "ipset save".to_owned()),
        ("services", "ipvsadm -Sn".to_owned()),
        ("addresses", format!("{IP} addr")),
    ];
    let titled: String =
        titled.iter().map(|(title, command)| format!("echo '=== {title}'\n{command}\n")).collect();
    format!(
        "echo '=== node {name}'\n{written}cat > /tmp/node << 'END'\n{titled}END\n\
         {IP} netns add node\n{IP} netns exec node sh /tmp/node\n{IP} netns delete node\n"
    )
}

const fn command(tool: Tool) -> &'static str {
    match tool {
        Tool::IptablesRestore => "iptables-restore --noflush",
        Tool::Ip6tablesRestore => "ip6tables-restore --noflush",
        Tool::IpsetRestore => "ipset restore",
        Tool::IpvsadmRestore => "ipvsadm --restore",
        Tool::IpBatch => "ip -batch",
    }
}

/// The input of each command, in the order in which they are needed first.
#[derive(Default)]
struct Files {
    inputs: Vec<(String, String)>,
}

impl Files {
    fn add(&mut self, command: &str, text: &str) {
        match self.inputs.iter_mut().find(|(known, _)| known == command) {
            Some((_, input)) => input.push_str(text),
            None => self.inputs.push((command.to_owned(), text.to_owned())),
        }
    }

    /// The lines that write the files, and those that load them.
    fn script(&self) -> (String, String) {
        let (mut written, mut load) = (String::new(), String::new());
        for (number, (command, input)) in self.inputs.iter().enumerate() {
            write!(written, "cat > /tmp/{number} << 'END'\n{input}END\n").unwrap();
            let line = match command.strip_prefix("ip ") {
                Some(arguments) => format!("{IP} {arguments} /tmp/{number}"),
                None => format!("{command} < /tmp/{number}"),
            };
            writeln!(load, "{line}").unwrap();
        }
        (written, load)
    }
}

/// Chains and jumps as one input of `iptables-restore`.
fn restore_input(ensured: &[&Ensure]) -> String {
    let mut text = String::new();
    for name in ["nat", "filter"] {
        writeln!(text, "*{name}").unwrap();
        for ensure in ensured {
            match ensure {
                Ensure::Chain { table, chain, .. } if table.to_string() == name => {
                    writeln!(text, ":{chain} - [0:0]").unwrap();
                }
                Ensure::Jump { table, from, rule, .. } if table.to_string() == name => {
                    writeln!(text, "-I {from} {rule}").unwrap();
                }
                Ensure::Chain { .. } | Ensure::Jump { .. } | Ensure::Device { .. } => {}
            }
        }
        text.push_str("COMMIT\n");
    }
    text
}
