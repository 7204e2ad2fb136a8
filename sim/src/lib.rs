//! The virtual kernel and network: nodes as network namespaces, frames as bytes, and a netfilter that executes the rule
//! text that a real kernel would load.
//!
//! The crate is pure. It performs no input or output, reads no clock and starts no threads; time, random decisions and
//! recording are arguments ([`context::Context`]). The same calls produce the same bytes.
//!
//! Basic types that every subsystem uses; their modules contain no behaviour of a subsystem:
//!
//! | module | content |
//! |---|---|
//! | [`ids`] | netns, devices, packets, flows, sockets, conntrack entries |
//! | [`time`] | instants and durations |
//! | [`wire`] | header lenses over bytes, checksums, packet building |
//! | [`hook`] | family, hook, priority, verdict |
//! | [`tuple`](mod@tuple) | the key of a flow in one direction |
//! | [`ct`] | a packet's reference to its conntrack entry |
//! | [`route`] | a routing decision |
//! | [`drop_reason`] | why packets are dropped |
//! | [`packet`] | bytes plus the metadata that Linux keeps in `struct sk_buff` |
//! | [`trace`] | the typed event stream of a run |
//! | [`mutation`] | faults that tests build in, to learn whether they are found |
//! | [`draws`] | random decisions, by purpose and range |
//! | [`arrivals`] | when a kernel that is followed received the same packets |
//! | [`context`] | the context in which a subsystem processes a packet, and the effects that it requests |
//!
//! Subsystems, from the wire upwards:
//!
//! | module | content |
//! |---|---|
//! | [`link`] | the wire between two devices: latency, loss, duplication, reordering |
//! | [`device`] | network devices of a netns and their addresses |
//! | [`sysctl`] | sysctls of a netns |
//! | [`timer_wheel`] | actual expiry times of kernel timers |
//! | [`neigh`] | hardware addresses of neighbours, and ARP |
//! | [`fib`] | routing tables and routing decisions |
//! | [`defrag`] | IP reassembly |
//! | [`icmp_limit`] | rate limits of ICMP messages |
//! | [`socket`] | TCP, UDP and ping endpoints |
//! | [`netfilter`] | conntrack and NAT |
//! | [`ipset`] | sets of addresses and ports, used by rules |
//! | [`ipvs`] | IPVS: virtual services and their connections |
//! | [`xtables`] | iptables: parsing and evaluation of rules |
//! | [`fdb`] | the forwarding databases of bridges |
//! | [`hook_table`] | the order of subsystems at each hook |
//! | [`netns`] | the state of one network namespace |
//! | [`stack`] | the path of an IPv4 packet; `stack::hooks` is the only file that names every subsystem |
//! | [`bridge`] | the software bridge, and br_netfilter |
//! | [`world`] | netns, links, virtual time, events |

mod addr_hash;
pub mod arrivals;
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
pub mod ipvs;
pub mod link;
pub mod mutation;
pub mod neigh;
pub mod netfilter;
pub mod netns;
pub mod packet;
pub mod release;
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
