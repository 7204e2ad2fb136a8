//! What a real kernel made of packets, replayed. The recordings are in sim/recordings, with the scripts that made them.

mod packets;
mod tracking;
mod translation;
