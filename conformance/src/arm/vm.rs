//! The vm arm: the kernel arm and the simulator beside it, inside a virtual machine with a distribution's kernel.
//!
//! The comparison runs as a whole in the guest: a scenario goes in, its result comes out. Only so can guest time be
//! virtual: while a guest waits for this machine, its clock jumps from timer to timer.
//!
//! | module | what it is |
//! |---|---|
//! | [`image`] | the kernel and the root file system |
//! | `agent` | this program, packed for the guest |
//! | `boot` | one virtual machine |
//! | [`message`] | requests to the guest, and its responses |
//! | [`guest`] | the guest's side |
//! | `machines` | virtual machines in parallel |

mod agent;
mod boot;
pub mod guest;
pub mod image;
mod machines;
pub mod message;

pub use machines::Machines;

use serde::{Deserialize, Serialize};

/// How time passes in a guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestTime {
    /// By executed instructions; an idle guest skips to its next timer. A busy machine makes no difference.
    #[default]
    Virtual,
    /// As on this machine.
    WallClock,
}

/// The virtual machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// How time passed.
    pub time: GuestTime,
}
