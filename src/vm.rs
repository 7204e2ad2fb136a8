//! `hairpin lab vm`, and the virtual machines of `--against vm`.

use crate::cli::{Against, VmCommand, VmExec, VmGuest, VmPrepare};
use crate::exit::{Exit, Stop};
use crate::input;
use crate::progress::Progress;
use conformance::arm::ArmError;
use conformance::arm::vm::image::{DEFAULT_KERNEL, Image, Stage, folder};
use conformance::arm::vm::message::{Execute, TraceDetail};
use conformance::arm::vm::{GuestTime, Machines, guest};
use conformance::result::{Recording, RunResult};
use reports::names::Names;
use reports::palette::Palette;
use reports::walk::text::Repeats;
use reports::walk::text::steps::StepsText;
use std::env;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

pub(crate) fn run(command: &VmCommand, out: &mut dyn Write) -> Result<Exit, Stop> {
    match command {
        VmCommand::Prepare(args) => prepare(args, &cache()?, out),
        VmCommand::Info => match Image::find(&cache()?).map_err(stopped)? {
            Some(image) => describe(&image, true, out),
            None => Err(no_image()),
        },
        VmCommand::Remove => {
            let cache = cache()?;
            match Image::remove(&cache).map_err(stopped)? {
                true => writeln!(out, "removed {}", folder(&cache).display())?,
                false => writeln!(out, "nothing to remove")?,
            }
            Ok(Exit::AsExpected)
        }
        VmCommand::Exec(args) => execute(args, out),
        VmCommand::Guest(args) => serve(args),
    }
}

/// The virtual machines of a command; `None` for other arms.
///
/// # Errors
/// A missing prerequisite, with exit code 3.
pub(crate) fn machines(against: Against, is_wall_clock: bool) -> Result<Option<Machines>, Stop> {
    match against {
        Against::Sim | Against::Kernel => Ok(None),
        Against::Vm => new_machines(time(is_wall_clock)).map(Some),
    }
}

fn new_machines(time: GuestTime) -> Result<Machines, Stop> {
    Machines::new(&cache()?, time).map_err(|error| match error {
        ArmError::Missing(lacks) => Stop::Told {
            exit: Exit::MachineLacks,
            message: format!("error: this machine cannot run virtual machines\n  {lacks}"),
        },
        ArmError::Refused(_) | ArmError::Failed(_) | ArmError::Internal(_) => stopped(error),
    })
}

const fn time(is_wall_clock: bool) -> GuestTime {
    if is_wall_clock { GuestTime::WallClock } else { GuestTime::Virtual }
}

/// `hairpin lab vm exec`.
fn execute(args: &VmExec, out: &mut dyn Write) -> Result<Exit, Stop> {
    let machines = new_machines(time(args.wall_clock))?;
    let mut input = String::new();
    if !io::stdin().is_terminal() {
        io::stdin()
            .read_to_string(&mut input)
            .map_err(|error| Stop::bad_input(format!("error: <stdin>: {error}")))?;
    }
    let (program, arguments) = args
        .command
        .split_first()
        .map_or((None, &[][..]), |(program, arguments)| (Some(program.clone()), arguments));
    let executed = machines.execute(Execute { program, args: arguments.to_vec(), input }).map_err(stopped)?;
    out.write_all(executed.output.as_bytes())?;
    input::warn(&executed.messages);
    Ok(if executed.status == Some(0) { Exit::AsExpected } else { Exit::NotAsExpected })
}

/// `hairpin lab vm guest`: the whole machine ends with it.
fn serve(args: &VmGuest) -> Result<Exit, Stop> {
    guest::serve(time(args.wall_clock), &trace).map_err(stopped)?;
    Ok(Exit::AsExpected)
}

/// The packet trace of a run, with colours: whoever prints it removes them if the output is not a terminal.
pub(crate) fn trace(result: &RunResult, recording: &Recording, detail: TraceDetail) -> String {
    let repeats = match detail {
        TraceDetail::Distinct => Repeats::Folded,
        TraceDetail::All => Repeats::Full,
    };
    StepsText::new(&result.steps, recording, Names(&recording.netns), repeats, Palette::COLOUR).to_string()
}

/// The folder of hairpin's files that can be made again (XDG Base Directory Specification).
///
/// # Errors
/// If the environment names no folder for them, with exit code 3.
pub(crate) fn cache() -> Result<PathBuf, Stop> {
    // Relative paths are to be ignored.
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| {
        let message = "error: no cache folder\nhelp: set XDG_CACHE_HOME or HOME to an absolute path";
        Stop::Told { exit: Exit::MachineLacks, message: message.to_owned() }
    })?;
    Ok(cache.join("hairpin"))
}

fn prepare(args: &VmPrepare, cache: &Path, out: &mut dyn Write) -> Result<Exit, Stop> {
    let kernel = args.kernel.as_deref().unwrap_or(DEFAULT_KERNEL);
    let is_current = |image: &Image| args.kernel.is_none() || image.description.requested == kernel;
    let image = match Image::find(cache).map_err(stopped)?.filter(is_current) {
        Some(image) => {
            writeln!(out, "the image is ready")?;
            image
        }
        None => {
            let mut progress = Progress::new(Stage::ALL.len(), true);
            Image::prepare(cache, kernel, &mut |stage| progress.step(stage.name())).map_err(stopped)?
        }
    };
    describe(&image, false, out)
}

/// Prints an image; with its packages if `is_complete`.
fn describe(image: &Image, is_complete: bool, out: &mut dyn Write) -> Result<Exit, Stop> {
    let size = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    let megabytes = (size(image.kernel()) + size(image.root())).div_ceil(1_000_000);
    let description = &image.description;
    writeln!(out, "kernel   {}, from {}", description.release, description.requested)?;
    writeln!(out, "folder   {}, {megabytes} MB", image.folder.display())?;
    if is_complete {
        let mut label = "packages";
        for (name, version) in &description.packages {
            writeln!(out, "{label:8} {name} {version}")?;
            label = "";
        }
    }
    Ok(Exit::AsExpected)
}

fn no_image() -> Stop {
    let message = "error: there is no image\nhelp: `hairpin lab vm prepare` makes it";
    Stop::Told { exit: Exit::MachineLacks, message: message.to_owned() }
}

fn stopped(error: ArmError) -> Stop {
    let message = format!("error: {error}");
    match error {
        ArmError::Refused(_) => Stop::bad_input(message),
        ArmError::Missing(_) | ArmError::Failed(_) => Stop::Told { exit: Exit::MachineLacks, message },
        ArmError::Internal(_) => Stop::internal(message),
    }
}
