//! Two hosts, their sockets wired back to back, with virtual time and a script of what happens to each frame.

mod loss;
mod pair;
mod segments;
mod tcp_exchange;
mod udp;
