//! What keeps servers from their work.

use nix::errno::Errno;
use thiserror::Error;

/// Why a server, or all of them, went out of service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{who} cannot {what}: {errno}")]
pub struct Fault {
    /// Who cannot go on.
    pub who: String,
    /// What it was about to do.
    pub what: &'static str,
    /// Why.
    #[source]
    pub errno: Errno,
}
