//! The virtual kernel and network: nodes as network namespaces, frames as bytes, and a netfilter
//! that executes the same rule text that a real kernel would load.
//!
//! The crate is pure. It performs no input or output, reads no clock and starts no thread; time, random
//! decisions and recording are arguments ([`context::Context`]). The same calls give the same bytes.
//!
//! Where to look. First the words that every subsystem uses; their files hold no behaviour of a subsystem:
//!
//! | module | what it is |
//! |---|---|
//! | [`ids`] | netns, devices, packets, flows, sockets, conntrack entries |
//! | [`time`] | instants and durations |
//! | [`wire`] | header lenses over bytes, checksums, packet building |
//! | [`hook`] | family, hook, priority, verdict |
//! | [`tuple`](mod@tuple) | the key of a flow in one direction |
//! | [`ct`] | what a packet knows of its conntrack entry |
//! | [`route`] | a routing decision |
//! | [`drop_reason`] | why packets are dropped |
//! | [`packet`] | bytes plus the metadata that Linux keeps in `struct sk_buff` |
//! | [`trace`] | the typed event stream of a run |
//! | [`draws`] | every random decision, by name and range |
//! | [`context`] | what a subsystem gets beside the packet, and the effects that it leaves to the stack |
//!
//! Then the subsystems, from the wire upwards:
//!
//! | module | what it is |
//! |---|---|
//! | [`link`] | the wire between two devices: latency, loss, duplication, reordering |
//! | [`device`] | network devices of a netns and their addresses |
//! | [`sysctl`] | settings of a netns |
//! | [`timer_wheel`] | when the timers of a kernel really expire |
//! | [`neigh`] | hardware addresses of neighbours, and ARP |
//! | [`fib`] | routing tables and routing decisions |
//! | [`defrag`] | fragments that wait to be put together |
//! | [`icmp_limit`] | how many ICMP messages a netns sends |
//! | [`socket`] | TCP, UDP and ping endpoints |
//! | [`netfilter`] | conntrack and NAT |
//! | [`ipset`] | sets of addresses and ports, which rules ask |
//! | [`xtables`] | iptables: its text, and its evaluation |
//! | [`fdb`] | the forwarding databases of bridges |
//! | [`hook_table`] | who sees packets at which hook, and in what order |
//! | [`netns`] | all of that for one namespace |
//! | [`stack`] | the path of an IPv4 packet; `stack::hooks` is the only file that names every subsystem |
//! | [`bridge`] | the software bridge, and br_netfilter |
//! | [`world`] | netns, links, virtual time, events |

pub mod bridge;
pub mod context;
pub mod ct;
pub mod defrag;
pub mod device;
pub mod draws;
pub mod drop_reason;
pub mod fdb;
pub mod fib;
pub mod hook;
pub mod hook_table;
pub mod icmp_limit;
pub mod ids;
pub mod ipset;
pub mod link;
pub mod neigh;
pub mod netfilter;
pub mod netns;
pub mod packet;
pub mod route;
pub mod socket;
pub mod stack;
pub mod sysctl;
mod text;
pub mod time;
pub mod timer_wheel;
pub mod trace;
pub mod tuple;
pub mod wire;
pub mod world;
pub mod xtables;
