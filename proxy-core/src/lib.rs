//! Kubernetes objects to rule text: what kube-proxy would load on a node.
//!
//! Pure: no IO, no clock, no threads, no randomness. Data flows through the modules in this order:
//!
//! ```text
//! objects -> service_port, endpoint -> traffic_policy -> plan -> generator (iptables, ipvs) -> load
//! ```
//!
//! ```
//! use proxy_core::service_store::ServiceStore;
//! use proxy_core::config::{Machine, NodeConfig};
//! use proxy_core::controller::{ServiceNetwork, reconcile};
//! use proxy_core::objects::{IpFamily, Kind, KubeProxyConfiguration, Object};
//! use proxy_core::plan::Plan;
//! use proxy_core::generator::Generator;
//! use proxy_core::load::Load;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = Object::deserialize_as(
//!     Kind::Service,
//!     serde_json::json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}),
//! )?;
//! let objects = reconcile(&[service], &ServiceNetwork::default())?;
//! let config = NodeConfig::new(Machine::new("node-1"), &KubeProxyConfiguration::default(), None)?;
//! let plan = Plan::new(&ServiceStore::new(&objects)?, &config, IpFamily::V4);
//! let load = Generator::Iptables.load(&plan);
//! let Some(Load::Text { text, .. }) = load.last() else { panic!("rules are loaded last") };
//! assert!(text.contains("default/web has no endpoints"));
//!
//! let empty = Plan::new(&ServiceStore::new(&[])?, &config, IpFamily::V4);
//! let sync = Generator::Iptables.sync(&plan, &empty);
//! let [Load::Text { text, .. }] = &*sync.load else { panic!("one restore") };
//! assert!(text.starts_with("*filter\n-D KUBE-SERVICES "));
//! # Ok(())
//! # }
//! ```

mod address;
pub mod config;
pub mod controller;
pub mod endpoint;
mod error;
pub mod finding;
pub mod generator;
pub mod health_check;
pub mod iptables;
pub mod ipvs;
pub mod load;
pub mod names;
pub mod objects;
pub mod plan;
pub mod service_port;
pub mod service_store;
pub mod stale_flows;
pub mod traffic_policy;
mod validate;
pub mod version;

pub use error::ObjectError;
