//! Two hosts, their sockets wired back to back, with virtual time and a script of what happens to each frame.

mod loss;
mod pair;
mod tcp_exchange;
mod udp;
