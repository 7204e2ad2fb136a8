//! Random worlds: small clusters and what happens in them, for comparing arms where nobody thought of a scenario.
//!
//! A world is a plain value that [`generate`] draws from a seed. It is printed as the text of a scenario file
//! ([`RandomWorld::text`]) and goes the way of every scenario from there, so that whatever is found is a file that anybody can
//! run. What is found is then made smaller by [`shrink`] as long as it stays the same kind of finding.

mod examine;
mod shrink;
mod strategy;
mod text;
mod world;

pub use examine::{Anomaly, AnomalyKind, Examined, examine};
pub use shrink::{Shrunk, shrink};
pub use strategy::{WorldTree, generate};
pub use world::{
    DetectLocal, ExternalIp, Ingress, NodePortAddresses, RandomDestination, RandomHost, RandomNode,
    RandomParty, RandomPod, RandomPort, RandomProxy, RandomRoute, RandomService, RandomSetting, RandomStep,
    RandomSysctl, RandomWorld, ServiceKind, SourceRanges, TargetPort,
};

#[cfg(test)]
mod tests;
