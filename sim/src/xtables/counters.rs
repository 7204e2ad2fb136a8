//! Packet and byte counters of rules and policies.

use std::sync::Arc;

/// Packets and bytes (`struct xt_counters`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Packets.
    pub(super) packets: u64,
    /// Bytes, including the IP header.
    pub(super) bytes: u64,
}

const PAGE: usize = 64;

/// Counters of rules by slot, in pages that forked worlds share until one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleCounters {
    pages: Vec<Arc<[Count; PAGE]>>,
    /// Number of slots, including those in `free`.
    len: u32,
    free: Vec<u32>,
}

impl RuleCounters {
    /// Allocates a slot with this count.
    pub(super) fn allocate(&mut self, count: Count) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.len;
            self.len += 1;
            if place(slot).0 == self.pages.len() {
                self.pages.push(Arc::new([Count::default(); PAGE]));
            }
            slot
        });
        self.set(slot, count);
        slot
    }

    /// Frees a slot.
    pub(super) fn release(&mut self, slot: u32) {
        self.free.push(slot);
    }

    pub(super) fn get(&self, slot: u32) -> Count {
        let (page, index) = place(slot);
        self.pages[page][index]
    }

    pub(super) fn set(&mut self, slot: u32, count: Count) {
        *self.count_mut(slot) = count;
    }

    /// Counts one packet in each of these slots (`ADD_COUNTER`, include/linux/netfilter/x_tables.h). Slots of one page
    /// mostly follow each other.
    pub(super) fn add(&mut self, slots: &[u32], bytes: u32) {
        for slots in slots.chunk_by(|one, other| place(*one).0 == place(*other).0) {
            let page = Arc::make_mut(&mut self.pages[place(slots[0]).0]);
            for slot in slots {
                let count = &mut page[place(*slot).1];
                count.packets += 1;
                count.bytes += u64::from(bytes);
            }
        }
    }

    fn count_mut(&mut self, slot: u32) -> &mut Count {
        let (page, index) = place(slot);
        &mut Arc::make_mut(&mut self.pages[page])[index]
    }
}

fn place(slot: u32) -> (usize, usize) {
    let slot = usize::try_from(slot).expect("a u32 fits usize");
    (slot / PAGE, slot % PAGE)
}
