//! Errors that stop servers.

use nix::errno::Errno;
use thiserror::Error;

/// Why a server, or all of them, stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{who} cannot {what}: {errno}")]
pub struct ServerFault {
    /// The server.
    pub who: String,
    /// The failed operation.
    pub what: &'static str,
    /// The error.
    #[source]
    pub errno: Errno,
}
