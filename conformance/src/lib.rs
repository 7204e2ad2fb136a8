//! Scenario files, the arms that run them, and the comparison of observations.
//!
//! Data flows through the modules in this order:
//!
//! | module | what it is |
//! |---|---|
//! | [`yaml`] | a text as a tree of nodes with positions |
//! | [`diagnostic`] | problems of an input, with positions |
//! | [`scenario`] | the typed form of a Scenario document |
//! | [`manifest`] | reads scenario and Kubernetes objects from texts |
//! | [`cluster`] | the cluster that results from the objects: nodes, Pods, addresses, endpoints |
//! | [`prepare`] | validates a scenario and resolves its references |
//! | [`netns`] | names of network namespaces |
//! | [`topology`] | the network namespaces, devices and routes that every arm builds |
//! | [`proxy`] | kube-proxy on every node: the rules it loads, and its updates when the cluster changes |
//! | [`cni`] | the network plug-in on every node: the rules that it loads beside those of kube-proxy |
//! | [`dns`] | DNS servers and resolvers of a cluster |
//! | [`settings`] | how a lab on a kernel differs from a real node |
//! | [`backend`] | the two implementations of iptables |
//! | [`arm`] | what runs scenarios: the simulator, this machine's kernel |
//! | [`observation`] | observations common to all arms |
//! | [`counters`] | counters of rules, by proxy mode |
//! | [`shares`], [`statistics`] | shares of endpoints, exact and counted |
//! | [`disagreement`] | differences between a simulator and a kernel |
//! | [`expect`] | checks observations against expectations |
//! | [`runner`] | runs a scenario, step by step, on an arm |
//! | [`question`] | one question without a scenario |
//! | [`suite`] | the built-in scenarios, and parallel runs |
//! | [`random`] | random scenarios: generated, run, shrunk |
//! | [`result`] | the result of a run |

pub mod arm;
pub mod backend;
mod caught;
pub mod cluster;
pub mod cni;
pub mod counters;
pub mod diagnostic;
pub mod disagreement;
pub mod dns;
pub mod expect;
pub mod frame;
pub mod http;
pub mod manifest;
pub mod netns;
pub mod observation;
pub mod prepare;
pub mod proxy;
pub mod question;
pub mod random;
pub mod result;
pub mod runner;
pub mod scenario;
mod serial;
pub mod settings;
pub mod shares;
pub mod statistics;
pub mod suite;
pub mod topology;
pub mod yaml;

// Support modules of tests name the crate from outside.
#[cfg(test)]
extern crate self as conformance;

#[cfg(feature = "mutations")]
pub use sim::mutation;
