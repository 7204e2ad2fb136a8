//! Sockets.

/// Index of a socket within its netns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// A timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketTimer {
    /// The socket.
    pub socket: SocketId,
    /// Distinguishes a set timer from one that was replaced or cancelled since.
    pub generation: u32,
}
