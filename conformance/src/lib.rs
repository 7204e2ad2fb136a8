//! Scenario files, the arms that run them, and the comparison of what was observed.
//!
//! Data flows through the modules in this order:
//!
//! | module | what it is |
//! |---|---|
//! | [`yaml`] | a text as a tree in which every node knows its place |
//! | [`diagnostic`] | what is wrong with an input, and where |
//! | [`scenario`] | the typed form of a Scenario document |
//! | [`manifest`] | texts to scenario and Kubernetes objects |
//! | [`cluster`] | what the objects come to: nodes, Pods, addresses, endpoints |
//! | [`prepare`] | whether a scenario can run, and with what |
//! | [`netns`] | names of network namespaces |
//! | [`topology`] | the network namespaces, devices and routes that every arm builds |
//! | [`proxy`] | kube-proxy on every node: what it loads, and what it does when the cluster changes |
//! | [`dns`] | what the DNS server of a cluster knows, and what resolvers ask |
//! | [`backend`] | the two implementations of iptables |
//! | [`arm`] | what runs scenarios: the simulator, this machine's kernel |
//! | [`observation`] | what every arm can see |
//! | [`counters`] | counters of rules, by proxy mode |
//! | [`shares`], [`statistics`] | who answers how often, exactly and by count |
//! | [`disagreement`] | what a simulator and a kernel do not agree about |
//! | [`expect`] | whether what was observed is what was expected |
//! | [`runner`] | a scenario, step by step, on an arm |
//! | [`suite`] | the built-in scenarios, and many scenarios at once |
//! | [`random`] | scenarios that nobody wrote: drawn, run, made smaller |
//! | [`result`] | what a run says |

pub mod arm;
pub mod backend;
mod caught;
pub mod cluster;
pub mod counters;
pub mod diagnostic;
pub mod disagreement;
pub mod dns;
pub mod expect;
pub mod frame;
pub mod manifest;
pub mod netns;
pub mod observation;
pub mod prepare;
pub mod proxy;
pub mod random;
pub mod result;
pub mod runner;
pub mod scenario;
pub mod shares;
pub mod statistics;
pub mod suite;
pub mod topology;
pub mod yaml;
