//! UDP (RFC 768).

use super::be16;

/// Length of a UDP header in bytes.
pub const UDP_HEADER_LEN: usize = 8;

mod field {
    pub(super) const SRC_PORT: usize = 0;
    pub(super) const DST_PORT: usize = 2;
    pub(super) const LENGTH: usize = 4;
    pub(super) const CHECKSUM: usize = 6;
}

/// A view of a UDP datagram of at least [`UDP_HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Udp<T>(T);

impl<T: AsRef<[u8]>> Udp<T> {
    /// A view, or `None` unless the length field fits into the bytes.
    pub fn new_checked(bytes: T) -> Option<Self> {
        let slice = bytes.as_ref();
        if slice.len() < UDP_HEADER_LEN {
            return None;
        }
        let length = usize::from(be16(slice, field::LENGTH));
        (length >= UDP_HEADER_LEN && slice.len() >= length).then_some(Self(bytes))
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        be16(self.0.as_ref(), field::SRC_PORT)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        be16(self.0.as_ref(), field::DST_PORT)
    }

    /// Length of header and data in bytes.
    pub fn length(&self) -> u16 {
        be16(self.0.as_ref(), field::LENGTH)
    }

    /// The checksum as stored; zero means none.
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM)
    }

    /// Data bytes.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[UDP_HEADER_LEN..usize::from(self.length())]
    }
}
