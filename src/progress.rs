//! A progress bar on standard error, for silent work that takes longer than a second.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shorter work shows no bar: a bar that only flashes is of no use.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// Counts steps, and shows a bar if that is useful.
pub(crate) struct Progress {
    /// False if output appears on the terminal anyway.
    is_wanted: bool,
    total: usize,
    done: usize,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `is_silent`: nothing else is printed before the end.
    pub(crate) fn new(total: usize, is_silent: bool) -> Self {
        let is_wanted = std::io::stderr().is_terminal() && (is_silent || !std::io::stdout().is_terminal());
        Self { is_wanted, total, done: 0, started: Instant::now(), bar: None }
    }

    /// Marks one step, described by `what`, as done.
    pub(crate) fn step(&mut self, what: &str) {
        self.done += 1;
        if !self.is_wanted || self.started.elapsed() < SHOWN_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.total));
        bar.set_position(u64::try_from(self.done).unwrap_or(u64::MAX));
        bar.set_message(what.to_owned());
    }
}

impl Progress {
    /// Prints above the bar, which then continues below.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX));
    match ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
