//! The guest's side: hairpin as the first process of the virtual machine. It runs what it is asked for, one request at a
//! time, until this machine closes the port.
//!
//! Simulator and kernel are compared in here, because guest time must not pass while somebody outside computes.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::utsname::uname;
use nix::time::{ClockId, clock_gettime};

use super::GuestTime;
use super::agent::own_command;
use super::message::{Execute, Executed, Ran, Request, Response, RunRequest, TraceDetail, decode, encode};
use crate::arm::ArmError;
use crate::arm::kernel::tool::{ToolCommand, find, search_path};
use crate::caught::caught;
use crate::manifest;
use crate::prepare::prepare;
use crate::random::{Examined, examine};
use crate::result::{Recording, Run, RunResult};
use crate::runner::{RunOptions, run_against_kernel};

/// Formats the packet trace of a run.
pub type TraceText<'a> = &'a dyn Fn(&RunResult, &Recording, TraceDetail) -> String;

/// File systems of the guest.
const MOUNTS: [(&str, &str); 5] =
    [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp")];

/// Modules that nothing requests by name. A kernel may have them built in.
const MODULES: [&str; 7] =
    ["virtio_pci", "virtio_console", "veth", "br_netfilter", "nf_conntrack", "nf_conntrack_netlink", "ip_vs"];

/// Maximum time until the port exists.
const PORT_LIMIT: Duration = Duration::from_secs(30);

/// In virtual time, every run begins at a multiple of this time since boot. It is a power of two of ticks at the usual
/// rates (2^15 at 250 per second), so the timers of a run expire at the same ticks of the timer wheel (kernel/time/timer.c)
/// whatever ran before. Sleeping costs nothing.
const PERIOD: Duration = Duration::from_millis(131_072);

/// Serves requests; ends the virtual machine afterwards.
///
/// # Errors
/// If the guest cannot start: the process ends, and with it the virtual machine.
pub fn serve(time: GuestTime, trace: TraceText<'_>) -> Result<(), ArmError> {
    let port = start()?;
    let fault = |error: std::io::Error| ArmError::Failed(format!("the message port: {error}"));
    let requests = BufReader::new(port.try_clone().map_err(fault)?).lines();
    let answer = |response: &Response| (&port).write_all(encode(response)?.as_bytes()).map_err(fault);
    let release =
        uname().map_or_else(|_| String::new(), |names| names.release().to_string_lossy().into_owned());
    answer(&Response::Ready { release })?;
    for line in requests {
        let request = decode(&line.map_err(fault)?)?;
        if time == GuestTime::Virtual {
            wait_for_period();
        }
        answer(&carry_out(request, trace))?;
    }
    reboot(RebootMode::RB_POWER_OFF)
        .map(|never| match never {})
        .map_err(|errno| ArmError::Failed(format!("cannot power off: {errno}")))
}

/// Mounts file systems and loads modules; returns the open port.
fn start() -> Result<File, ArmError> {
    for (kind, path) in MOUNTS {
        let mounted = fs::create_dir_all(path)
            .and_then(|()| Ok(mount(Some(kind), path, Some(kind), MsFlags::empty(), None::<&str>)?));
        mounted.map_err(|error| ArmError::Failed(format!("cannot mount {path}: {error}")))?;
    }
    for module in MODULES {
        // Fails for what is built in. What is missing is reported by the first run.
        let _ = ToolCommand { program: "modprobe", args: &[module], input: b"" }.run();
    }
    let deadline = Instant::now() + PORT_LIMIT;
    loop {
        if let Some(port) = port().and_then(|path| OpenOptions::new().read(true).write(true).open(path).ok())
        {
            return Ok(port);
        }
        if Instant::now() > deadline {
            return Err(ArmError::Failed("the message port is missing".to_owned()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The only port of virtio-serial.
fn port() -> Option<PathBuf> {
    let devices = fs::read_dir(Path::new("/dev")).ok()?.filter_map(Result::ok);
    devices.map(|device| device.path()).find(|path| path.to_string_lossy().starts_with("/dev/vport"))
}

fn wait_for_period() {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
    let now = Duration::from(now);
    let since = Duration::from_nanos((now.as_nanos() % PERIOD.as_nanos()).try_into().unwrap_or(0));
    thread::sleep(PERIOD - since);
}

fn carry_out(request: Request, trace: TraceText<'_>) -> Response {
    match request {
        Request::Run(request) => {
            let panicked = |message| Err(ArmError::Internal(format!("an assertion failed: {message}")));
            Response::Ran(caught(|| run(request, trace)).unwrap_or_else(panicked))
        }
        Request::Examine { text, backend } => Response::Examined(examine(&text, Examined::Kernel(backend))),
        Request::Execute(execute) => Response::Executed(run_program(&execute)),
    }
}

/// Runs a program without time limit: in virtual time, it may sleep for hours.
fn run_program(execute: &Execute) -> Result<Executed, ArmError> {
    let Execute { program, args, input } = execute;
    let (path, first) = match program {
        Some(name) => {
            let missing = || ArmError::Missing(format!("the virtual machine has no program {name}"));
            (find(name).ok_or_else(missing)?, Vec::new())
        }
        None => own_command(),
    };
    let fault = |error: std::io::Error| ArmError::Failed(format!("{}: {error}", path.display()));
    let mut command = Command::new(&path);
    command.args(first).args(args).env("PATH", search_path()).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(fault)?;
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // A program may end without reading its input.
        scope.spawn(move || stdin.map(|mut stdin| drop(stdin.write_all(input.as_bytes()))));
        child.wait_with_output()
    });
    let Output { status, stdout, stderr } = output.map_err(fault)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Executed { status: status.code(), output: text(stdout), messages: text(stderr) })
}

fn run(request: RunRequest, trace: TraceText<'_>) -> Result<Ran, ArmError> {
    let RunRequest { sources, mode, family, seed, backend, trace: detail } = request;
    let prepared = prepare(manifest::load(sources))
        .map_err(|_| ArmError::Internal("a validated scenario is valid".to_owned()))?;
    let options = RunOptions {
        family,
        seed,
        is_recorded: detail.is_some(),
        owns_machine: true,
        ..RunOptions::new(mode)
    };
    let Run { result, recording } = run_against_kernel(&prepared, &options, backend)?;
    let trace = detail.zip(recording).map(|(detail, recording)| trace(&result, &recording, detail));
    Ok(Ran { result, trace })
}
