//! Replays packets recorded on a real kernel. The recordings are in sim/recordings, with the scripts that made them.

mod packets;
mod tracking;
mod translation;
