//! The applications behind server sockets.

use super::{Endpoint, Sizes};
use std::fmt;
use std::sync::Arc;

/// The application on a port; a closed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Answers each request, whatever its content, with the line `NAME PEER_IP:PEER_PORT LOCAL_IP:LOCAL_PORT`, so that
    /// a client learns the server's name and the source address that it saw. A TCP request is the data returned by one
    /// read, unless it says how long it is ([`Sizes`]).
    Identify {
        /// The server's name.
        name: Box<str>,
    },
    /// Reads and never responds.
    Discard,
    /// Echoes what it reads.
    Echo,
    /// Responds with the result of a function.
    Respond {
        /// The server's name.
        name: Box<str>,
        /// The function.
        responder: Responder,
    },
}

/// Computes a response from a request and from the line that [`Server::Identify`] would send.
type Answer = dyn Fn(&[u8], &str) -> Option<Vec<u8>> + Send + Sync;

/// A response function. It must be pure: equal requests have equal responses.
#[derive(Clone)]
pub struct Responder(Arc<Answer>);

impl Responder {
    /// A responder with this function; for `None`, no response is sent.
    pub fn new(answer: impl Fn(&[u8], &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Responder")
    }
}

impl PartialEq for Responder {
    /// Functions are equal if they are identical.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Responder {}

impl Server {
    /// True if what was read of a stream so far is answered.
    pub(super) fn is_complete(&self, request: &[u8]) -> bool {
        match self {
            Self::Identify { .. } | Self::Respond { .. } => Sizes::is_complete(request),
            Self::Discard | Self::Echo => true,
        }
    }

    /// The response to a request, if any.
    pub(super) fn answer(&self, request: &[u8], local: Endpoint, peer: Endpoint) -> Option<Vec<u8>> {
        match self {
            Self::Identify { name } => Some(Sizes::answer(request, identify(name, local, peer))),
            Self::Discard => None,
            Self::Echo => Some(request.to_vec()),
            Self::Respond { name, responder } => responder.0(request, &identify(name, local, peer)),
        }
    }
}

fn identify(name: &str, local: Endpoint, peer: Endpoint) -> String {
    format!("{name} {}:{} {}:{}\n", peer.0, peer.1, local.0, local.1)
}
