//! Differences between the two arms.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::counters::RuleCounter;
use crate::frame::FrameDifference;
use crate::observation::{ConntrackObservation, EndpointName, Mismatch, Outcome, RawFlow};
use crate::scenario::OutcomePattern;

/// A difference between the simulator and the kernel.
///
/// Serialized, it becomes text ([`DisagreementKind::Relayed`]): details matter where it is found, and only there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Relayed", into = "Relayed")]
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
    /// On links that lose a share of their frames: no losses lead to what the kernel shows of an exchange.
    Unexplained {
        /// The connection of the step, counted from 1; `None` for a script.
        number: Option<u32>,
        /// What only the simulator shows, in the course that parts last.
        sim: Vec<String>,
        /// What only the kernel shows.
        kernel: Vec<String>,
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
    /// IPVS of a node: virtual services, connections, sets, and addresses of the dummy device.
    Ipvs {
        /// The node.
        node: String,
        /// What only the simulator has, as lines.
        only_sim: Vec<String>,
        /// What only the kernel has.
        only_kernel: Vec<String>,
    },
    /// How often the kernel chose each endpoint.
    Choices {
        /// Endpoint (`None` if nobody answered), its exact share, and the count.
        rows: Vec<(Option<EndpointName>, f64, u32)>,
        /// The probability of such counts, if the shares are correct.
        p_value: f64,
    },
    /// How often connections ended in each way, on links that lose a share of their frames.
    Outcomes {
        /// Outcome and endpoint, and the counts of the simulator and the kernel.
        rows: Vec<OutcomeRow>,
        /// The probability of counts so different, if both have the same distribution.
        p_value: f64,
    },
    /// A difference that was found in a virtual machine.
    Relayed {
        /// What differs.
        aspect: Aspect,
        /// Its description.
        text: String,
    },
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aspect {
    /// Observations of a client and its server, or of a script.
    Flow,
    /// Frames.
    Frame,
    /// Conntrack tables.
    Conntrack,
    /// Rule counters.
    Counters,
    /// IPVS.
    Ipvs,
    /// The choice of endpoints, or how connections end.
    Choices,
}

impl DisagreementKind {
    /// What differs.
    pub const fn aspect(&self) -> Aspect {
        match self {
            // A script's results are those of its connection.
            Self::Flow { .. } | Self::Script { .. } | Self::Unexplained { .. } => Aspect::Flow,
            Self::Frame(_) => Aspect::Frame,
            Self::Conntrack { .. } => Aspect::Conntrack,
            Self::Counters { .. } => Aspect::Counters,
            Self::Ipvs { .. } => Aspect::Ipvs,
            Self::Choices { .. } | Self::Outcomes { .. } => Aspect::Choices,
            Self::Relayed { aspect, .. } => *aspect,
        }
    }
}

/// The serialized form of a [`Disagreement`].
#[derive(Serialize, Deserialize)]
struct Relayed {
    step: usize,
    aspect: Aspect,
    text: String,
}

impl From<Disagreement> for Relayed {
    fn from(Disagreement { step, kind }: Disagreement) -> Self {
        Self { step, aspect: kind.aspect(), text: kind.to_string() }
    }
}

impl From<Relayed> for Disagreement {
    fn from(Relayed { step, aspect, text }: Relayed) -> Self {
        Self { step, kind: DisagreementKind::Relayed { aspect, text } }
    }
}

/// An outcome, who answered, and how often on the simulator and on the kernel.
pub type OutcomeRow = ((Outcome, Option<EndpointName>), u32, u32);

impl fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "step {}: {}", self.step, self.kind)
    }
}

impl fmt::Display for DisagreementKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow { number, sim, kernel } => {
                write!(formatter, "connection {number}: simulator: {}; kernel: {}", sim, kernel)
            }
            Self::Script { sim, kernel } => {
                let [sim, kernel] = [sim, kernel].map(|side| Mismatch::describe(side.as_ref()));
                write!(formatter, "the script: simulator: {sim}; kernel: {kernel}")
            }
            Self::Unexplained { number, sim, kernel } => {
                match number {
                    Some(number) => write!(formatter, "connection {number}")?,
                    None => write!(formatter, "the script")?,
                }
                write!(formatter, ": no losses on the links lead to what the kernel shows:")?;
                for (name, lines) in [("simulator", sim), ("kernel", kernel)] {
                    for line in lines {
                        write!(formatter, "\n  only {name}: {line}")?;
                    }
                }
                Ok(())
            }
            Self::Frame(difference) => difference.fmt(formatter),
            Self::Conntrack { node, only_sim, only_kernel } => {
                write!(formatter, "conntrack of {node}:")?;
                for (name, entries) in [("simulator", only_sim), ("kernel", only_kernel)] {
                    for entry in entries {
                        write!(formatter, "\n  only {name}: {entry}")?;
                    }
                }
                Ok(())
            }
            Self::Counters { node, rules } => {
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
            Self::Ipvs { node, only_sim, only_kernel } => {
                write!(formatter, "IPVS of {node}:")?;
                for (name, lines) in [("simulator", only_sim), ("kernel", only_kernel)] {
                    for line in lines {
                        write!(formatter, "\n  only {name}: {line}")?;
                    }
                }
                Ok(())
            }
            Self::Choices { rows, p_value } => {
                write!(formatter, "the kernel's choices do not fit the exact shares (p = {p_value:.1e}):")?;
                for (endpoint, share, count) in rows {
                    let name = endpoint.as_ref().map_or("nobody".to_owned(), ToString::to_string);
                    write!(formatter, "\n  {name}: {count} times, exact share {share:.6}")?;
                }
                Ok(())
            }
            Self::Outcomes { rows, p_value } => {
                write!(
                    formatter,
                    "connections end differently on links that lose frames (p = {p_value:.1e}):"
                )?;
                for ((outcome, endpoint), sim, kernel) in rows {
                    write!(formatter, "\n  {}", OutcomePattern::exactly(*outcome))?;
                    if let Some(endpoint) = endpoint {
                        write!(formatter, " by {endpoint}")?;
                    }
                    write!(formatter, ": {sim} times on the simulator, {kernel} times on the kernel")?;
                }
                Ok(())
            }
            Self::Relayed { text, .. } => formatter.write_str(text),
        }
    }
}
