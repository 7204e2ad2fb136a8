//! Ids of chains, and the hooks from which they are reached.

use crate::hook::Hook;

/// Identifies a chain within its table. It is reused after the chain is deleted, which requires that no rule references
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChainId(pub(super) u32);

impl ChainId {
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).expect("a u32 fits usize")
    }
}

/// A set of hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HookMask(u8);

impl HookMask {
    pub(super) const ALL: Self = Self(0b1_1111);

    pub(super) const fn of(hooks: &[Hook]) -> Self {
        let mut mask = 0;
        let mut index = 0;
        while index < hooks.len() {
            mask |= 1 << hooks[index] as u8;
            index += 1;
        }
        Self(mask)
    }

    pub(super) const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn names(self) -> String {
        let names: Vec<&str> = Hook::ALL
            .into_iter()
            .filter(|hook| self.0 & 1 << *hook as u8 != 0)
            .map(Hook::chain_name)
            .collect();
        names.join(", ")
    }
}
