//! TCP (RFC 9293).

use super::{be16, be32};
use std::fmt;

/// Length of a TCP header without options, in bytes.
pub const TCP_HEADER_LEN: usize = 20;

mod field {
    use std::ops::Range;
    pub(super) const SRC_PORT: Range<usize> = 0..2;
    pub(super) const DST_PORT: Range<usize> = 2..4;
    pub(super) const SEQUENCE: usize = 4;
    pub(super) const ACKNOWLEDGMENT: usize = 8;
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: usize = 14;
    pub(super) const CHECKSUM: Range<usize> = 16..18;
    pub(super) const URGENT: usize = 18;
}

/// The control bits of a segment, as stored in byte 13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: Self = Self(0x01);
    /// SYN.
    pub const SYN: Self = Self(0x02);
    /// RST.
    pub const RST: Self = Self(0x04);
    /// PSH.
    pub const PSH: Self = Self(0x08);
    /// ACK.
    pub const ACK: Self = Self(0x10);
    /// URG.
    pub const URG: Self = Self(0x20);
    /// ECN echo.
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// True if every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if any bit of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union of both sets of bits.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for TcpFlags {
    /// Formatted as by tcpdump: `S`, `S.`, `P.`, `F.`, `R.`, `.`; `none` if no bit is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(TcpFlags, char); 8] = [
            (TcpFlags::FIN, 'F'),
            (TcpFlags::SYN, 'S'),
            (TcpFlags::RST, 'R'),
            (TcpFlags::PSH, 'P'),
            (TcpFlags::URG, 'U'),
            (TcpFlags::ECE, 'E'),
            (TcpFlags::CWR, 'W'),
            (TcpFlags::ACK, '.'),
        ];
        if self.0 == 0 {
            return f.write_str("none");
        }
        LETTERS
            .iter()
            .filter(|(bit, _)| self.contains(*bit))
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// A view of a TCP segment of at least [`TCP_HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<T>(T);

impl<T: AsRef<[u8]>> Tcp<T> {
    /// A view, or `None` unless the header and its options fit into the bytes.
    pub fn new_checked(bytes: T) -> Option<Self> {
        let slice = bytes.as_ref();
        if slice.len() < TCP_HEADER_LEN {
            return None;
        }
        let header_len = usize::from(slice[field::DATA_OFFSET] >> 4) * 4;
        (header_len >= TCP_HEADER_LEN && slice.len() >= header_len).then_some(Self(bytes))
    }

    /// Source port.
    pub fn src_port(&self) -> u16 {
        be16(self.0.as_ref(), field::SRC_PORT.start)
    }

    /// Destination port.
    pub fn dst_port(&self) -> u16 {
        be16(self.0.as_ref(), field::DST_PORT.start)
    }

    /// Sequence number of the first byte, or of the SYN.
    pub fn sequence(&self) -> u32 {
        be32(self.0.as_ref(), field::SEQUENCE)
    }

    /// Next sequence number expected from the peer; valid with ACK.
    pub fn acknowledgment(&self) -> u32 {
        be32(self.0.as_ref(), field::ACKNOWLEDGMENT)
    }

    /// Header length in bytes, options included.
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[field::DATA_OFFSET] >> 4) * 4
    }

    /// Control bits.
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.0.as_ref()[field::FLAGS])
    }

    /// Window as stored, before scaling.
    pub fn window(&self) -> u16 {
        be16(self.0.as_ref(), field::WINDOW)
    }

    /// The checksum as stored.
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM.start)
    }

    /// The offset of the octet after urgent data, from the sequence number; valid with URG.
    pub fn urgent_pointer(&self) -> u16 {
        be16(self.0.as_ref(), field::URGENT)
    }

    /// Option bytes.
    pub fn options(&self) -> &[u8] {
        &self.0.as_ref()[TCP_HEADER_LEN..self.header_len()]
    }

    /// Data bytes.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..]
    }
}
