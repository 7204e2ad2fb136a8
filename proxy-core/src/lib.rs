//! Kubernetes objects to rule text: what kube-proxy would load on a node.
//!
//! Pure: no IO, no clock, no threads, no randomness. Data flows through the modules in this order:
//!
//! ```text
//! objects -> service_port, endpoint -> traffic_policy -> plan -> iptables -> sync
//! ```

mod address;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod diff;
pub mod endpoint;
mod error;
pub mod health_check;
pub mod iptables;
pub mod names;
pub mod objects;
pub mod plan;
pub mod service_port;
pub mod stale_flows;
pub mod sync;
pub mod traffic_policy;
mod validate;
pub mod version;

pub use error::ObjectError;
