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
//! | [`topology`] | the network namespaces, devices and routes that every arm builds |
//! | [`observation`] | what every arm can see |
//! | [`result`] | what a run says |

pub mod arm;
pub mod cluster;
pub mod diagnostic;
pub mod frame;
pub mod manifest;
pub mod observation;
pub mod prepare;
pub mod result;
pub mod scenario;
pub mod topology;
pub mod yaml;
