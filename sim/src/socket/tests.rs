//! Two hosts, their sockets wired back to back, with virtual time and a script of what happens to each frame.

mod exchanges;
mod icmp;
mod laws;
mod loss;
mod pair;
mod ports;
mod recording;
mod segments;
mod timers;
mod udp;
