//! What two arms do not agree about.

use std::fmt;

use crate::counters::RuleCounter;
use crate::frame::FrameDifference;
use crate::observation::{ConntrackObservation, EndpointName, Mismatch, RawFlow};
use crate::scenario::OutcomePattern;

/// Something that the simulator and the kernel do not agree about.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// In which step, from 1.
    pub step: usize,
    /// What it is.
    pub kind: DisagreementKind,
}

/// What arms can disagree about.
#[derive(Debug, Clone, PartialEq)]
pub enum DisagreementKind {
    /// What a client and its server saw, though the simulator could choose any endpoint.
    Flow {
        /// Which connection of the step, from 1.
        number: u32,
        /// On the simulator.
        sim: Box<RawFlow>,
        /// On the kernel.
        kernel: Box<RawFlow>,
    },
    /// Which line of a script was the first that did not go as it is written; `None` if all did.
    Script {
        /// On the simulator.
        sim: Option<Mismatch>,
        /// On the kernel.
        kernel: Option<Mismatch>,
    },
    /// A frame on a device.
    Frame(Box<FrameDifference>),
    /// The conntrack table of a node.
    Conntrack {
        /// The node.
        node: String,
        /// Entries of the simulator alone.
        only_sim: Vec<ConntrackObservation>,
        /// Entries of the kernel alone.
        only_kernel: Vec<ConntrackObservation>,
    },
    /// How often rules of a node matched: those of the nat table exactly, others whether at all.
    Counters {
        /// The node.
        node: String,
        /// Every rule on which the two do not agree: that of the simulator and that of the kernel, in the order of rules. One
        /// is missing if a side has fewer rules.
        rules: Vec<(Option<RuleCounter>, Option<RuleCounter>)>,
    },
    /// How often the kernel chose which endpoint.
    Choices {
        /// Endpoint (`None` for nobody), its exact share, how often it was chosen.
        rows: Vec<(Option<EndpointName>, f64, u32)>,
        /// The probability of such counts, if the shares are right.
        p_value: f64,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "step {}: ", self.step)?;
        match &self.kind {
            DisagreementKind::Flow { number, sim, kernel } => {
                write!(formatter, "connection {number}: simulator: {}; kernel: {}", Seen(sim), Seen(kernel))
            }
            DisagreementKind::Script { sim, kernel } => {
                let words = |side: &Option<Mismatch>| {
                    side.as_ref().map_or_else(|| "as it is written".to_owned(), ToString::to_string)
                };
                write!(formatter, "the script: simulator: {}; kernel: {}", words(sim), words(kernel))
            }
            DisagreementKind::Frame(difference) => difference.fmt(formatter),
            DisagreementKind::Conntrack { node, only_sim, only_kernel } => {
                write!(formatter, "conntrack of {node}:")?;
                for (name, entries) in [("simulator", only_sim), ("kernel", only_kernel)] {
                    for entry in entries {
                        write!(formatter, "\n  only {name}: {entry}")?;
                    }
                }
                Ok(())
            }
            DisagreementKind::Counters { node, rules } => {
                write!(formatter, "rules of {node}:")?;
                for (sim, kernel) in rules {
                    let Some(RuleCounter { table, rule, .. }) = sim.as_ref().or(kernel.as_ref()) else {
                        continue;
                    };
                    write!(formatter, "\n  {table}: {rule}")?;
                    let count = |side: &Option<RuleCounter>| match side {
                        Some(counter) => format!("{} packets", counter.packets),
                        None => "no such rule".to_owned(),
                    };
                    write!(formatter, "\n    simulator: {}; kernel: {}", count(sim), count(kernel))?;
                }
                Ok(())
            }
            DisagreementKind::Choices { rows, p_value } => {
                write!(formatter, "the kernel chooses otherwise than the rules say (p = {p_value:.1e}):")?;
                for (endpoint, share, count) in rows {
                    let name = endpoint.as_ref().map_or("nobody".to_owned(), ToString::to_string);
                    write!(formatter, "\n  {name}: {count} times, exact share {share:.6}")?;
                }
                Ok(())
            }
        }
    }
}

/// What a client saw, in one line.
struct Seen<'a>(&'a RawFlow);

impl fmt::Display for Seen<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RawFlow { outcome, answer, reply_from, resolved } = self.0;
        write!(formatter, "{}", OutcomePattern::exactly(*outcome))?;
        if let Some(answer) = answer {
            write!(formatter, ", {} at {} saw {}", answer.name, answer.local, answer.peer)?;
        }
        if let Some(from) = reply_from {
            write!(formatter, ", answered from {from}")?;
        }
        resolved.as_ref().map_or(Ok(()), |resolved| write!(formatter, ", {resolved}"))
    }
}
