//! `hairpin scenario`.

use crate::cli::{Against, Format, ScenarioArgs, TraceShown};
use crate::exit::{Exit, Stop};
use crate::progress::Progress;
use crate::{input, kernel, library, vm};
use conformance::arm::ArmError;
use conformance::arm::vm::Machines;
use conformance::arm::vm::message::{Ran, TraceDetail};
use conformance::backend::Backend;
use conformance::diagnostic::{Source, render as render_diagnostics};
use conformance::manifest;
use conformance::prepare::{Prepared, prepare};
use conformance::result::{Run, RunResult};
use conformance::runner::{RunOptions, run_against_kernel, run_all_sim};
use conformance::scenario::{IpFamilies, ProxyMode};
use reports::json;
use reports::palette::Palette;
use reports::text::RunText;
use std::io::Write;

pub(crate) fn run(args: &ScenarioArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    if args.trace.is_some() && args.format == Format::Json {
        return Err(Stop::bad_input("error: --trace requires text output\nhelp: omit --format json"));
    }
    // Report every mistake before anything runs.
    let about_kernel = [
        ("--backend", args.backend.is_some(), kernel::WITH_KERNEL),
        ("--wall-clock", args.how.wall_clock, &[Against::Vm]),
    ];
    kernel::refuse_without(args.how.against, &about_kernel)?;
    let mut scenarios = Vec::new();
    for argument in &args.scenarios {
        let prepared = prepared(library::find(argument)?)?;
        let modes = modes(args, argument, &prepared)?;
        scenarios.extend(modes.into_iter().map(|mode| (argument, mode, prepared.clone())));
    }
    let backends = match args.how.against {
        Against::Sim => vec![None],
        Against::Kernel => {
            let modes = scenarios.iter().map(|(_, mode, _)| *mode);
            kernel::ready(args.backend.as_deref(), modes)?.into_iter().map(Some).collect()
        }
        Against::Vm => match &args.backend {
            Some(backend) => kernel::backends(Some(backend)).into_iter().map(Some).collect(),
            None => vec![Some(Backend::default())],
        },
    };
    let machines = vm::machines(args.how.against, args.how.wall_clock)?;
    let jobs: Vec<Job> = scenarios
        .into_iter()
        .flat_map(|(argument, mode, prepared)| {
            backends.iter().map(move |backend| Job {
                argument: argument.clone(),
                mode,
                backend: *backend,
                prepared: prepared.clone(),
            })
        })
        .collect();
    let results = run_all(args, &jobs, machines.as_ref(), out)?;
    if args.format == Format::Json {
        let runs = jobs.iter().zip(&results).map(|(job, result)| (result, job.argument.as_str()));
        out.write_all(json::render(runs).as_bytes())?;
    } else if results.len() > 1 {
        let passed = results.iter().filter(|result| result.passed()).count();
        writeln!(out, "\n{passed} of {} runs passed", results.len())?;
    }
    let is_as_expected = results.iter().all(RunResult::passed);
    Ok(if is_as_expected { Exit::AsExpected } else { Exit::NotAsExpected })
}

/// One scenario in one mode, on the simulator or with one back end on the kernel.
struct Job {
    argument: String,
    mode: ProxyMode,
    backend: Option<Backend>,
    prepared: Prepared,
}

/// Prepares a scenario, and reports errors in it.
pub(crate) fn prepared(source: Source) -> Result<Prepared, Stop> {
    let manifests = manifest::load(vec![source]);
    let style = input::diagnostic_style();
    match prepare(manifests) {
        Ok(prepared) => {
            input::warn(&render_diagnostics(&prepared.warnings, &prepared.sources, style));
            Ok(prepared)
        }
        Err(refused) => {
            Err(Stop::bad_input(render_diagnostics(&refused.diagnostics, &refused.sources, style)))
        }
    }
}

fn modes(args: &ScenarioArgs, argument: &str, prepared: &Prepared) -> Result<Vec<ProxyMode>, Stop> {
    let modes =
        prepared.modes_for(args.how.mode()).map_err(|error| Stop::bad_input(format!("error: {error}")))?;
    if modes.is_empty() {
        let names: Vec<_> = prepared.modes.iter().map(|mode| mode.name()).collect();
        return Err(Stop::bad_input(format!(
            "error: {argument} does not support proxy mode {}\nhelp: it runs in {}",
            args.how.mode(),
            names.join(", ")
        )));
    }
    Ok(modes)
}

/// Number of simulated runs active or in memory at a time.
const RUNS_AT_A_TIME: usize = 16;

/// Runs all jobs; prints text as soon as it is available.
fn run_all(
    args: &ScenarioArgs,
    jobs: &[Job],
    machines: Option<&Machines>,
    out: &mut dyn Write,
) -> Result<Vec<RunResult>, Stop> {
    let mut progress = Progress::new(jobs.len(), args.format == Format::Json);
    let runs_at_a_time = match args.how.against {
        Against::Sim => RUNS_AT_A_TIME,
        Against::Kernel | Against::Vm => 1,
    };
    let mut results = Vec::new();
    for jobs in jobs.chunks(runs_at_a_time) {
        let cases: Vec<_> = jobs.iter().map(|job| (&job.prepared, options(args, job.mode))).collect();
        let runs = match args.how.against {
            Against::Sim => {
                run_all_sim(&cases).into_iter().map(|run| run.map(|run| traced(args, run))).collect()
            }
            Against::Kernel | Against::Vm => {
                let on_kernel = |(job, (prepared, options)): (&Job, &(&Prepared, RunOptions))| {
                    let backend = job.backend.unwrap_or_default();
                    match machines {
                        None => run_against_kernel(prepared, options, backend).map(|run| traced(args, run)),
                        Some(machines) => machines.run(prepared, options, backend, args.trace.map(detail)),
                    }
                };
                jobs.iter().zip(&cases).map(on_kernel).collect::<Vec<_>>()
            }
        };
        for (job, run) in jobs.iter().zip(runs) {
            let Ran { result, trace } = run.map_err(|error| stopped(&job.argument, error))?;
            if args.format == Format::Text {
                if !results.is_empty() {
                    writeln!(out, "\n")?;
                }
                print(job, &result, trace.as_deref(), out)?;
            }
            progress.step(&job.argument);
            results.push(result);
        }
    }
    Ok(results)
}

fn options(args: &ScenarioArgs, mode: ProxyMode) -> RunOptions {
    let family = IpFamilies::parse(&args.how.family).unwrap_or(IpFamilies::Ipv4);
    RunOptions { family, seed: args.how.seed, is_recorded: args.trace.is_some(), ..RunOptions::new(mode) }
}

fn print(job: &Job, result: &RunResult, trace: Option<&str>, out: &mut dyn Write) -> Result<(), Stop> {
    if let Some(trace) = trace {
        writeln!(out, "{trace}")?;
    }
    write!(out, "{}", RunText::new(result, &job.argument, Palette::COLOUR))?;
    Ok(out.flush()?)
}

/// A run with the packet trace that was requested.
fn traced(args: &ScenarioArgs, Run { result, recording }: Run) -> Ran {
    let shown = args.trace.zip(recording);
    let trace = shown.map(|(shown, recording)| vm::trace(&result, &recording, detail(shown)));
    Ran { result, trace }
}

const fn detail(shown: TraceShown) -> TraceDetail {
    match shown {
        TraceShown::Distinct => TraceDetail::Distinct,
        TraceShown::All => TraceDetail::All,
    }
}

pub(crate) fn stopped(argument: &str, error: ArmError) -> Stop {
    let message = format!("error: cannot run {argument}: {error}");
    match error {
        ArmError::Refused(_) => Stop::bad_input(message),
        ArmError::Missing(_) | ArmError::Failed(_) => Stop::Told { exit: Exit::MachineLacks, message },
        ArmError::Internal(_) => Stop::internal(message),
    }
}
