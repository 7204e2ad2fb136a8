//! The kernel arm: nodes, Pods, switches and hosts as network namespaces of this machine.
//!
//! Nothing here touches the machine's own network. Devices are created inside their namespaces, are linked only with
//! each other, and are deleted with them.
//!
//! | module | what it is |
//! |---|---|
//! | [`requirement`] | prerequisites, and how to install them |
//! | [`lab`] | namespaces: created, entered, torn down, and cleaned up after a crash |
//! | [`tool`] | programs run inside a namespace, with a timeout |
//! | [`wiring`] | devices, addresses, routes and sysctls of a lab |
//! | [`rules`] | loading rule text, with either back end of iptables |
//! | `load` | what a node loads: rules, and in IPVS mode sets, virtual services and addresses |
//! | [`server`], [`client`], `script` | servers, clients, and senders of raw packets |
//! | [`capture`] | every frame on every device |
//! | [`outcome`], [`conntrack`], `ipvs` | observations, in the form common to all arms |
//! | [`side_by_side`], [`timed`] | several labs in parallel, and their durations |

mod build;
pub mod capture;
pub mod client;
mod clocks;
pub mod conntrack;
mod descriptors;
mod failure;
mod ipvs;
pub mod lab;
mod link;
mod load;
mod machine;
mod of_machine;
pub mod outcome;
mod parallel;
mod prompt;
mod quiet;
pub mod requirement;
mod rtnetlink;
pub mod rules;
mod script;
pub mod server;
mod ticks;
pub mod tool;
mod unread;
pub mod wiring;

pub use machine::KernelArm;
pub(crate) use machine::{Exchanged, KeptConnection};
pub use parallel::{side_by_side, timed};

#[cfg(test)]
pub(crate) mod testing;
