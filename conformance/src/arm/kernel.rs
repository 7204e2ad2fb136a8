//! The kernel arm: nodes, pods, switches and hosts as network namespaces of this machine.
//!
//! Nothing here touches the network of the machine itself. Devices are created inside the namespaces that they belong to,
//! are linked only with each other, and go with them.
//!
//! | module | what it is |
//! |---|---|
//! | [`requirement`] | what the machine must have, and what to install |
//! | [`lab`] | namespaces: made, entered, torn down, and swept up after a crash |
//! | [`tool`] | programs run inside a namespace, bounded in time |
//! | [`wiring`] | devices, addresses, routes and sysctls of a lab |
//! | [`rules`] | loading rule text, by either back end of iptables |
//! | [`server`], [`client`], `script` | who answers, who asks, and who sends raw packets |
//! | [`capture`] | every frame on every device |
//! | [`outcome`], [`conntrack`] | what was observed, in the words that arms share |
//! | [`side_by_side`], [`timed`] | several labs at once, and how long each took |

mod build;
pub mod capture;
pub mod client;
mod clocks;
pub mod conntrack;
mod descriptors;
mod failure;
pub mod lab;
mod link;
mod machine;
pub mod outcome;
mod parallel;
pub mod requirement;
mod rtnetlink;
pub mod rules;
mod script;
pub mod server;
mod ticks;
pub mod tool;
pub mod wiring;

pub use machine::KernelArm;
pub use parallel::{side_by_side, timed};

#[cfg(test)]
pub(crate) mod testing;
