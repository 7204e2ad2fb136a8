//! Segments as values: parsed from packets, and written to bytes.

use super::seq::Seq;
use crate::addr_hash::hash_pair;
use crate::drop_reason::DropReason;
use crate::ids::{FlowId, PacketId};
use crate::packet::Packet;
use crate::socket::Endpoint;
use crate::wire::tcp_option::{MAX_WINDOW_SCALE, aligned_timestamps, kind};
use crate::wire::{Ecn, Tcp, TcpFlags, TcpOption, build, checksum, protocol};
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};

/// The two ends of a connection, from the local point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::socket) struct FourTuple {
    pub(in crate::socket) local: Endpoint,
    pub(in crate::socket) remote: Endpoint,
}

impl Hash for FourTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { local, remote } = *self;
        hash_pair(local.0, remote.0, state);
        state.write_u32(u32::from(local.1) << 16 | u32::from(remote.1));
    }
}

/// Length of a TCP header with the maximum number of options, in bytes.
const TCP_HEADER_MAX: usize = 60;

/// The supported options; received or to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::socket) struct Options {
    /// Maximum segment size; SYN only.
    pub(in crate::socket) mss: Option<u16>,
    /// Window scale as a power of two, at most 14; SYN only.
    pub(in crate::socket) window_scale: Option<u8>,
    /// SACK permitted; SYN only.
    pub(in crate::socket) is_sack_permitted: bool,
    /// Timestamp value and echo reply.
    pub(in crate::socket) timestamps: Option<(u32, u32)>,
}

/// Blocks of a SACK option: up to four, or three with timestamps.
pub(super) type SackBlocks = SmallVec<[(Seq, Seq); 4]>;

impl Options {
    /// Parses the options of a segment (`tcp_parse_options`, net/ipv4/tcp_input.c).
    fn parse(list: &[u8], is_syn: bool) -> Self {
        let mut options = Self::default();
        if let Some(timestamps) = aligned_timestamps(list) {
            options.timestamps = Some(timestamps);
            return options;
        }
        for option in TcpOption::iter(list) {
            match option {
                TcpOption::Mss(mss) if is_syn && mss > 0 => options.mss = Some(mss),
                TcpOption::WindowScale(shift) if is_syn => {
                    options.window_scale = Some(shift.min(MAX_WINDOW_SCALE));
                }
                TcpOption::SackPermitted if is_syn => options.is_sack_permitted = true,
                TcpOption::Timestamps(value, echo) => options.timestamps = Some((value, echo)),
                TcpOption::Nop
                | TcpOption::Mss(_)
                | TcpOption::WindowScale(_)
                | TcpOption::SackPermitted
                | TcpOption::Sack(_)
                | TcpOption::Other { .. } => {}
            }
        }
        options
    }

    /// Appends the option bytes, in the order and with the padding of `tcp_options_write` (net/ipv4/tcp_output.c).
    fn push(&self, sack: &[(Seq, Seq)], bytes: &mut Vec<u8>) {
        if let Some(mss) = self.mss {
            bytes.extend_from_slice(&[kind::MSS, 4]);
            bytes.extend_from_slice(&mss.to_be_bytes());
        }
        if let Some((value, echo)) = self.timestamps {
            bytes.extend_from_slice(&match self.is_sack_permitted {
                true => [kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10],
                false => [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10],
            });
            bytes.extend_from_slice(&value.to_be_bytes());
            bytes.extend_from_slice(&echo.to_be_bytes());
        } else if self.is_sack_permitted {
            bytes.extend_from_slice(&[kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]);
        }
        if let Some(shift) = self.window_scale {
            bytes.extend_from_slice(&[kind::NOP, kind::WINDOW_SCALE, 3, shift]);
        }
        if let Some(length) = u8::try_from(sack.len() * 8 + 2).ok().filter(|length| *length > 2) {
            bytes.extend_from_slice(&[kind::NOP, kind::NOP, kind::SACK, length]);
            for (start, end) in sack {
                bytes.extend_from_slice(&start.0.to_be_bytes());
                bytes.extend_from_slice(&end.0.to_be_bytes());
            }
        }
    }
}

/// A received segment.
#[derive(Clone, Copy, Debug)]
pub(in crate::socket) struct Segment<'p> {
    pub(in crate::socket) packet: PacketId,
    pub(in crate::socket) flow: Option<FlowId>,
    pub(in crate::socket) tuple: FourTuple,
    pub(in crate::socket) seq: Seq,
    pub(in crate::socket) ack: Seq,
    pub(in crate::socket) flags: TcpFlags,
    /// The window field of the header, unscaled.
    pub(in crate::socket) window: u16,
    /// The urgent pointer; valid with URG.
    pub(in crate::socket) urgent: u16,
    /// The ECN field of the IP header.
    pub(in crate::socket) ecn: Ecn,
    pub(in crate::socket) options: Options,
    pub(in crate::socket) payload: &'p [u8],
}

impl<'p> Segment<'p> {
    /// Parses and validates a segment (`tcp_v4_rcv`, net/ipv4/tcp_ipv4.c).
    pub(in crate::socket) fn parse(packet: &'p Packet) -> Result<Self, DropReason> {
        let l3 = packet.l3();
        let ip = packet.ip();
        let (src, dst) = (ip.src(), ip.dst());
        let bytes = &l3[ip.header_len()..ip.total_len()];
        let tcp = Tcp::new_checked(bytes).ok_or(DropReason::TcpInvalid)?;
        let length = u16::try_from(bytes.len()).map_err(|_| DropReason::TcpInvalid)?;
        let sum = checksum::pseudo_header(src, dst, protocol::TCP, length) + checksum::sum(bytes);
        if checksum::finish(sum) != 0 {
            return Err(DropReason::TcpChecksum);
        }
        let flags = tcp.flags();
        Ok(Self {
            packet: packet.id,
            flow: packet.flow,
            tuple: FourTuple { local: (dst, tcp.dst_port()), remote: (src, tcp.src_port()) },
            seq: Seq(tcp.sequence()),
            ack: Seq(tcp.acknowledgment()),
            flags,
            window: tcp.window(),
            urgent: tcp.urgent_pointer(),
            ecn: Ecn::of_tos(ip.dsfield()),
            options: Options::parse(tcp.options(), flags.contains(TcpFlags::SYN)),
            payload: &bytes[tcp.header_len()..],
        })
    }

    pub(in crate::socket) const fn has(&self, flag: TcpFlags) -> bool {
        self.flags.contains(flag)
    }

    /// True if it has data, SYN or FIN, which occupy sequence numbers.
    pub(in crate::socket) const fn has_text(&self) -> bool {
        !self.payload.is_empty() || self.flags.intersects(TcpFlags::SYN.union(TcpFlags::FIN))
    }

    /// Length of the payload in bytes.
    pub(in crate::socket) fn len(&self) -> u32 {
        u32::try_from(self.payload.len()).expect("an IPv4 payload is under 64 KiB")
    }

    /// The sequence number after it; SYN and FIN count as one each.
    pub(in crate::socket) fn end_seq(&self) -> Seq {
        let controls = u32::from(self.has(TcpFlags::SYN)) + u32::from(self.has(TcpFlags::FIN));
        self.seq + self.len() + controls
    }
}

/// A segment to be sent.
#[derive(Clone, Copy, Debug)]
pub(in crate::socket) struct Outgoing<'d> {
    pub(in crate::socket) tuple: FourTuple,
    pub(in crate::socket) seq: Seq,
    /// Written if ACK is set; zero otherwise.
    pub(in crate::socket) ack: Seq,
    pub(in crate::socket) flags: TcpFlags,
    pub(in crate::socket) window: u16,
    /// The ECN field of the IP header.
    pub(in crate::socket) ecn: Ecn,
    pub(in crate::socket) options: Options,
    pub(in crate::socket) sack: &'d [(Seq, Seq)],
    pub(in crate::socket) payload: &'d [u8],
}

impl Outgoing<'_> {
    /// Its maximum length in bytes.
    pub(in crate::socket) const fn len_max(&self) -> usize {
        TCP_HEADER_MAX + self.payload.len()
    }

    /// Appends header, options and data, including the checksum, to a buffer with headroom for the lower headers.
    pub(in crate::socket) fn emit(&self, buffer: &mut Vec<u8>) {
        let ack = if self.flags.contains(TcpFlags::ACK) { self.ack.0 } else { 0 };
        buffer.extend_from_slice(&self.tuple.local.1.to_be_bytes());
        buffer.extend_from_slice(&self.tuple.remote.1.to_be_bytes());
        buffer.extend_from_slice(&self.seq.0.to_be_bytes());
        buffer.extend_from_slice(&ack.to_be_bytes());
        // The header length is filled in below.
        buffer.extend_from_slice(&[0, self.flags.0]);
        buffer.extend_from_slice(&self.window.to_be_bytes());
        // Checksum, filled in below, and urgent pointer.
        buffer.extend_from_slice(&[0; 4]);
        self.options.push(self.sack, buffer);
        let words = u8::try_from((buffer.len() - build::HEADROOM) / 4).expect("at most 15 words");
        buffer[build::HEADROOM + 12] = words << 4;
        buffer.extend_from_slice(self.payload);
        build::finish_transport_checksum(
            self.tuple.local.0,
            self.tuple.remote.0,
            protocol::TCP,
            &mut buffer[build::HEADROOM..],
        );
    }
}
