//! `setup.sh`: loads on one node what kube-proxy would, in the order in which kube-proxy does it at start.

use conformance::proxy::NodeRules;
use proxy_core::iptables::restore_command;
use proxy_core::objects::IpFamily;
use std::collections::BTreeSet;

/// The name of a family's rule file.
pub(super) const fn file_name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables.rules",
        IpFamily::V6 => "ip6tables.rules",
    }
}

/// The script. It is idempotent: existing chains and jumps are kept, and the restore replaces the rest.
pub(super) fn script(node: &str, mode: &str, rules: &[(IpFamily, NodeRules)]) -> String {
    let mut script = format!(
        "#!/bin/sh\n\
         # Loads the rules of kube-proxy on {node} in mode {mode}.\n\
         # Run as root with sh, from this folder, in the network namespace of the node.\n\
         set -eu\n"
    );
    // Both families set the same conntrack sysctls.
    let mut sysctls: Vec<&(String, String)> = Vec::new();
    for sysctl in rules.iter().flat_map(|(_, rules)| &rules.sysctls) {
        if !sysctls.contains(&sysctl) {
            sysctls.push(sysctl);
        }
    }
    if !sysctls.is_empty() {
        script.push_str(SYSCTL_FUNCTION);
        script.extend(sysctls.iter().map(|(name, value)| format!("sysctl_set {name} {value}\n")));
    }
    script.push_str(JUMP_FUNCTION);
    for (family, rules) in rules {
        script.push('\n');
        // kube-proxy ensures a chain before every jump into it; once is enough.
        let mut made = BTreeSet::new();
        for line in rules.commands.iter().map(|command| line(command)) {
            if !line.starts_with("chain ") || made.insert(line.clone()) {
                script.push_str(&line);
                script.push('\n');
            }
        }
        script.push_str(&format!("{} --noflush < {}\n", restore_command(*family), file_name(*family)));
    }
    script
}

const SYSCTL_FUNCTION: &str = r#"
# Some settings of conntrack belong to the whole machine and can be changed in the first network namespace only.
sysctl_set() {
  file=/proc/sys/$(printf %s "$1" | tr . /)
  printf '%s\n' "$2" 2> /dev/null > "$file" || printf 'setup.sh: %s stays as it is\n' "$1" >&2
}
"#;

const JUMP_FUNCTION: &str = r#"
# chain COMMAND TABLE CHAIN; jump COMMAND TABLE FROM RULE...: what is there already is kept.
chain() { "$1" -w -t "$2" -n -L "$3" > /dev/null 2>&1 || "$1" -w -t "$2" -N "$3"; }
jump() {
  command=$1 table=$2 from=$3
  shift 3
  "$command" -w -t "$table" -C "$from" "$@" 2> /dev/null || "$command" -w -t "$table" -I "$from" "$@"
}
"#;

/// Turns `iptables -t nat -N KUBE-SERVICES` into `chain iptables nat KUBE-SERVICES`, and jumps likewise.
fn line(command: &str) -> String {
    let words: Vec<&str> = command.splitn(6, ' ').collect();
    match words.as_slice() {
        [tool, "-t", table, "-N", chain] => format!("chain {tool} {table} {chain}"),
        [tool, "-t", table, "-I", from, rule] => format!("jump {tool} {table} {from} {rule}"),
        _ => command.to_owned(),
    }
}
