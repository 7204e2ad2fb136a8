//! The simulator's IPVS beside the real one, connection by connection: random weights, and servers that come, go and change.
//!
//! The real one is in a virtual machine, in which this program is also the first process, and the driver that sends packets.
//! With `HAIRPIN_VM=required` in the environment, as in CI, the absence of a virtual machine is a failure.
//! `IPVS_LIVE_CONNECTIONS` is the number of connections for each scheduler; `IPVS_LIVE_SEED` draws other events.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise, and prints what it did"
)]

mod drive;
mod events;
#[path = "../ipvs_recordings/lab.rs"]
#[allow(dead_code, reason = "each test uses its part of this")]
mod lab;
#[path = "../ipvs_recordings/recording.rs"]
#[allow(dead_code, reason = "each test uses its part of this")]
mod recording;
#[path = "../ipvs_recordings/schedulers.rs"]
#[allow(dead_code, unused_imports, reason = "each test uses its part of this")]
mod schedulers;

use conformance::arm::ArmError;
use conformance::arm::vm::message::{Execute, Executed};
use conformance::arm::vm::{GuestTime, Machines, guest};
use serde_json::Value;
use sim::ipvs::SchedulerKind;
use std::env;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Mutex;
use std::thread;

/// The argument with which the driver starts in the guest.
const DRIVE: &str = "drive";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match &*words {
        ["lab", "vm", "guest", ..] => {
            guest::serve(GuestTime::Virtual, &|_, _, _| String::new()).expect("the guest starts");
        }
        [DRIVE] => drive::run(),
        _ => return compare(&words),
    }
    ExitCode::SUCCESS
}

fn from_environment<N: FromStr>(name: &str, default: N) -> N {
    env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// As the test harness does: options mean nothing here, and words select tests by parts of their names.
fn is_selected(scheduler: SchedulerKind, words: &[&str]) -> bool {
    let name = format!("schedulers_live::{}", scheduler.name());
    let mut words = words.iter().filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| name.contains(word))
}

/// Runs the events of every scheduler on both sides.
fn compare(words: &[&str]) -> ExitCode {
    // One draws random numbers, which nothing shows.
    let schedulers = SchedulerKind::ALL
        .into_iter()
        .filter(|scheduler| *scheduler != SchedulerKind::Twos && is_selected(*scheduler, words));
    let mut schedulers = schedulers.peekable();
    if schedulers.peek().is_none() {
        return ExitCode::SUCCESS;
    }
    let machines = match Machines::new(&cache(), GuestTime::Virtual) {
        Ok(machines) => machines,
        Err(ArmError::Missing(lacks)) => {
            eprintln!("SKIPPED schedulers_live: {lacks}");
            let is_required = env::var("HAIRPIN_VM").is_ok_and(|value| value == "required");
            return if is_required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
        Err(error) => panic!("{error}"),
    };
    let connections = from_environment("IPVS_LIVE_CONNECTIONS", 300);
    let seed = from_environment("IPVS_LIVE_SEED", 0);
    let waiting = Mutex::new(schedulers);
    let next = || waiting.lock().unwrap().next();
    let differences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(|| {
                while let Some(scheduler) = next() {
                    let found = compare_scheduler(&machines, scheduler.name(), connections, seed);
                    differences.lock().unwrap().extend(found);
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    for difference in &differences {
        eprintln!("{difference}");
    }
    if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first difference of every sequence.
fn compare_scheduler(machines: &Machines, name: &str, connections: usize, seed: u64) -> Vec<String> {
    let (mut steps, mut opened, mut served) = (0, 0, 0);
    let mut differences = Vec::new();
    for events in events::of_scheduler(name, connections, seed) {
        let input: String = events.iter().map(|event| format!("{event}\n")).collect();
        let execute = Execute { program: None, args: vec![DRIVE.to_owned()], input };
        let Executed { status, output, messages } = machines.execute(execute).unwrap();
        assert_eq!((status, messages.as_str()), (Some(0), ""), "{name}: the driver failed");
        let rows: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), events.len());
        let is_open = |row: &&Value| row["op"] == "open";
        opened += rows.iter().filter(is_open).count();
        served += rows.iter().filter(is_open).filter(|row| row["server"].is_string()).count();
        let (equal, difference) = schedulers::run(&rows);
        steps += equal;
        differences.extend(difference);
    }
    assert!(served > 0, "{name}: no server got a connection");
    println!("{name}: {steps} equal steps with {opened} connections, of which {served} got a server");
    differences
}

/// The cache of the command: `hairpin lab vm prepare` puts the image there.
fn cache() -> PathBuf {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    cache.expect("HOME is set").join("hairpin")
}
