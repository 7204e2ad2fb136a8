//! `hairpin fuzz`.

mod hunt;

use crate::cli::{Against, FuzzArgs};
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::{kernel, vm};
use conformance::random::{AnomalyKind, Examined, examine};
use conformance::scenario::ProxyMode;
use hunt::{Caught, Hunt, HuntResult, Recurrence};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::thread::available_parallelism;
use std::time::Instant;

/// Parallel labs per processor: a run spends most of its time waiting.
const LABS_PER_PROCESSOR: usize = 6;

pub(crate) fn run(args: &FuzzArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    let examined = examined(args)?;
    // Check the output folder before the first run, not after the first failure.
    if args.out.exists() && !args.out.is_dir() {
        let out = args.out.display();
        return Err(Stop::bad_input(format!("error: cannot write to {out}: it is not a folder")));
    }
    fs::create_dir_all(&args.out).map_err(|error| cannot_write(&args.out, &error))?;
    let machines = vm::machines(args.against, args.wall_clock)?;
    let examine = |text: &str, by: Examined| match (by, &machines) {
        (Examined::Kernel(backend), Some(machines)) => machines.examine(text, backend),
        (Examined::Sim | Examined::Kernel(_), _) => examine(text, by),
    };
    let hunt = Hunt {
        mode: mode(args),
        seed: args.seed,
        examined: &examined,
        examine: &examine,
        shrink_tries: args.shrink,
        is_exact: match args.against {
            Against::Sim => true,
            Against::Kernel => false,
            Against::Vm => !args.wall_clock,
        },
        machine: RwLock::new(()),
    };
    let indexes = match args.only {
        Some(only) => only..only.saturating_add(1),
        None => 0..args.runs,
    };
    let count = indexes.end - indexes.start;
    let name = |index| hunt.name(index);
    let mut telling = Telling::new(args, &name, indexes.clone(), out);
    hunt.over(indexes, jobs(args), |index, verdict| telling.take(index, verdict))?;
    telling.end(count)
}

/// The mode of kube-proxy.
fn mode(args: &FuzzArgs) -> ProxyMode {
    ProxyMode::parse(&args.mode).unwrap_or(ProxyMode::Iptables)
}

/// The arms on which clusters are run.
fn examined(args: &FuzzArgs) -> Result<Vec<Examined>, Stop> {
    let about_kernel = [
        ("--backend", args.backend.is_some(), kernel::WITH_KERNEL),
        ("--wall-clock", args.wall_clock, &[Against::Vm]),
    ];
    kernel::refuse_without(args.against, &about_kernel)?;
    match args.against {
        Against::Sim => Ok(vec![Examined::Sim]),
        Against::Kernel => {
            let backends = kernel::backends(args.backend.as_deref());
            kernel::ready_for(&backends, [mode(args)])?;
            Ok(backends.into_iter().map(Examined::Kernel).collect())
        }
        Against::Vm => {
            Ok(kernel::backends(args.backend.as_deref()).into_iter().map(Examined::Kernel).collect())
        }
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Stop {
    Stop::bad_input(format!("error: cannot write {}: {error}", path.display()))
}

fn jobs(args: &FuzzArgs) -> usize {
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    let usual = match args.against {
        Against::Sim | Against::Vm => processors,
        Against::Kernel => processors * LABS_PER_PROCESSOR,
    };
    args.jobs.map_or(usual, std::num::NonZero::get)
}

/// One cluster in this many may fail once because the machine was late. A higher rate is a fault.
const WORLDS_PER_ACCIDENT: u64 = 100;

/// Reports clusters in the order of their numbers, regardless of the order in which they finish.
struct Telling<'a> {
    args: &'a FuzzArgs,
    /// The name of a cluster.
    name: &'a dyn Fn(u64) -> String,
    out: &'a mut dyn Write,
    progress: Progress,
    started: Instant,
    /// Verdicts of clusters that finished before an earlier one.
    waiting: BTreeMap<u64, HuntResult>,
    next: u64,
    ended: u64,
    bad: u64,
    /// Failures that did not recur because the machine was late.
    seldom: u64,
}

impl<'a> Telling<'a> {
    fn new(
        args: &'a FuzzArgs,
        name: &'a dyn Fn(u64) -> String,
        indexes: Range<u64>,
        out: &'a mut dyn Write,
    ) -> Self {
        let count = usize::try_from(indexes.end - indexes.start).unwrap_or(usize::MAX);
        Self {
            args,
            name,
            out,
            progress: Progress::new(count, false),
            started: Instant::now(),
            waiting: BTreeMap::new(),
            next: indexes.start,
            ended: 0,
            bad: 0,
            seldom: 0,
        }
    }

    /// Takes a verdict; returns false if no more are wanted.
    fn take(&mut self, index: u64, verdict: HuntResult) -> Result<bool, Stop> {
        self.ended += 1;
        self.progress.step(&self.rate());
        self.waiting.insert(index, verdict);
        while let Some(verdict) = self.waiting.remove(&self.next) {
            if let HuntResult::Bad(caught) = verdict {
                self.bad += 1;
                self.seldom += u64::from(caught.recurrence == Recurrence::SeldomAsMachineWasLate);
                self.tell(self.next, &caught)?;
            }
            self.next += 1;
            if self.bad - self.seldom == self.args.max_failures.get() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the scenario, and reports the failure and how to reproduce it.
    fn tell(&mut self, index: u64, caught: &Caught) -> Result<(), Stop> {
        let path = self.write(index, caught)?;
        let text = words(self.args, index, &path, caught);
        let out = &mut self.out;
        Ok(self.progress.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))?)
    }

    /// Writes the scenario file, with the failure as a comment at its top.
    fn write(&self, index: u64, caught: &Caught) -> Result<PathBuf, Stop> {
        let mut text = format!("# {}\n", caught.finding.kind);
        for line in caught.finding.text.lines() {
            let _ = writeln!(text, "{}", format!("#   {line}").trim_end());
        }
        text.push_str(&caught.text);
        let path = self.args.out.join(format!("{}.yaml", (self.name)(index)));
        fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
        Ok(path)
    }

    fn rate(&self) -> String {
        let minutes = self.started.elapsed().as_secs_f64() / 60.0;
        #[expect(clippy::cast_precision_loss, reason = "for display only")]
        let rate = self.ended as f64 / minutes.max(f64::MIN_POSITIVE);
        format!("{rate:.0} clusters per minute")
    }

    fn end(self, count: u64) -> Result<Exit, Stop> {
        let Self { bad, seldom, ended, .. } = self;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.rate();
        let of = if ended == count { String::new() } else { format!(" of {count}") };
        let worlds = if count == 1 { "cluster" } else { "clusters" };
        let seldom_too = if seldom == 0 { String::new() } else { format!(", {seldom} intermittently") };
        let steady = bad - seldom;
        writeln!(self.out, "{ended}{of} {worlds} in {seconds:.1} s, {rate}: {steady} failed{seldom_too}")?;
        if seldom > accidents_max(ended) {
            let told = format!(
                "more than one in {WORLDS_PER_ACCIDENT} failed intermittently, which a late machine does not explain"
            );
            writeln!(self.out, "{told}")?;
        }
        Ok(exit(ended, steady, seldom))
    }
}

/// The failure of a cluster, and how to reproduce it.
fn words(args: &FuzzArgs, index: u64, path: &Path, caught: &Caught) -> String {
    let Caught { finding, recurrence, examined, .. } = caught;
    let file = path.display();
    let against = match examined {
        Examined::Sim => String::new(),
        Examined::Kernel(backend) => {
            let clock = if args.wall_clock { " --wall-clock" } else { "" };
            format!(" --against {} --backend {backend}{clock}", args.against.name())
        }
    };
    let mut text = format!("cluster {index}: {}", finding.kind);
    let _ = match recurrence {
        Recurrence::Again { worlds } => writeln!(text, ", smallest of {worlds} failing clusters"),
        Recurrence::SeldomUnexplained => {
            writeln!(text, ", intermittently: it passed in most of three more runs, which is a bug as well")
        }
        Recurrence::SeldomAsMachineWasLate => {
            writeln!(text, ", intermittently: it passed in most of three more runs")
        }
    };
    for line in finding.text.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = match is_shown_by_scenario(finding.kind) {
        true => writeln!(text, "  scenario: {file}, reproduced by\n    hairpin scenario {file}{against}"),
        false => writeln!(text, "  scenario: {file}; `hairpin scenario` does not check for this"),
    };
    let _ = writeln!(text, "  original cluster:");
    let mode = match mode(args) {
        ProxyMode::Iptables => String::new(),
        mode @ (ProxyMode::Ipvs | ProxyMode::Nftables | ProxyMode::Userspace) => format!(" --mode {mode}"),
    };
    let _ = writeln!(text, "    hairpin fuzz{mode} --seed {} --only {index}{against}\n", args.seed);
    text
}

/// True if `hairpin scenario` detects this kind of failure. It runs a scenario once, and does not check the life cycle
/// of packets.
const fn is_shown_by_scenario(kind: AnomalyKind) -> bool {
    match kind {
        AnomalyKind::Indeterminate | AnomalyKind::PacketLife => false,
        AnomalyKind::Refused
        | AnomalyKind::Stopped
        | AnomalyKind::Panicked
        | AnomalyKind::Flow
        | AnomalyKind::Frame
        | AnomalyKind::Conntrack
        | AnomalyKind::Counters
        | AnomalyKind::Ipvs
        | AnomalyKind::Choices => true,
    }
}

const fn exit(worlds: u64, steady: u64, seldom: u64) -> Exit {
    if steady == 0 && seldom <= accidents_max(worlds) { Exit::AsExpected } else { Exit::NotAsExpected }
}

/// How many of the clusters may fail intermittently: at least one.
const fn accidents_max(worlds: u64) -> u64 {
    1 + worlds / WORLDS_PER_ACCIDENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use conformance::backend::Backend;
    use conformance::random::Anomaly;

    #[test]
    fn only_what_a_machine_was_late_for_may_pass() {
        for (recurrence, expected, told) in [
            (Recurrence::SeldomAsMachineWasLate, Exit::AsExpected, ": 0 failed, 1 intermittently\n"),
            (Recurrence::SeldomUnexplained, Exit::NotAsExpected, ": 1 failed\n"),
            (Recurrence::Again { worlds: 1 }, Exit::NotAsExpected, ": 1 failed\n"),
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let folder = folder.path().display().to_string();
            let command = Cli::parse_from(["hairpin", "fuzz", "--runs", "1", "--out", &folder]).command;
            let Command::Fuzz(args) = command else { panic!("not `hairpin fuzz`") };
            let mut out = Vec::new();
            let mut telling = Telling::new(&args, &|index| format!("w-{index}"), 0..1, &mut out);
            let finding = Anomaly { kind: AnomalyKind::Frame, text: String::new() };
            let caught = Caught { examined: Examined::Sim, finding, text: String::new(), recurrence };
            let more = telling.take(0, HuntResult::Bad(Box::new(caught))).expect("the file can be written");
            assert!(more);
            assert_eq!(telling.end(1).expect("the summary can be written"), expected, "{recurrence:?}");
            let out = String::from_utf8(out).expect("text");
            assert!(out.ends_with(told), "{out}");
        }
    }

    #[test]
    fn a_command_is_told_that_shows_the_finding() {
        let kernel = Examined::Kernel(Backend::Nft);
        let again = Recurrence::Again { worlds: 7 };
        for (against, examined, kind, recurrence, expected) in [
            (
                "sim",
                Examined::Sim,
                AnomalyKind::Stopped,
                again,
                "cluster 42: the run stopped with an error, smallest of 7 failing clusters
  this\n  and that
  scenario: out/w.yaml, reproduced by
    hairpin scenario out/w.yaml
  original cluster:
    hairpin fuzz --seed 3 --only 42\n\n",
            ),
            (
                "sim",
                Examined::Sim,
                AnomalyKind::Indeterminate,
                Recurrence::SeldomUnexplained,
                "cluster 42: two runs differ, intermittently: it passed in most of three more runs, which is a bug as well
  this\n  and that
  scenario: out/w.yaml; `hairpin scenario` does not check for this
  original cluster:
    hairpin fuzz --seed 3 --only 42\n\n",
            ),
            (
                "vm",
                kernel,
                AnomalyKind::PacketLife,
                again,
                "cluster 42: a packet was not created and terminated exactly once, smallest of 7 failing clusters
  this\n  and that
  scenario: out/w.yaml; `hairpin scenario` does not check for this
  original cluster:
    hairpin fuzz --seed 3 --only 42 --against vm --backend nft\n\n",
            ),
            (
                "kernel",
                kernel,
                AnomalyKind::Frame,
                Recurrence::SeldomAsMachineWasLate,
                "cluster 42: frames differ, intermittently: it passed in most of three more runs
  this\n  and that
  scenario: out/w.yaml, reproduced by
    hairpin scenario out/w.yaml --against kernel --backend nft
  original cluster:
    hairpin fuzz --seed 3 --only 42 --against kernel --backend nft\n\n",
            ),
        ] {
            let finding = Anomaly { kind, text: "this\nand that".to_owned() };
            let caught = Caught { examined, finding, text: String::new(), recurrence };
            let command = ["hairpin", "fuzz", "--seed", "3", "--against", against];
            let Command::Fuzz(args) = Cli::parse_from(command).command else { panic!("not `hairpin fuzz`") };
            assert_eq!(words(&args, 42, Path::new("out/w.yaml"), &caught), expected);
        }
    }

    #[test]
    fn a_few_worlds_may_go_wrong_seldom_and_none_for_good() {
        for (worlds, steady, seldom, expected) in [
            (1, 0, 0, Exit::AsExpected),
            (1, 0, 1, Exit::AsExpected),
            (1, 1, 0, Exit::NotAsExpected),
            (99, 0, 2, Exit::NotAsExpected),
            (100, 0, 2, Exit::AsExpected),
            (2000, 0, 21, Exit::AsExpected),
            (2000, 0, 22, Exit::NotAsExpected),
            (2000, 1, 0, Exit::NotAsExpected),
        ] {
            assert_eq!(exit(worlds, steady, seldom), expected, "{worlds} {steady} {seldom}");
        }
    }
}
