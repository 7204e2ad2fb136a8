//! Programs run to their end, bounded in time, with their input and output in memory.

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

/// How long any tool may take. Loading the largest rule set of the suite takes well under a second.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// How long what was killed may take to be gone; it takes longer only where the kernel hangs.
const KILLED_LIMIT: Duration = Duration::from_secs(2);

/// Where administration tools lie: some users' `PATH` has not all of these.
const FOLDERS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// A program, its arguments and what it reads.
#[derive(Debug, Clone, Default)]
pub struct Tool<'a> {
    /// The program, looked up in `PATH` and in the folders for administration.
    pub program: &'a str,
    /// Its arguments.
    pub args: &'a [&'a str],
    /// Its standard input.
    pub input: &'a [u8],
}

/// Why a tool did not do its work.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It could not be started or watched.
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
        /// How long it was waited for.
        limit: Duration,
    },
    /// It said that it failed.
    #[error("{command}: {status}: {}", message.trim_end())]
    Failed {
        /// Program and arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to its standard error.
        message: String,
    },
}

impl Tool<'_> {
    /// Runs the program in the network namespace of the calling thread, and returns what it wrote.
    ///
    /// # Errors
    /// If it cannot be started, takes too long, or ends with a status other than 0.
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
        // With a whole path, the standard library starts it by vfork: nothing of this process has to be copied.
        Command::new(find(self.program).ok_or_else(is_missing)?)
            .args(self.args)
            .env("PATH", search_path())
            // Messages are matched and shown; they must not depend on the user's language.
            .env("LC_ALL", "C")
            // Ctrl-C is for the whole group of the terminal. A tool ends its work; what it did is undone by who started it.
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

/// Where a program lies that can be run by this name, if it is on this machine.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    folders(&own_path()).into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn is_missing() -> io::Error {
    let folders = search_path().to_string_lossy().into_owned();
    io::Error::new(io::ErrorKind::NotFound, format!("there is no such program in {folders}"))
}

/// What programs get as their `PATH`: where they are looked for themselves.
fn search_path() -> OsString {
    // None of them has a colon, for they were separated by it.
    env::join_paths(folders(&own_path())).unwrap_or_default()
}

fn own_path() -> OsString {
    env::var_os("PATH").unwrap_or_default()
}

/// The folders of `PATH`, and those in which administration tools lie. What is not absolute, or empty, would mean the folder
/// in which hairpin was started, and whoever can write there is not to choose what root runs.
fn folders(path: &OsStr) -> Vec<PathBuf> {
    let all = env::split_paths(path).chain(FOLDERS.map(PathBuf::from));
    all.filter(|folder| folder.is_absolute()).collect()
}

fn memory_file() -> io::Result<File> {
    Ok(memfd_create(c"hairpin", MFdFlags::MFD_CLOEXEC)?.into())
}

/// What the program wrote, and how it ended; `None` if it did not end before the deadline. One that has closed its output may
/// go on all the same.
fn until_ended(child: &mut Child, deadline: Instant) -> io::Result<Option<(Vec<u8>, ExitStatus)>> {
    let Some(output) = read_until_closed(child, deadline)? else { return Ok(None) };
    Ok(wait_until(child, deadline)?.map(|status| (output, status)))
}

/// Reads the program's output until it closes it; `None` if that takes too long.
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

/// Waits until the program has ended; `None` if that takes too long. Its end follows that of its output at once (`do_exit`,
/// kernel/exit.c, closes files a little before it tells the parent), so the first looks are close together.
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

/// Ends the program and all that it has started: it leads a process group of its own.
fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // It fails only if all of them have ended meanwhile.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    // One that is not gone even then stays behind: nothing more can be done, and what is told already is that it was too slow.
    let _ = wait_until(child, Instant::now() + KILLED_LIMIT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_reads_its_input_and_its_output_is_returned() {
        let input = "x".repeat(300_000);
        let tool = Tool { program: "cat", args: &[], input: input.as_bytes() };
        assert_eq!(tool.run().expect("cat runs"), input);
    }

    #[test]
    fn failures_say_what_the_tool_said() {
        let tool = Tool { program: "sh", args: &["-c", "echo no such set >&2; exit 2"], input: b"" };
        let message = tool.run().expect_err("it fails").to_string();
        assert_eq!(message, "sh -c echo no such set >&2; exit 2: exit status: 2: no such set");
        let tool = Tool { program: "hairpin-no-such-program", args: &[], input: b"" };
        let message = tool.run().expect_err("there is none").to_string();
        assert!(message.starts_with("hairpin-no-such-program: there is no such program in /"), "{message}");
        assert!(message.ends_with(":/bin"), "{message}");
    }

    /// Command lines of the processes that have this word in them.
    fn processes(word: &str) -> Vec<String> {
        let folders = std::fs::read_dir("/proc").expect("a folder").filter_map(Result::ok);
        let lines = folders.filter_map(|folder| std::fs::read_to_string(folder.path().join("cmdline")).ok());
        lines.filter(|line| line.contains(word)).collect()
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let limit = Duration::from_millis(300);
        // A time that nobody else sleeps.
        let time = format!("3171.{}", std::process::id());
        for script in [
            // It keeps its output open.
            "sleep TIME",
            // It is the child that does.
            "sleep TIME & exit 0",
            "sleep TIME & wait",
            // It closes its output and goes on.
            "exec >&-; sleep TIME; true",
            "exec >&- sleep TIME",
        ] {
            let script = &script.replace("TIME", &time);
            let tool = Tool { program: "sh", args: &["-c", script], input: b"" };
            let begun = Instant::now();
            let error = tool.run_within(limit).expect_err("it is too slow");
            assert!(begun.elapsed() < Duration::from_secs(3), "{script}: {:?}", begun.elapsed());
            assert_eq!(error.to_string(), format!("sh -c {script} did not end within 300ms"));
            // What is killed takes its time to end; whom init has not yet taken note of then has no command line any more.
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
