//! Runs programs to completion, with a timeout, and with input and output in memory.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;

/// Timeout of any tool. Loading the largest rule set of the suite takes well under a second.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Time that a killed process may take to end; more means that the kernel hangs.
const KILLED_LIMIT: Duration = Duration::from_secs(2);

/// Folders of administration tools: some users' `PATH` lacks some of these.
const FOLDERS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A program, its arguments and input.
#[derive(Debug, Clone, Default)]
pub struct ToolCommand<'a> {
    /// The program, searched in `PATH` and in the administration folders.
    pub program: &'a str,
    /// Its arguments.
    pub args: &'a [&'a str],
    /// Its standard input.
    pub input: &'a [u8],
}

/// Why a tool failed.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It could not be started or monitored.
    #[error("{program}: {source}")]
    Io {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("{command} did not end within {limit:?}")]
    TooSlow {
        /// Program and arguments.
        command: String,
        /// The timeout.
        limit: Duration,
    },
    /// It reported a failure.
    #[error("{command}: {status}: {}", message.trim_end())]
    Failed {
        /// Program and arguments.
        command: String,
        /// The exit status.
        status: ExitStatus,
        /// Its standard error.
        message: String,
    },
}

impl ToolCommand<'_> {
    /// Runs the program in the network namespace of the calling thread, and returns its output.
    ///
    /// # Errors
    /// If it cannot be started, times out, or exits with a nonzero status.
    pub fn run(&self) -> Result<String, ToolError> {
        self.run_within(TIME_LIMIT)
    }

    fn run_within(&self, limit: Duration) -> Result<String, ToolError> {
        let fault = |source| ToolError::Io { program: self.program.to_owned(), source };
        let mut messages = memory_file().map_err(fault)?;
        let mut child = self.spawn(&messages).map_err(fault)?;
        let ended = until_ended(&mut child, Instant::now() + limit);
        if !matches!(ended, Ok(Some(_))) {
            kill(&mut child);
        }
        let too_slow = || ToolError::TooSlow { command: self.command(), limit };
        let (output, status) = ended.map_err(fault)?.ok_or_else(too_slow)?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&output).into_owned());
        }
        let mut message = String::new();
        messages.rewind().and_then(|()| messages.read_to_string(&mut message)).map_err(fault)?;
        Err(ToolError::Failed { command: self.command(), status, message })
    }

    fn spawn(&self, messages: &File) -> io::Result<Child> {
        let mut input = memory_file()?;
        input.write_all(self.input)?;
        input.rewind()?;
        // With an absolute path the standard library uses vfork: no memory of this process is copied.
        Command::new(find(self.program).ok_or_else(is_missing)?)
            .args(self.args)
            .env("PATH", search_path())
            // Messages are matched and shown; they must not depend on the user's locale.
            .env("LC_ALL", "C")
            // Ctrl-C is sent to the terminal's process group. A tool must complete; whoever started it undoes its work.
            .process_group(0)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(messages.try_clone()?)
            .spawn()
    }

    /// Program and arguments, as a shell would take them.
    fn command(&self) -> String {
        [&[self.program], self.args].concat().join(" ")
    }
}

/// The path of a program, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    folders(&own_path()).into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn is_missing() -> io::Error {
    let folders = search_path().to_string_lossy().into_owned();
    io::Error::new(io::ErrorKind::NotFound, format!("no such program in {folders}"))
}

/// The `PATH` of programs: the folders in which they are searched themselves.
pub(crate) fn search_path() -> OsString {
    // None of them contains a colon, because the list was split at colons.
    env::join_paths(folders(&own_path())).unwrap_or_default()
}

fn own_path() -> OsString {
    env::var_os("PATH").unwrap_or_default()
}

/// The folders of `PATH`, and the administration folders. Relative or empty elements would refer to the current folder,
/// and whoever can write there must not choose what root runs.
fn folders(path: &OsStr) -> Vec<PathBuf> {
    let all = env::split_paths(path).chain(FOLDERS.map(PathBuf::from));
    all.filter(|folder| folder.is_absolute()).collect()
}

fn memory_file() -> io::Result<File> {
    Ok(memfd_create(c"hairpin", MFdFlags::MFD_CLOEXEC)?.into())
}

/// The program's output and status; `None` on timeout. A program may close its output and continue.
fn until_ended(child: &mut Child, deadline: Instant) -> io::Result<Option<(Vec<u8>, ExitStatus)>> {
    let Some(output) = read_until_closed(child, deadline)? else { return Ok(None) };
    Ok(wait_until(child, deadline)?.map(|status| (output, status)))
}

/// Reads the program's output until it is closed; `None` on timeout.
fn read_until_closed(child: &mut Child, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Some(Vec::new())) };
    let mut output = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(0) => return Ok(None),
            Ok(_) => match stdout.read(&mut buffer)? {
                0 => return Ok(Some(output)),
                count => output.extend_from_slice(&buffer[..count]),
            },
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the program has ended; `None` on timeout. It ends right after its output (`do_exit`, kernel/exit.c,
/// closes files shortly before it notifies the parent), so the first polls are close together.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    const PAUSE_MAX: Duration = Duration::from_millis(10);
    let mut pause = Duration::from_micros(20);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Kills the program and everything it started: it leads its own process group.
fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // Fails only if all of them have ended.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    // A process that is still alive stays behind: nothing more can be done, and the timeout is reported already.
    let _ = wait_until(child, Instant::now() + KILLED_LIMIT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_reads_its_input_and_its_output_is_returned() {
        let input = "x".repeat(300_000);
        let tool = ToolCommand { program: "cat", args: &[], input: input.as_bytes() };
        assert_eq!(tool.run().expect("cat runs"), input);
    }

    #[test]
    fn failures_say_what_the_tool_said() {
        let tool = ToolCommand { program: "sh", args: &["-c", "echo no such set >&2; exit 2"], input: b"" };
        let message = tool.run().expect_err("it fails").to_string();
        assert_eq!(message, "sh -c echo no such set >&2; exit 2: exit status: 2: no such set");
        let tool = ToolCommand { program: "hairpin-no-such-program", args: &[], input: b"" };
        let message = tool.run().expect_err("it does not exist").to_string();
        assert!(message.starts_with("hairpin-no-such-program: no such program in /"), "{message}");
        assert!(message.ends_with(":/bin"), "{message}");
    }

    /// Command lines of the processes that contain this word.
    fn processes(word: &str) -> Vec<String> {
        let folders = std::fs::read_dir("/proc").expect("a folder").filter_map(Result::ok);
        let lines = folders.filter_map(|folder| std::fs::read_to_string(folder.path().join("cmdline")).ok());
        lines.filter(|line| line.contains(word)).collect()
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let limit = Duration::from_millis(300);
        // A duration that no other process uses.
        let time = format!("3171.{}", std::process::id());
        for script in [
            // It keeps its output open.
            "sleep TIME",
            // Its child does.
            "sleep TIME & exit 0",
            "sleep TIME & wait",
            // It closes its output and continues.
            "exec >&-; sleep TIME; true",
            "exec >&- sleep TIME",
        ] {
            let script = &script.replace("TIME", &time);
            let tool = ToolCommand { program: "sh", args: &["-c", script], input: b"" };
            let begun = Instant::now();
            let error = tool.run_within(limit).expect_err("it is too slow");
            assert!(begun.elapsed() < Duration::from_secs(3), "{script}: {:?}", begun.elapsed());
            assert_eq!(error.to_string(), format!("sh -c {script} did not end within 300ms"));
            // A killed process takes a moment to end; a zombie has no command line.
            let deadline = Instant::now() + KILLED_LIMIT;
            while !processes(&time).is_empty() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(processes(&time), [""; 0], "{script}");
        }
    }

    #[test]
    fn programs_are_looked_for_in_absolute_folders_alone() {
        for (path, own) in [
            ("", &[][..]),
            (".", &[]),
            (":", &[]),
            ("/opt/bin", &["/opt/bin"]),
            ("/opt/bin::bin:./x:/y", &["/opt/bin", "/y"]),
        ] {
            let expected: Vec<PathBuf> = own.iter().chain(&FOLDERS).map(PathBuf::from).collect();
            assert_eq!(folders(OsStr::new(path)), expected, "{path:?}");
        }
    }
}
