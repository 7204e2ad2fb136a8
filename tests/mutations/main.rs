//! Tests the judges: builds each fault of [`conformance::mutation`] into the simulator, and runs the judge that must find
//! it. A fault that no judge finds is a missing scenario.
//!
//! `tests/mutations/run --help` says how to start it. Needs root and the tools of the kernel arm, as most judges compare
//! the simulator with the kernel.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "this test starts processes")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

mod judge;
mod table;
mod trial;

use clap::Parser;
use conformance::mutation::{Mutation, ROWS};
use judge::Judge;
use std::collections::BTreeSet;
use std::io::{IsTerminal as _, stderr};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::{available_parallelism, scope};
use std::time::Instant;
use trial::{Outcome, Trial};

/// A judge of the kernel mostly waits.
const JOBS_PER_PROCESSOR: usize = 3;

/// Builds faults into the simulator, one at a time, and checks that the judges find them.
///
/// Exit codes: 0 every fault was found, and no judge objects to the simulator without one; 1 otherwise; 2 wrong arguments.
#[derive(Parser)]
#[command(name = "tests/mutations/run")]
struct Args {
    /// Mutations to try [default: all]
    #[arg(value_parser = mutation)]
    mutations: Vec<Mutation>,
    /// Try every N-th mutation, from the K-th on
    #[arg(long, value_name = "K/N", value_parser = slice, conflicts_with = "mutations")]
    slice: Option<(usize, usize)>,
    /// Number of parallel trials [default: three per processor]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Print the table of mutations without running anything
    #[arg(long)]
    list: bool,
}

fn mutation(name: &str) -> Result<Mutation, String> {
    Mutation::by_name(name).ok_or_else(|| "expected the name of a mutation; --list prints them".to_owned())
}

fn slice(text: &str) -> Result<(usize, usize), String> {
    let (number, count) = text.split_once('/').unwrap_or_default();
    match (number.parse(), count.parse()) {
        (Ok(number), Ok(count)) if (1..=count).contains(&number) => Ok((number, count)),
        (_, _) => Err("expected K/N with K from 1 to N".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let chosen = chosen(&args);
    if args.list {
        print!("{}", table::listed(&chosen));
        return ExitCode::SUCCESS;
    }
    let judges: BTreeSet<Judge> = chosen.iter().map(|mutation| judge::of(*mutation)).collect();
    let controls = judges.into_iter().map(|judge| Trial { mutation: None, judge });
    let faults =
        chosen.iter().map(|mutation| Trial { mutation: Some(*mutation), judge: judge::of(*mutation) });
    let trials: Vec<Trial> = controls.chain(faults).collect();
    let outcomes = run_all(&trials, jobs(&args));
    print!("{}", table::summary(&outcomes));
    if outcomes.iter().all(Outcome::is_right) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn chosen(args: &Args) -> Vec<Mutation> {
    let all = ROWS.iter().map(|row| row.mutation);
    match args.slice {
        Some((number, count)) => all.skip(number - 1).step_by(count).collect(),
        None if args.mutations.is_empty() => all.collect(),
        None => args.mutations.clone(),
    }
}

fn jobs(args: &Args) -> usize {
    let processors = available_parallelism().map_or(1, NonZeroUsize::get);
    args.jobs.map_or(processors * JOBS_PER_PROCESSOR, NonZeroUsize::get)
}

/// Runs trials in parallel, and prints a row for each in their order.
fn run_all(trials: &[Trial], jobs: usize) -> Vec<Outcome> {
    let width = table::judge_width(trials);
    let mut outcomes: Vec<Option<Outcome>> = trials.iter().map(|_| None).collect();
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((index, trial)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|index| Some((index, trials.get(index)?)))
                {
                    // The receiver lives until every sender is gone.
                    let _ = sender.send((index, trial.run()));
                }
            });
        }
        drop(sender);
        let (mut done, mut printed) = (0, 0);
        for (index, outcome) in receiver {
            outcomes[index] = Some(outcome);
            done += 1;
            while let Some(Some(outcome)) = outcomes.get(printed) {
                println!("{}", table::row(outcome, width));
                printed += 1;
            }
            if stderr().is_terminal() {
                eprint!("\r{done} of {} trials, {} s\r", trials.len(), started.elapsed().as_secs());
            }
        }
    });
    outcomes.into_iter().flatten().collect()
}
