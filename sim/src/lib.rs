//! The virtual kernel and network: nodes as network namespaces, frames as bytes, and a netfilter
//! that executes the same rule text that a real kernel would load.
//!
//! The crate is pure. It performs no input or output, reads no clock and starts no thread; time, random
//! decisions and recording are arguments ([`context::Context`]). The same calls give the same bytes.
//!
//! Where to look, from the wire upwards:
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | header lenses over bytes, checksums, packet building |
//! | [`packet`] | bytes plus the metadata that Linux keeps in `struct sk_buff` |
//! | [`link`] | the wire between two devices: latency, loss, duplication, reordering |
//! | [`device`] | network devices of a netns and their addresses |
//! | [`neigh`] | hardware addresses of neighbours, and ARP |
//! | [`fib`] | routing tables and routing decisions |
//! | [`defrag`] | fragments that wait to be put together |
//! | [`icmp_limit`] | how many ICMP messages a netns sends |
//! | [`sysctl`] | settings of a netns |
//! | [`bridge`] | the software bridge, and br_netfilter |
//! | [`stack`] | the path of an IPv4 packet; `stack::hooks` is the only file that names every subsystem |
//! | [`socket`] | TCP, UDP and ping endpoints |
//! | [`ipset`] | sets of addresses and ports, which rules ask |
//! | [`xtables`] | iptables: its text, and its evaluation |
//! | [`netns`] | all of that for one namespace |
//! | [`world`] | netns, links, virtual time, events |
//! | [`netfilter`] | families, hooks, priorities, verdicts; conntrack and NAT |
//! | [`timer_wheel`] | when the timers of a kernel really expire |
//! | [`draws`] | every random decision, by name and range |
//! | [`trace`] | the typed event stream of a run |
//! | [`context`] | what a subsystem may see while it handles a packet |

pub mod bridge;
pub mod context;
pub mod defrag;
pub mod device;
pub mod draws;
pub mod fib;
pub mod icmp_limit;
pub mod ipset;
pub mod link;
pub mod neigh;
pub mod netfilter;
pub mod netns;
pub mod packet;
pub mod socket;
pub mod stack;
pub mod sysctl;
mod text;
pub mod time;
pub mod timer_wheel;
pub mod trace;
pub mod wire;
pub mod world;
pub mod xtables;
