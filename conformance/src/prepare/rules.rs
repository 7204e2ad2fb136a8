//! Validates the own rules of nodes with the simulator's parser.

use sim::trace::Level;
use sim::world::{World, WorldOptions};
use sim::xtables::{RestoreOptions, RuleError};

use super::Preparation;
use crate::cluster::Cluster;
use crate::scenario::{FieldFault, nearest};

impl Preparation {
    /// Validates `spec.network.nodes`.
    pub(super) fn check_node_rules(&mut self, cluster: &Cluster) {
        let nodes: Vec<&str> = cluster.nodes().iter().map(|node| node.name.as_str()).collect();
        for (name, rules) in &cluster.network().node_rules {
            let path = format!("spec.network.nodes.{name}");
            if !nodes.contains(&name.as_str()) {
                let fault = FieldFault::new(format!("unknown node {name:?}")).expected(nodes.join(", "));
                let help = nearest(name, &nodes).map(|nearest| format!("did you mean {nearest:?}?"));
                self.scenario_fault(&fault.help(help.unwrap_or_default()).at_key(path));
            } else if let Err(error) = parsed(rules) {
                let RuleError { line, column, expected, found, help, .. } = *error;
                let place = format!("line {line} of the rules, column {column}: found {found}");
                let fault = FieldFault::new(place).expected(expected);
                self.scenario_fault(&fault.help(help.unwrap_or_default()).at(format!("{path}.iptables")));
            }
        }
    }
}

/// Loads the rules in a netns of their own.
fn parsed(rules: &str) -> Result<(), Box<RuleError>> {
    let mut world = World::new(WorldOptions { seed: 0, level: Level::Nothing });
    let netns = world.add_netns("node");
    let options = RestoreOptions { noflush: true, counters: false };
    world.iptables_restore(netns, "rules", rules, options).map_err(Box::new)
}
