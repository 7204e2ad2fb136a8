//! Differences between the two arms.

use std::fmt;

use crate::counters::RuleCounter;
use crate::frame::FrameDifference;
use crate::observation::{ConntrackObservation, EndpointName, Mismatch, RawFlow};
use crate::scenario::OutcomePattern;

/// A difference between the simulator and the kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// The step, counted from 1.
    pub step: usize,
    /// What it is.
    pub kind: DisagreementKind,
}

/// Kinds of difference.
#[derive(Debug, Clone, PartialEq)]
pub enum DisagreementKind {
    /// What a client and its server observed, although the simulator could choose any endpoint.
    Flow {
        /// The connection of the step, counted from 1.
        number: u32,
        /// On the simulator.
        sim: Box<RawFlow>,
        /// On the kernel.
        kernel: Box<RawFlow>,
    },
    /// The first line of a script that did not go as written; `None` if all did.
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
        /// Entries only in the simulator.
        only_sim: Vec<ConntrackObservation>,
        /// Entries only in the kernel.
        only_kernel: Vec<ConntrackObservation>,
    },
    /// Rule counters of a node: exact for the nat table, zero or nonzero for others.
    Counters {
        /// The node.
        node: String,
        /// Rules whose counters differ, as (simulator, kernel), in rule order. An element is `None` if that side has
        /// fewer rules.
        rules: Vec<(Option<RuleCounter>, Option<RuleCounter>)>,
    },
    /// How often the kernel chose each endpoint.
    Choices {
        /// Endpoint (`None` if nobody answered), its exact share, and the count.
        rows: Vec<(Option<EndpointName>, f64, u32)>,
        /// The probability of such counts, if the shares are correct.
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
                    side.as_ref().map_or_else(|| "as written".to_owned(), ToString::to_string)
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
                write!(formatter, "the kernel's choices do not fit the exact shares (p = {p_value:.1e}):")?;
                for (endpoint, share, count) in rows {
                    let name = endpoint.as_ref().map_or("nobody".to_owned(), ToString::to_string);
                    write!(formatter, "\n  {name}: {count} times, exact share {share:.6}")?;
                }
                Ok(())
            }
        }
    }
}

/// What a client observed, in one line.
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
