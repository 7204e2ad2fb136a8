//! The applications behind server sockets.

use super::Endpoint;

/// What serves a port; a closed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Answers each request, whatever its bytes, with the line `NAME PEER_IP:PEER_PORT LOCAL_IP:LOCAL_PORT`. So a client
    /// learns who served it and which source address the server saw. A TCP request is what one read returns.
    Identify {
        /// The name that it gives.
        name: Box<str>,
    },
    /// Reads and never answers.
    Discard,
    /// Answers with what it read.
    Echo,
}

impl Server {
    /// The answer to a request, if there is one.
    pub(super) fn answer(&self, request: &[u8], local: Endpoint, peer: Endpoint) -> Option<Vec<u8>> {
        match self {
            Self::Identify { name } => {
                Some(format!("{name} {}:{} {}:{}\n", peer.0, peer.1, local.0, local.1).into_bytes())
            }
            Self::Discard => None,
            Self::Echo => Some(request.to_vec()),
        }
    }
}
