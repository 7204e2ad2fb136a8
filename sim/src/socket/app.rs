//! The applications behind server sockets.

use super::Endpoint;
use std::fmt;
use std::sync::Arc;

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
    /// Answers as a function says.
    Respond {
        /// The name that it gives.
        name: Box<str>,
        /// The function.
        responder: Responder,
    },
}

/// What a server makes of a request and of the line by which [`Server::Identify`] would answer it.
type Answer = dyn Fn(&[u8], &str) -> Option<Vec<u8>> + Send + Sync;

/// A function by which a server answers. It must be pure: the same request has the same answer.
#[derive(Clone)]
pub struct Responder(Arc<Answer>);

impl Responder {
    /// A server that answers as this function says; where it says nothing, it stays silent.
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
    /// Functions are equal if they are the same one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Responder {}

impl Server {
    /// The answer to a request, if there is one.
    pub(super) fn answer(&self, request: &[u8], local: Endpoint, peer: Endpoint) -> Option<Vec<u8>> {
        match self {
            Self::Identify { name } => Some(identify(name, local, peer).into_bytes()),
            Self::Discard => None,
            Self::Echo => Some(request.to_vec()),
            Self::Respond { name, responder } => responder.0(request, &identify(name, local, peer)),
        }
    }
}

fn identify(name: &str, local: Endpoint, peer: Endpoint) -> String {
    format!("{name} {}:{} {}:{}\n", peer.0, peer.1, local.0, local.1)
}
