//! Making a world smaller as long as something holds of it.

use std::collections::BTreeMap;

use proptest::strategy::ValueTree;

use super::world::RandomWorld;

/// The smallest world that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The world.
    pub world: RandomWorld,
    /// How many worlds were asked about.
    pub tried: usize,
}

/// Takes away from a world whatever can be taken away while `holds` is true of it and its text. It is asked no more than
/// `tries_max` times, and never twice about the same text. It need not hold of the world itself, which is known.
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
