//! Two hosts whose sockets are connected back to back, with virtual time and a script that decides the fate of each
//! frame.

mod exchanges;
mod icmp;
mod kept;
mod laws;
mod loss;
mod pair;
mod ports;
mod recording;
mod segments;
mod timers;
mod udp;
