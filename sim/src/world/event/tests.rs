use super::{EventQueue, WorldEvent};
use crate::ids::NetnsId;
use crate::time::{Duration, Instant};
use proptest::prelude::*;

/// Delays of all magnitudes, many of them similar.
fn delay() -> impl Strategy<Value = u64> {
    (0..40_u32, 0..4_u64).prop_map(|(magnitude, more)| (1 << magnitude) + more)
}

proptest! {
    /// Events are taken by time, and those of one time in the order in which they were scheduled, also if some are taken
    /// in between.
    #[test]
    fn events_are_taken_in_order(steps in prop::collection::vec((delay(), 0..3_usize), 1..200)) {
        let mut queue = EventQueue::default();
        let mut expected: Vec<(Instant, u32)> = Vec::new();
        let mut now = Instant::START;
        for (number, (delay, taken)) in (0..).zip(steps) {
            let at = now + Duration::from_nanos(delay);
            queue.schedule(now, at, NetnsId(number), WorldEvent::DefragTimer { due: at });
            expected.push((at, number));
            expected.sort_unstable();
            for (at, number) in expected.drain(..taken.min(expected.len())) {
                let (next_at, place) = queue.next().expect("an event is left");
                let event = queue.take(place);
                prop_assert_eq!((next_at, event.at, event.netns), (at, at, NetnsId(number)));
                now = at;
            }
        }
        for (at, number) in expected {
            let (_, place) = queue.next().expect("an event is left");
            let event = queue.take(place);
            prop_assert_eq!((event.at, event.netns), (at, NetnsId(number)));
        }
        prop_assert!(queue.next().is_none());
    }
}
