//! Connection tracking (net/netfilter/nf_conntrack_core.c and the `nf_conntrack_proto_*.c` files).
//!
//! | module | what it is |
//! |---|---|
//! | [`entry`](Entry) | both [tuples](crate::tuple::Tuple), status, timer, protocol state |
//! | [`table`](Conntrack) | the entries of a netns, indexed by tuple, with reference counts |
//! | `track` | associates a packet with its entry, at PREROUTING and OUTPUT |
//! | `tcp`, `udp`, `icmp`, `sctp` | protocol trackers |
//! | `confirm` | inserts a new entry into the table, at INPUT and POSTROUTING |
//! | [`state`](StateBits) | states that rules match |
//! | [`listing`](ListedEntry) | the table as `conntrack -L` prints it |
//!
//! Not modelled: zones, helpers and expectations, accounting, timestamps, labels, and flow offload.

mod confirm;
mod entry;
mod icmp;
mod listing;
mod sctp;
mod settings;
mod state;
mod stats;
mod table;
mod tcp;
mod track;
mod udp;
mod verdict;

pub use confirm::nf_conntrack_confirm;
pub use entry::{Entry, ProtocolState};
pub use listing::ListedEntry;
pub use settings::{ConntrackSettings, ConntrackTimeouts};
pub use state::{StateBits, state_bits};
pub use stats::ConntrackStats;
pub use table::Conntrack;
pub(crate) use track::delete;
pub use track::nf_conntrack_in;
pub(crate) use udp::allows_clash;
