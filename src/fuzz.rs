//! `hairpin fuzz`.

mod hunt;

use crate::cli::{Against, FuzzArgs};
use crate::exit::{Exit, Stop};
use crate::kernel;
use crate::progress::Progress;
use conformance::random::{Examined, FindingKind, examine};
use hunt::{Caught, Hunt, Recurrence, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::thread::available_parallelism;
use std::time::Instant;

/// Labs at a time, for each processor: most of a world's time is spent waiting.
const LABS_PER_PROCESSOR: usize = 6;

pub(crate) fn run(args: &FuzzArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    let examined = examined(args)?;
    let hunt = Hunt {
        seed: args.seed,
        examined: &examined,
        examine: &examine,
        shrink_tries: args.shrink,
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

/// By what worlds are run.
fn examined(args: &FuzzArgs) -> Result<Vec<Examined>, Stop> {
    kernel::refuse_without(args.against, &[("--backend", args.backend.is_some())])?;
    match args.against {
        Against::Sim => Ok(vec![Examined::Sim]),
        Against::Kernel => {
            let backends = kernel::backends(args.backend.as_deref());
            kernel::ready_for(&backends)?;
            Ok(backends.into_iter().map(Examined::Kernel).collect())
        }
    }
}

fn jobs(args: &FuzzArgs) -> usize {
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    let usual = match args.against {
        Against::Sim => processors,
        Against::Kernel => processors * LABS_PER_PROCESSOR,
    };
    args.jobs.map_or(usual, std::num::NonZero::get)
}

/// Of so many worlds one may go wrong seldom, because the machine was late. If more do, that is no accident.
const WORLDS_PER_ACCIDENT: u64 = 100;

/// Tells of worlds in the order of their numbers, in whatever order they end.
struct Telling<'a> {
    args: &'a FuzzArgs,
    /// The name of a world.
    name: &'a dyn Fn(u64) -> String,
    out: &'a mut dyn Write,
    progress: Progress,
    started: Instant,
    /// Worlds that ended before an earlier one did.
    waiting: BTreeMap<u64, Verdict>,
    next: u64,
    ended: u64,
    bad: u64,
    /// Those of them that went wrong seldom, because the machine was late.
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

    /// Takes a verdict; false if no more are wanted.
    fn take(&mut self, index: u64, verdict: Verdict) -> Result<bool, Stop> {
        self.ended += 1;
        self.progress.step(&self.rate());
        self.waiting.insert(index, verdict);
        while let Some(verdict) = self.waiting.remove(&self.next) {
            if let Verdict::Bad(caught) = verdict {
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

    /// Writes the scenario, and says what it shows and how to see it again.
    fn tell(&mut self, index: u64, caught: &Caught) -> Result<(), Stop> {
        let path = self.write(index, caught)?;
        let text = words(self.args.seed, index, &path, caught);
        let out = &mut self.out;
        Ok(self.progress.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()))?)
    }

    /// The file has at its top what was found.
    fn write(&self, index: u64, caught: &Caught) -> Result<PathBuf, Stop> {
        let mut text = format!("# {}\n", caught.finding.kind);
        for line in caught.finding.text.lines() {
            let _ = writeln!(text, "{}", format!("#   {line}").trim_end());
        }
        text.push_str(&caught.text);
        let path = self.args.out.join(format!("{}.yaml", (self.name)(index)));
        let written = fs::create_dir_all(&self.args.out).and_then(|()| fs::write(&path, text));
        written.map_err(|error| {
            Stop::bad_input(format!("error: {} cannot be written: {error}", path.display()))
        })?;
        Ok(path)
    }

    fn rate(&self) -> String {
        let minutes = self.started.elapsed().as_secs_f64() / 60.0;
        #[expect(clippy::cast_precision_loss, reason = "a number to be looked at")]
        let rate = self.ended as f64 / minutes.max(f64::MIN_POSITIVE);
        format!("{rate:.0} worlds per minute")
    }

    fn end(self, count: u64) -> Result<Exit, Stop> {
        let Self { bad, seldom, ended, .. } = self;
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.rate();
        let of = if ended == count { String::new() } else { format!(" of {count}") };
        let worlds = if count == 1 { "world" } else { "worlds" };
        let seldom_too = if seldom == 0 { String::new() } else { format!(", {seldom} seldom") };
        let steady = bad - seldom;
        writeln!(
            self.out,
            "{ended}{of} {worlds} in {seconds:.1} s, {rate}: {steady} went wrong{seldom_too}"
        )?;
        if seldom > accidents_max(ended) {
            let told =
                format!("more than one in {WORLDS_PER_ACCIDENT} went wrong seldom: that is no accident");
            writeln!(self.out, "{told}")?;
        }
        Ok(exit(ended, steady, seldom))
    }
}

/// What a world shows, and how to see it again.
fn words(seed: u64, index: u64, path: &Path, caught: &Caught) -> String {
    let Caught { finding, recurrence, examined, .. } = caught;
    let file = path.display();
    let against = match examined {
        Examined::Sim => String::new(),
        Examined::Kernel(backend) => format!(" --against kernel --backend {backend}"),
    };
    let mut text = format!("world {index}: {}", finding.kind);
    let _ = match recurrence {
        Recurrence::Again { worlds } => writeln!(text, ", in the smallest of {worlds} worlds"),
        Recurrence::SeldomUnexplained => {
            writeln!(
                text,
                ", but seldom: in most of three more runs it was as it should be, and that is a bug as well"
            )
        }
        Recurrence::SeldomAsMachineWasLate => {
            writeln!(text, ", but seldom: in most of three more runs it was as it should be")
        }
    };
    for line in finding.text.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = match is_shown_by_scenario(finding.kind) {
        true => writeln!(text, "  the world: {file}, run by\n    hairpin scenario {file}{against}"),
        false => writeln!(text, "  the world: {file}; `hairpin scenario` does not look for this"),
    };
    let _ = writeln!(text, "  as it was drawn:");
    let _ = writeln!(text, "    hairpin fuzz --seed {seed} --only {index}{against}\n");
    text
}

/// Whether `hairpin scenario` tells of it. It runs a scenario once, and does not follow packets from their beginning to their
/// end.
const fn is_shown_by_scenario(kind: FindingKind) -> bool {
    match kind {
        FindingKind::Indeterminate | FindingKind::PacketLife => false,
        FindingKind::Refused
        | FindingKind::Stopped
        | FindingKind::Panicked
        | FindingKind::Flow
        | FindingKind::Frame
        | FindingKind::Conntrack
        | FindingKind::Counters
        | FindingKind::Choices => true,
    }
}

const fn exit(worlds: u64, steady: u64, seldom: u64) -> Exit {
    if steady == 0 && seldom <= accidents_max(worlds) { Exit::AsExpected } else { Exit::NotAsExpected }
}

/// How many of so many worlds may go wrong seldom: one at least.
const fn accidents_max(worlds: u64) -> u64 {
    1 + worlds / WORLDS_PER_ACCIDENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use conformance::backend::Backend;
    use conformance::random::Finding;

    #[test]
    fn only_what_a_machine_was_late_for_may_pass() {
        for (recurrence, expected, told) in [
            (Recurrence::SeldomAsMachineWasLate, Exit::AsExpected, ": 0 went wrong, 1 seldom\n"),
            (Recurrence::SeldomUnexplained, Exit::NotAsExpected, ": 1 went wrong\n"),
            (Recurrence::Again { worlds: 1 }, Exit::NotAsExpected, ": 1 went wrong\n"),
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let folder = folder.path().display().to_string();
            let command = Cli::parse_from(["hairpin", "fuzz", "--runs", "1", "--out", &folder]).command;
            let Command::Fuzz(args) = command else { panic!("it is no `hairpin fuzz`") };
            let mut out = Vec::new();
            let mut telling = Telling::new(&args, &|index| format!("w-{index}"), 0..1, &mut out);
            let finding = Finding { kind: FindingKind::Frame, text: String::new() };
            let caught = Caught { examined: Examined::Sim, finding, text: String::new(), recurrence };
            let more = telling.take(0, Verdict::Bad(Box::new(caught))).expect("the file can be written");
            assert!(more);
            assert_eq!(telling.end(1).expect("it can be told"), expected, "{recurrence:?}");
            let out = String::from_utf8(out).expect("text");
            assert!(out.ends_with(told), "{out}");
        }
    }

    #[test]
    fn a_command_is_told_that_shows_the_finding() {
        let kernel = Examined::Kernel(Backend::Nft);
        let again = Recurrence::Again { worlds: 7 };
        for (examined, kind, recurrence, expected) in [
            (
                Examined::Sim,
                FindingKind::Stopped,
                again,
                "world 42: the run could not go on, in the smallest of 7 worlds
  this\n  and that
  the world: out/w.yaml, run by
    hairpin scenario out/w.yaml
  as it was drawn:
    hairpin fuzz --seed 3 --only 42\n\n",
            ),
            (
                Examined::Sim,
                FindingKind::Indeterminate,
                Recurrence::SeldomUnexplained,
                "world 42: two runs differ, but seldom: in most of three more runs it was as it should be, and that is a bug as well
  this\n  and that
  the world: out/w.yaml; `hairpin scenario` does not look for this
  as it was drawn:
    hairpin fuzz --seed 3 --only 42\n\n",
            ),
            (
                kernel,
                FindingKind::PacketLife,
                again,
                "world 42: a packet did not begin and end once, in the smallest of 7 worlds
  this\n  and that
  the world: out/w.yaml; `hairpin scenario` does not look for this
  as it was drawn:
    hairpin fuzz --seed 3 --only 42 --against kernel --backend nft\n\n",
            ),
            (
                kernel,
                FindingKind::Frame,
                Recurrence::SeldomAsMachineWasLate,
                "world 42: frames differ, but seldom: in most of three more runs it was as it should be
  this\n  and that
  the world: out/w.yaml, run by
    hairpin scenario out/w.yaml --against kernel --backend nft
  as it was drawn:
    hairpin fuzz --seed 3 --only 42 --against kernel --backend nft\n\n",
            ),
        ] {
            let finding = Finding { kind, text: "this\nand that".to_owned() };
            let caught = Caught { examined, finding, text: String::new(), recurrence };
            assert_eq!(words(3, 42, Path::new("out/w.yaml"), &caught), expected);
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
