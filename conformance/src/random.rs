//! Random worlds: small clusters with random steps, for comparing arms beyond hand-written scenarios.
//!
//! A world is a plain value that [`generate`] derives from a seed. It is printed as a scenario file
//! ([`RandomWorld::text`]) and processed like any scenario, so that every finding is a file that anybody can run.
//! Findings are then shrunk by [`shrink`] as long as they keep their kind.

mod examine;
mod ipvs;
mod shrink;
mod strategy;
mod text;
mod world;

pub use examine::{Anomaly, AnomalyKind, Examined, examine};
pub use shrink::{Shrunk, shrink};
pub use strategy::{WorldTree, generate};
pub use world::{
    DetectLocal, ExternalIp, Ingress, RandomAddress, RandomDestination, RandomEnd, RandomEndpoint,
    RandomEvent, RandomEventKind, RandomGateway, RandomHost, RandomIpvs, RandomKept, RandomKeptAction,
    RandomLine, RandomLoss, RandomMtu, RandomNextHop, RandomNode, RandomNodePortAddresses, RandomPacket,
    RandomParty, RandomPieces, RandomPiecesKind, RandomPod, RandomPolicy, RandomPort, RandomProxy,
    RandomRoute, RandomRouting, RandomSecond, RandomSecondAddress, RandomService, RandomSetting,
    RandomSourceRanges, RandomStep, RandomSysctl, RandomWait, RandomWorld, ServiceKind, TargetPort, Time,
};

#[cfg(test)]
mod tests;
