//! Memory of ended packets, for new ones (`skbuff_cache`, net/core/skbuff.c).

use super::{Meta, Packet, SkBuff};
use crate::ids::{FlowId, PacketId};

/// Ended packets and their buffers. More are freed: a broadcast may create thousands at once.
const SPARES_MAX: usize = 64;

/// Packets and buffers to be used again. A copy is empty, so that forks of a world share nothing.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    packets: Vec<Packet>,
    buffers: Vec<Vec<u8>>,
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Pool {
    /// A new packet (`alloc_skb`).
    pub(crate) fn packet(&mut self, id: PacketId, flow: Option<FlowId>, bytes: Vec<u8>) -> Packet {
        let content = SkBuff { id, flow, crossings: 0, bytes, meta: Meta::default() };
        match self.packets.pop() {
            Some(mut packet) => {
                *packet = content;
                packet
            }
            None => Packet(Box::new(content)),
        }
    }

    /// An empty buffer.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    /// Keeps the memory of a packet (`kfree_skbmem`).
    pub(crate) fn free(&mut self, mut packet: Packet) {
        if self.packets.len() < SPARES_MAX {
            let mut buffer = std::mem::take(&mut packet.bytes);
            buffer.clear();
            self.buffers.push(buffer);
            self.packets.push(packet);
        }
    }
}
