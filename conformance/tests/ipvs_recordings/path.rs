//! Rows replayed through the whole packet path of a node: frames, chains, connections and conntrack entries.

mod addresses;
mod cluster;
mod errors;
mod hooks;
mod refused;
mod sockets;
mod tracked;
mod visits;
