use super::*;
use conformance::backend::Backend;
use std::sync::atomic::AtomicUsize;

/// Runs one cluster that fails in its first `bad_runs` runs. Returns what was caught, and the number of runs.
fn hunt(
    examined: Examined,
    is_exact: bool,
    kind: AnomalyKind,
    bad_runs: usize,
) -> (Option<Recurrence>, usize) {
    let runs = AtomicUsize::new(0);
    let examine = |_: &str, _: Examined| {
        let is_bad = runs.fetch_add(1, Ordering::Relaxed) < bad_runs;
        Ok(is_bad.then(|| Anomaly { kind, text: String::new() }))
    };
    let hunt = Hunt {
        mode: ProxyMode::Iptables,
        seed: 0,
        examined: &[examined],
        examine: &examine,
        shrink_tries: 5,
        is_exact,
        machine: RwLock::new(()),
    };
    let mut recurrence = None;
    let take = |index, verdict| {
        assert_eq!(index, 3);
        recurrence = match verdict {
            HuntResult::Good => None,
            HuntResult::Bad(caught) => Some(caught.recurrence),
        };
        Ok(true)
    };
    hunt.over(3..4, 1, take).expect("nothing is missing");
    (recurrence, runs.into_inner())
}

#[test]
fn only_a_late_machine_excuses_what_seldom_comes_again() {
    let kernel = Examined::Kernel(Backend::Legacy);
    let once = 1 + RUN_AGAIN as usize;
    for (examined, is_exact, kind, bad_runs, expected, runs) in [
        (Examined::Sim, true, AnomalyKind::Indeterminate, 0, None, 1),
        // The simulator must fail in every run or in none.
        (Examined::Sim, true, AnomalyKind::Indeterminate, 1, Some(Recurrence::SeldomUnexplained), once),
        (Examined::Sim, true, AnomalyKind::Stopped, 1, Some(Recurrence::SeldomUnexplained), once),
        (Examined::Sim, true, AnomalyKind::Indeterminate, 2, Some(Recurrence::Again { worlds: 6 }), 7),
        // In virtual time, no machine is late.
        (kernel, true, AnomalyKind::Frame, 1, Some(Recurrence::SeldomUnexplained), once),
        (kernel, true, AnomalyKind::Frame, 2, Some(Recurrence::Again { worlds: 6 }), 7),
        (kernel, false, AnomalyKind::Frame, 1, Some(Recurrence::SeldomAsMachineWasLate), once),
        (kernel, false, AnomalyKind::Frame, 2, Some(Recurrence::SeldomAsMachineWasLate), once),
        (kernel, false, AnomalyKind::Frame, 3, Some(Recurrence::Again { worlds: 6 }), 8),
        // Late frames cannot fail an assertion.
        (kernel, false, AnomalyKind::Panicked, 1, Some(Recurrence::SeldomUnexplained), once),
    ] {
        assert_eq!(
            hunt(examined, is_exact, kind, bad_runs),
            (expected, runs),
            "{examined:?} {kind} {bad_runs}"
        );
    }
}
