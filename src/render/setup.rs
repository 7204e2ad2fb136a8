//! `setup.sh`: loads on one node what kube-proxy would, in the order in which kube-proxy does it at start.

use proxy_core::load::{Ensure, Load, Tool};
use std::collections::BTreeSet;

/// The script for a node, family by family. It is idempotent: existing chains and jumps are kept, and the text for the
/// tools replaces the rest.
pub(super) fn script(node: &str, mode: &str, families: &[Vec<Load>]) -> String {
    let mut script = format!(
        "#!/bin/sh\n\
         # Loads the rules of kube-proxy on {node} in mode {mode}.\n\
         # Run as root with sh, from this folder, in the network namespace of the node.\n\
         set -eu\n"
    );
    let mut sysctls = String::new();
    let mut rest = String::new();
    // Both families set the same conntrack sysctls, and kube-proxy ensures a chain before every jump; once is enough.
    let mut written = BTreeSet::new();
    for family in families {
        rest.push('\n');
        for load in family {
            let part = if matches!(load, Load::Sysctl { .. }) { &mut sysctls } else { &mut rest };
            let line = line(load);
            if written.insert(line.clone()) {
                part.push_str(&line);
            }
        }
    }
    let has = |wanted: fn(&Load) -> bool| families.iter().flatten().any(wanted);
    if has(|load| matches!(load, Load::Text { tool: Tool::IpvsadmRestore, .. })) {
        script.push_str(IPVS_MODULE);
    }
    if !sysctls.is_empty() {
        script.extend([SYSCTL_FUNCTION, &sysctls]);
    }
    if has(|load| matches!(load, Load::Ensure(Ensure::Chain { .. } | Ensure::Jump { .. }))) {
        script.push_str(ENSURE_FUNCTIONS);
    }
    script + &rest
}

/// The line for one item.
fn line(load: &Load) -> String {
    match load {
        Load::Sysctl { name, value } => format!("sysctl_set {name} {value}\n"),
        Load::Ensure(ensure) => {
            let program = ensure.program();
            match ensure {
                Ensure::Chain { table, chain, .. } => format!("chain {program} {table} {chain}\n"),
                Ensure::Jump { table, from, rule, .. } => format!("jump {program} {table} {from} {rule}\n"),
                // Without the addresses that it may have: they follow.
                Ensure::Device { device } => {
                    format!("ip link delete {device} 2> /dev/null || :\n{}\n", ensure.command())
                }
            }
        }
        Load::Text { tool, .. } => {
            let file = tool.file();
            match tool {
                Tool::IptablesRestore => format!("iptables-restore --noflush < {file}\n"),
                Tool::Ip6tablesRestore => format!("ip6tables-restore --noflush < {file}\n"),
                // Members that a set has from an earlier setup are removed; rules may refer to the set.
                Tool::IpsetRestore => format!(
                    "sed -n 's/^create \\([^ ]*\\) .*/flush \\1/p' {file} | ipset -exist restore 2> /dev/null || :\n\
                     ipset -exist restore < {file}\n"
                ),
                Tool::IpvsadmRestore => format!("ipvsadm --clear\nipvsadm --restore < {file}\n"),
                Tool::IpBatch => format!("ip -batch {file}\n"),
            }
        }
    }
}

const IPVS_MODULE: &str = r"
# Loads the module ip_vs: its sysctls exist from then on.
ipvsadm --list > /dev/null
";

const SYSCTL_FUNCTION: &str = r#"
# Some settings of conntrack belong to the whole machine and can be changed in the first network namespace only.
sysctl_set() {
  file=/proc/sys/$(printf %s "$1" | tr . /)
  printf '%s\n' "$2" 2> /dev/null > "$file" || printf 'setup.sh: %s stays as it is\n' "$1" >&2
}
"#;

const ENSURE_FUNCTIONS: &str = r#"
# chain COMMAND TABLE CHAIN; jump COMMAND TABLE FROM RULE...: what is there already is kept.
chain() { "$1" -w -t "$2" -n -L "$3" > /dev/null 2>&1 || "$1" -w -t "$2" -N "$3"; }
jump() {
  command=$1 table=$2 from=$3
  shift 3
  "$command" -w -t "$table" -C "$from" "$@" 2> /dev/null || "$command" -w -t "$table" -I "$from" "$@"
}
"#;
