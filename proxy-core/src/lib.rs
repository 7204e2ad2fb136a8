//! Kubernetes objects to rule text: what kube-proxy would load on a node.
//!
//! Pure: no IO, no clock, no threads, no randomness. Data flows through the modules in this order:
//!
//! ```text
//! objects -> service_port, endpoint -> traffic_policy -> plan -> iptables -> sync
//! ```
//!
//! ```
//! use proxy_core::cluster::Cluster;
//! use proxy_core::config::{Machine, NodeConfig};
//! use proxy_core::controller::{ServiceNetwork, reconcile};
//! use proxy_core::objects::{IpFamily, Kind, KubeProxyConfiguration, Object};
//! use proxy_core::plan::Plan;
//! use proxy_core::{iptables, sync};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = Object::deserialize_as(
//!     Kind::Service,
//!     serde_json::json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}),
//! )?;
//! let objects = reconcile(&[service], &ServiceNetwork::default())?;
//! let config = NodeConfig::new(Machine::new("node-1"), &KubeProxyConfiguration::default(), None)?;
//! let plan = Plan::new(&Cluster::new(&objects)?, &config, IpFamily::V4);
//! assert!(iptables::full(&plan).restore.contains("default/web has no endpoints"));
//!
//! let empty = Plan::new(&Cluster::new(&[])?, &config, IpFamily::V4);
//! assert!(sync::between(&plan, &empty).restore.starts_with("*filter\n-D KUBE-SERVICES "));
//! # Ok(())
//! # }
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
