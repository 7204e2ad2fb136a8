//! Loads what a node loads, in order, with the real tools.

use proxy_core::load::{Ensure, Load, Tool};

use super::lab::LabNetns;
use super::of_machine::OF_THE_MACHINE;
use super::rules::RestoreInput;
use crate::arm::ArmError;
use crate::backend::Backend;

/// Loads a list. Consecutive items for the same tool are one input, because starting a process takes longer than most of
/// its work. A node with rules of its own may have some of the chains and jumps.
///
/// # Errors
/// The tool's error message.
pub(super) fn load(
    netns: &LabNetns,
    backend: Backend,
    has_own_rules: bool,
    list: &[Load],
) -> Result<(), ArmError> {
    let rules =
        if has_own_rules { RestoreInput::beside(&backend.save(netns)?) } else { RestoreInput::default() };
    let mut batch = Batch { netns, backend, sysctls: Vec::new(), rules };
    for item in list {
        batch.add(item)?;
    }
    batch.end()
}

/// Items that are not loaded yet: either sysctls or rules.
struct Batch<'a> {
    netns: &'a LabNetns,
    backend: Backend,
    sysctls: Vec<(&'a str, &'a str)>,
    rules: RestoreInput,
}

impl<'a> Batch<'a> {
    fn add(&mut self, item: &'a Load) -> Result<(), ArmError> {
        match item {
            Load::Sysctl { name, value } => {
                self.end_rules()?;
                if !OF_THE_MACHINE.contains(&&**name) {
                    self.sysctls.push((name, value));
                }
            }
            Load::Ensure(ensure @ (Ensure::Chain { .. } | Ensure::Jump { .. })) => {
                self.end_sysctls()?;
                self.rules.ensure(ensure);
            }
            Load::Text { tool: Tool::IptablesRestore, text } => {
                self.end_sysctls()?;
                self.rules.push(text);
            }
            Load::Text { tool: Tool::Ip6tablesRestore, .. } => {
                return Err(ArmError::Failed("IPv6 is not implemented yet".to_owned()));
            }
            Load::Ensure(Ensure::Device { device }) => {
                self.run("ip", &["link", "add", device, "type", "dummy"], "")?;
            }
            Load::Text { tool: Tool::IpsetRestore, text } => self.run("ipset", &["restore"], text)?,
            Load::Text { tool: Tool::IpvsadmRestore, text } => self.run("ipvsadm", &["--restore"], text)?,
            Load::Text { tool: Tool::IpBatch, text } => self.run("ip", &["-batch", "-"], text)?,
        }
        Ok(())
    }

    /// Runs a tool after everything before it is loaded.
    fn run(&mut self, program: &str, args: &[&str], input: &str) -> Result<(), ArmError> {
        self.end()?;
        Ok(self.netns.run(program, args, input.as_bytes()).map(drop)?)
    }

    fn end(&mut self) -> Result<(), ArmError> {
        self.end_sysctls()?;
        self.end_rules()
    }

    fn end_sysctls(&mut self) -> Result<(), ArmError> {
        Ok(self.netns.set_sysctls(std::mem::take(&mut self.sysctls))?)
    }

    fn end_rules(&mut self) -> Result<(), ArmError> {
        match self.rules.take() {
            input if input.is_empty() => Ok(()),
            input => Ok(self.backend.restore(self.netns, &input, false)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::load::Table;
    use proxy_core::objects::IpFamily;

    use super::*;
    use crate::arm::kernel::testing::{can_run, pair};

    #[test]
    fn sets_exist_before_the_rules_that_follow_them() {
        if !can_run("sets_exist_before_the_rules_that_follow_them") {
            return;
        }
        let text = |tool, text: &str| Load::Text { tool, text: text.to_owned() };
        let sysctl =
            |name: &str, value: &str| Load::Sysctl { name: name.to_owned(), value: value.to_owned() };
        let chain = Ensure::Chain { family: IpFamily::V4, table: Table::Filter, chain: "SERVICES" };
        let list = [
            // Global, so it is left out.
            sysctl("net.netfilter.nf_conntrack_max", "7"),
            sysctl("net.ipv4.ip_forward", "1"),
            Load::Ensure(chain.clone()),
            text(Tool::IpsetRestore, "create vips hash:ip\nadd vips 10.96.0.10\n"),
            text(Tool::IpBatch, "address add 10.96.0.10/32 dev lo\n"),
            Load::Ensure(chain),
            text(
                Tool::IptablesRestore,
                "*filter\n-A SERVICES -m set --match-set vips dst -j ACCEPT\nCOMMIT\n",
            ),
        ];
        let lab = pair();
        for (node, backend) in [("a", Backend::Legacy), ("b", Backend::Nft)] {
            let netns = lab.netns(node);
            load(netns, backend, false, &list).expect("it is loaded");
            let rules = backend.save(netns).expect("the rules");
            assert!(rules.contains("-A SERVICES -m set --match-set vips dst -j ACCEPT"), "{rules}");
            let addresses = netns.run("ip", &["address", "show", "dev", "lo"], b"").expect("the addresses");
            assert!(addresses.contains("10.96.0.10/32"), "{addresses}");
        }
    }
}
