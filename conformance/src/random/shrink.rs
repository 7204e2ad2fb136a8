//! Shrinks a world while a predicate holds.

use std::collections::BTreeMap;

use proptest::strategy::ValueTree;

use super::world::RandomWorld;

/// The smallest world found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The world.
    pub world: RandomWorld,
    /// Number of worlds tried.
    pub tried: usize,
}

/// Removes parts of a world while `holds` is true for it and its text. Calls `holds` at most `tries_max` times, and
/// never twice for the same text. The original world is known to fail and is not checked.
pub fn shrink(
    tree: &mut dyn ValueTree<Value = RandomWorld>,
    tries_max: usize,
    mut holds: impl FnMut(&RandomWorld, &str) -> bool,
) -> Shrunk {
    let mut shrunk = Shrunk { world: tree.current(), tried: 0 };
    let mut known = BTreeMap::from([(shrunk.world.text("fuzz"), true)]);
    let mut is_moving = tree.simplify();
    while is_moving {
        let world = tree.current();
        let text = world.text("fuzz");
        let answer = match known.get(&text) {
            Some(answer) => *answer,
            None if shrunk.tried == tries_max => break,
            None => {
                shrunk.tried += 1;
                let answer = holds(&world, &text);
                known.insert(text, answer);
                answer
            }
        };
        is_moving = if answer {
            shrunk.world = world;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    shrunk
}
