//! `hairpin conformance`.

use crate::cli::{Against, ConformanceArgs};
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::{input, kernel, scenario, vm};
use conformance::arm::ArmError;
use conformance::backend::Backend;
use conformance::diagnostic::{Source, render as render_diagnostics};
use conformance::scenario::{IpFamilies, ModeChoice, ProxyMode};
use conformance::suite::SCENARIOS;
use conformance::suite::filter::{self, Filter};
use conformance::suite::known::{CaseStatus, KNOWN_DIFFERENCES};
use conformance::suite::run::{Case, Finished, Selection, SuiteMember, run_all};
use reports::palette::Palette;
use reports::suite::SuiteText;
use reports::{json, junit};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::available_parallelism;

pub(crate) fn run(args: &ConformanceArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    // Report every mistake before anything runs.
    let about_kernel = [
        ("--backend", args.backend.is_some(), kernel::WITH_KERNEL),
        ("--retries", args.retries.is_some(), &[Against::Kernel]),
        ("--wall-clock", args.how.wall_clock, &[Against::Vm]),
    ];
    kernel::refuse_without(args.how.against, &about_kernel)?;
    let filter = args.filter.as_deref().map(read_filter).transpose()?;
    let members = members(args)?;
    let selection = Selection {
        mode: args.how.mode(),
        family: IpFamilies::parse(&args.how.family).unwrap_or(IpFamilies::Ipv4),
        backends: backends(args),
        filter,
        shard: None,
    };
    let all = selection.cases(&members, args.how.seed);
    if all.is_empty() {
        return Err(nothing_to_run(args, &members));
    }
    // A shard may be empty: a suite that shrinks must not fail on the last machine.
    let mut cases = Selection { shard: args.shard, ..selection.clone() }.cases(&members, args.how.seed);
    if args.how.against == Against::Kernel {
        match selection.mode {
            ModeChoice::One(mode) => kernel::ready_for(&selection.backends, [mode])?,
            ModeChoice::Named | ModeChoice::All => {
                kernel::ready_for(&selection.backends, [])?;
                leave_out(&mut cases);
            }
        }
    }
    let machines = vm::machines(args.how.against, args.how.wall_clock)?;
    cases.iter_mut().for_each(|case| case.machines = machines.as_ref());
    let mut files = Files::open(args)?;
    let finished = run_cases(args, &cases)?;
    files.write(&finished, out)?;
    if !files.is_stdout_taken() {
        match (args.shard, finished.is_empty()) {
            (Some(shard), true) => writeln!(out, "shard {shard} is empty: {} runs in all", all.len())?,
            (_, _) => write!(out, "{}", SuiteText::new(&finished, Palette::COLOUR))?,
        }
    }
    Ok(exit(&finished))
}

/// Leaves out runs in modes that this machine's kernel lacks, unless a mode was asked for by name.
fn leave_out(cases: &mut Vec<Case<'_>>) {
    for mode in ProxyMode::available() {
        let lacks = kernel::lacks_for(mode);
        let count = cases.iter().filter(|case| case.mode == mode).count();
        if !lacks.is_empty() && count > 0 {
            input::warn(&format!(
                "warning: {count} runs in mode {mode} are left out\n  {}\nhelp: the kernel of `hairpin lab vm prepare` can run \
                 them: --against vm\n",
                lacks.join("\n  ")
            ));
            cases.retain(|case| case.mode != mode);
        }
    }
}

/// The built-in scenarios, or those given on the command line.
fn members(args: &ConformanceArgs) -> Result<Vec<SuiteMember>, Stop> {
    let mut members = Vec::new();
    if args.scenarios.is_empty() {
        for built_in in &SCENARIOS {
            let source = Source { name: built_in.file(), text: built_in.text.to_owned() };
            members.push(member(built_in.name, source)?);
        }
    }
    let mut seen = BTreeSet::new();
    for argument in &args.scenarios {
        for (argument, source) in input::scenarios(argument)? {
            // A folder and a file in it may both be given: each file runs once.
            let file = fs::canonicalize(&source.name).unwrap_or_else(|_| PathBuf::from(&source.name));
            if seen.insert(file) {
                members.push(member(&argument, source)?);
            }
        }
    }
    tell_apart(&mut members);
    Ok(members)
}

fn member(argument: &str, source: Source) -> Result<SuiteMember, Stop> {
    let prepared = scenario::prepared(source)?;
    Ok(SuiteMember { name: prepared.scenario.name.clone(), argument: argument.to_owned(), prepared })
}

/// Appends the command-line name to scenarios with equal names: JUnit readers merge cases of the same name.
fn tell_apart(members: &mut [SuiteMember]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for member in &*members {
        *counts.entry(member.name.clone()).or_default() += 1;
    }
    for member in members {
        if counts[&member.name] > 1 {
            member.name = format!("{} ({})", member.name, member.argument);
        }
    }
}

fn read_filter(text: &str) -> Result<Filter, Stop> {
    Filter::parse(text).map_err(|fault| {
        let style = input::diagnostic_style();
        Stop::bad_input(render_diagnostics(&[*fault], &[filter::source(text)], style))
    })
}

fn backends(args: &ConformanceArgs) -> Vec<Backend> {
    match args.how.against {
        Against::Sim => Vec::new(),
        Against::Kernel | Against::Vm => kernel::backends(args.backend.as_deref()),
    }
}

/// Lists the available choices.
fn nothing_to_run(args: &ConformanceArgs, members: &[SuiteMember]) -> Stop {
    let everything = Selection {
        mode: args.how.mode(),
        family: IpFamilies::Ipv4,
        backends: Vec::new(),
        filter: None,
        shard: None,
    };
    let cases = everything.cases(members, args.how.seed);
    let mut names: Vec<&str> = Vec::new();
    for name in cases.iter().map(|case| case.member.prepared.scenario.name.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match &args.filter {
        Some(filter) if !names.is_empty() => Stop::bad_input(format!(
            "error: --filter '{filter}' matches no scenario\nhelp: scenarios are {}\n\
             help: run `hairpin list` to see the requirements that they cover",
            names.join(", ")
        )),
        Some(_) | None => Stop::bad_input(format!(
            "error: no scenario supports proxy mode {}\nhelp: --mode all runs each scenario in every mode that it supports",
            args.how.mode()
        )),
    }
}

fn run_cases<'a>(args: &ConformanceArgs, cases: &[Case<'a>]) -> Result<Vec<Finished<'a>>, Stop> {
    let progress = Mutex::new(Progress::new(cases.len(), true));
    let is_done = |case: &Case<'a>| {
        // Nothing panics while a bar is drawn; if it did, the bar would matter least.
        if let Ok(mut progress) = progress.lock() {
            progress.step(&case.member.name);
        }
    };
    // Virtual machines are never idle.
    let usual = if args.how.against == Against::Vm { available_parallelism().ok() } else { None };
    run_all(cases, args.jobs.or(usual), args.retries.unwrap_or(0), &KNOWN_DIFFERENCES, &is_done).map_err(
        |error| {
            let help = "a smaller --jobs needs fewer threads";
            let message = format!("error: cannot run the suite: {error}\nhelp: {help}");
            Stop::Told { exit: Exit::MachineLacks, message }
        },
    )
}

/// A failure takes precedence over a run that could not be completed.
fn exit(finished: &[Finished<'_>]) -> Exit {
    let is_otherwise =
        |run: &Finished<'_>| matches!(run.verdict, CaseStatus::Failed | CaseStatus::UnexpectedPass(_));
    if finished.iter().any(is_otherwise) {
        return Exit::NotAsExpected;
    }
    let errors: Vec<&ArmError> = finished.iter().filter_map(|run| run.outcome.as_ref().err()).collect();
    match errors[..] {
        [] => Exit::AsExpected,
        _ if errors.iter().any(|error| matches!(error, ArmError::Internal(_))) => Exit::Internal,
        _ if errors.iter().all(|error| matches!(error, ArmError::Refused(_))) => Exit::BadInput,
        _ => Exit::MachineLacks,
    }
}

/// Output documents, opened before anything runs.
struct Files {
    junit: Option<Target>,
    json: Option<Target>,
}

/// Destination of a document.
enum Target {
    Stdout,
    File { name: String, file: File },
}

impl Files {
    fn open(args: &ConformanceArgs) -> Result<Self, Stop> {
        if args.junit.as_deref() == Some("-") && args.json.as_deref() == Some("-") {
            return Err(Stop::bad_input("error: --junit and --json cannot both go to standard output"));
        }
        if args.junit.is_some() && args.junit == args.json {
            let message = "error: --junit and --json cannot both go to the same file\nhelp: name two files";
            return Err(Stop::bad_input(message));
        }
        let open = |name: &Option<String>| name.as_deref().map(Target::open).transpose();
        Ok(Self { junit: open(&args.junit)?, json: open(&args.json)? })
    }

    /// True if a document goes to standard output, which then carries nothing else.
    fn is_stdout_taken(&self) -> bool {
        [&self.junit, &self.json].into_iter().flatten().any(|target| matches!(target, Target::Stdout))
    }

    fn write(&mut self, finished: &[Finished<'_>], out: &mut dyn Write) -> Result<(), Stop> {
        if let Some(target) = &mut self.junit {
            target.write(&junit::render(finished), out)?;
        }
        if let Some(target) = &mut self.json {
            target.write(&json::render_suite(finished), out)?;
        }
        Ok(())
    }
}

impl Target {
    fn open(name: &str) -> Result<Self, Stop> {
        if name == "-" {
            return Ok(Self::Stdout);
        }
        let file = File::create(name).map_err(|error| cannot_write(name, &error))?;
        Ok(Self::File { name: name.to_owned(), file })
    }

    fn write(&mut self, text: &str, out: &mut dyn Write) -> Result<(), Stop> {
        match self {
            Self::Stdout => Ok(out.write_all(text.as_bytes())?),
            Self::File { name, file } => {
                file.write_all(text.as_bytes()).map_err(|error| cannot_write(name, &error))
            }
        }
    }
}

fn cannot_write(name: &str, error: &std::io::Error) -> Stop {
    Stop::bad_input(format!("error: cannot write {name}: {error}"))
}
