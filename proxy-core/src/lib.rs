//! Kubernetes objects to rule text: what kube-proxy would load on a node.
//!
//! Pure: no IO, no clock, no threads, no randomness. Data flows through the modules in this order:
//!
//! ```text
//! objects -> service_port, endpoint -> traffic_policy -> plan -> iptables -> sync
//! ```

mod error;
pub mod objects;

pub use error::ObjectError;
