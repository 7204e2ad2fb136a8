//! Runs several labs in parallel. Their namespaces have unique names and share no device, so each run has its own
//! network.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Parallel labs per processor: a run spends most of its time waiting.
const LABS_PER_PROCESSOR: usize = 2;

/// Calls `run` with every number below `count`, on `workers` threads or twice as many as there are processors, and returns
/// what each call gave, in the order of the numbers. Where the machine has no more threads, those that it has do the work.
///
/// # Panics
/// If `run` panics.
pub fn side_by_side<T: Send>(
    count: usize,
    workers: Option<NonZeroUsize>,
    run: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let workers = workers.map_or(processors * LABS_PER_PROCESSOR, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, run(number)));
        }
    };
    let mut done = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let threads: Vec<_> = (0..workers.min(count)).map_while(spawn).collect();
        let own = if threads.is_empty() { work() } else { Vec::new() };
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let theirs = joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        own.into_iter().chain(theirs).collect::<Vec<_>>()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Returns the result of `run` and its duration.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_are_in_order_whoever_is_first() {
        let slow_first = |number: usize| {
            thread::sleep(Duration::from_millis(20_u64.saturating_sub(number as u64)));
            number
        };
        for workers in [1, 3, 50] {
            let results = side_by_side(20, NonZeroUsize::new(workers), slow_first);
            assert_eq!(results, Vec::from_iter(0..20));
        }
        assert_eq!(side_by_side(0, None, slow_first), [0; 0]);
    }

    #[test]
    fn they_do_run_at_once() {
        // A single thread would not pass the barrier.
        let all = Barrier::new(3);
        let results = side_by_side(3, NonZeroUsize::new(3), |_| all.wait().is_leader());
        assert_eq!(results.iter().filter(|is_leader| **is_leader).count(), 1);
    }
}
