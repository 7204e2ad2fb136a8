//! Remembers routing decisions about received packets until a route, a device or a setting changes.
//!
//! Linux has had no such cache since 3.6, where it could be filled from outside. This one has a fixed size, and changes
//! nothing but time: it holds results of [`route_input`], which depends on its arguments alone.

use super::{InputKey, Routing, route_input};
use crate::drop_reason::DropReason;
use crate::route::RouteResult;

const SLOTS: usize = 16;

type Slot = Option<(InputKey, Result<RouteResult, DropReason>)>;

/// Decisions about received packets.
#[derive(Clone, Debug, Default)]
pub struct InputCache {
    /// [`Routing::generation`] of these decisions.
    generation: u64,
    slots: [Slot; SLOTS],
}

impl InputCache {
    /// The result of [`route_input`].
    ///
    /// # Errors
    /// As [`route_input`].
    pub fn route_input(&mut self, routing: Routing<'_>, key: &InputKey) -> Result<RouteResult, DropReason> {
        let generation = routing.generation();
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        let slot = &mut self.slots[slot_of(key)];
        match slot {
            Some((held, result)) if held == key => *result,
            Some(_) | None => {
                let result = route_input(routing.fib, routing.devices, routing.sysctls, key);
                *slot = Some((*key, result));
                result
            }
        }
    }
}

fn slot_of(key: &InputKey) -> usize {
    let mixed = key.src.to_bits() ^ key.dst.to_bits().rotate_left(16) ^ u32::from(key.in_dev.0);
    // The upper bits of a product depend on all bits of its factors (Fibonacci hashing).
    (mixed.wrapping_mul(0x9e37_79b9) >> 28) as usize
}
