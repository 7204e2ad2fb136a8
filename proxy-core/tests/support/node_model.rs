//! A small model of what a node has in IPVS mode: rules, sets, virtual services and addresses. It shares nothing with the
//! printer, and refuses what the tools refuse.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::collections::{BTreeMap, BTreeSet};

use proxy_core::load::{Ensure, Load, Tool};

use super::restore_model::Ruleset;

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeModel {
    pub(crate) rules: Ruleset,
    /// By name: how it was created, and its members.
    pub(crate) sets: BTreeMap<String, (String, BTreeSet<String>)>,
    /// By key, as ipvsadm names it.
    pub(crate) services: BTreeMap<String, VirtualServiceModel>,
    /// Addresses with prefix length, by device.
    pub(crate) addresses: BTreeMap<String, BTreeSet<String>>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) timeouts: Option<String>,
}

/// A virtual service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VirtualServiceModel {
    /// `-s SCHEDULER` and what follows.
    pub(crate) scheduling: String,
    /// Weights, by address.
    pub(crate) servers: BTreeMap<String, String>,
}

impl NodeModel {
    /// Loads a list; the error names the first line that a tool would refuse.
    pub(crate) fn load(&mut self, loads: &[Load]) -> Result<(), String> {
        for load in loads {
            match load {
                Load::Sysctl { name, value } => drop(self.sysctls.insert(name.clone(), value.clone())),
                Load::Ensure(Ensure::Chain { table, chain, .. }) => {
                    self.rules.make_chain(&table.to_string(), chain);
                }
                Load::Ensure(Ensure::Jump { .. }) => {}
                Load::Ensure(Ensure::Device { device }) => {
                    self.addresses.entry((*device).to_owned()).or_default();
                }
                Load::Text { tool, text } => self.run(*tool, text)?,
            }
        }
        Ok(())
    }

    /// Passes text to a tool.
    pub(crate) fn run(&mut self, tool: Tool, text: &str) -> Result<(), String> {
        if matches!(tool, Tool::IptablesRestore | Tool::Ip6tablesRestore) {
            self.check_sets(text)?;
            return self.rules.restore(text);
        }
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let result = match tool {
                Tool::IpsetRestore => self.ipset(&words),
                Tool::IpvsadmRestore => self.ipvsadm(&words),
                Tool::IpBatch => self.ip(&words),
                Tool::IptablesRestore | Tool::Ip6tablesRestore => Ok(()),
            };
            result.map_err(|reason| format!("{reason}: {line}"))?;
        }
        Ok(())
    }

    /// A rule can only match a set that exists.
    fn check_sets(&self, text: &str) -> Result<(), String> {
        for line in text.lines() {
            for (_, rest) in
                line.match_indices("--match-set ").map(|(at, word)| line.split_at(at + word.len()))
            {
                let name = rest.split(' ').next().unwrap_or_default();
                if !self.sets.contains_key(name) {
                    return Err(format!("no set {name}: {line}"));
                }
            }
        }
        Ok(())
    }

    fn ipset(&mut self, words: &[&str]) -> Result<(), &'static str> {
        match words {
            ["create", name, how @ ..] => match self.sets.contains_key(*name) {
                true => Err("the set exists"),
                false if name.len() > 31 => Err("the name is too long"),
                false => {
                    self.sets.insert((*name).to_owned(), (how.join(" "), BTreeSet::new()));
                    Ok(())
                }
            },
            [verb @ ("add" | "del"), name, member] => {
                let (_, members) = self.sets.get_mut(*name).ok_or("no such set")?;
                let is_new = *verb == "add";
                let changed =
                    if is_new { members.insert((*member).to_owned()) } else { members.remove(*member) };
                changed.then_some(()).ok_or(if is_new { "the member exists" } else { "no such member" })
            }
            _ => Err("not understood"),
        }
    }

    fn ipvsadm(&mut self, words: &[&str]) -> Result<(), &'static str> {
        if let ["--set", timeouts @ ..] = words {
            self.timeouts = Some(timeouts.join(" "));
            return Ok(());
        }
        let [command, option, address, rest @ ..] = words else { return Err("not understood") };
        let key = format!("{option} {address}");
        match (*command, rest) {
            ("-A", _) if self.services.contains_key(&key) => Err("service already exists"),
            ("-A", scheduling) => {
                let scheduling = scheduling.join(" ");
                self.services.insert(key, VirtualServiceModel { scheduling, servers: BTreeMap::new() });
                Ok(())
            }
            ("-D", []) => self.services.remove(&key).map(drop).ok_or("no such service"),
            ("-E", scheduling) => {
                self.services.get_mut(&key).ok_or("no such service")?.scheduling = scheduling.join(" ");
                Ok(())
            }
            (command, ["-r", server, rest @ ..]) => {
                let servers = &mut self.services.get_mut(&key).ok_or("no such service")?.servers;
                match (command, rest, servers.contains_key(*server)) {
                    ("-a", ["-m", "-w", weight], false) | ("-e", ["-m", "-w", weight], true) => {
                        servers.insert((*server).to_owned(), (*weight).to_owned());
                        Ok(())
                    }
                    ("-d", [], true) => {
                        servers.remove(*server);
                        Ok(())
                    }
                    ("-a", _, true) => Err("destination already exists"),
                    (_, _, false) => Err("no such destination"),
                    (_, _, true) => Err("not understood"),
                }
            }
            _ => Err("not understood"),
        }
    }

    fn ip(&mut self, words: &[&str]) -> Result<(), &'static str> {
        let ["address", verb, address, "dev", device] = words else { return Err("not understood") };
        let addresses = self.addresses.get_mut(*device).ok_or("no such device")?;
        match *verb {
            "add" => addresses.insert((*address).to_owned()).then_some(()).ok_or("file exists"),
            "del" => addresses.remove(*address).then_some(()).ok_or("no such address"),
            _ => Err("not understood"),
        }
    }
}
