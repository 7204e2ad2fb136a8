//! Programs run to their end, bounded in time, with their input and output in memory.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

/// How long any tool may take. Loading the largest rule set of the suite takes well under a second.
const TIME_LIMIT: Duration = Duration::from_secs(20);

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
    #[error("{command} did not end within {} s", TIME_LIMIT.as_secs())]
    TooSlow {
        /// Program and arguments.
        command: String,
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
        let fault = |source| ToolError::Io { program: self.program.to_owned(), source };
        let mut messages = memory_file().map_err(fault)?;
        let mut child = self.spawn(&messages).map_err(fault)?;
        let read = read_until_closed(&mut child);
        if !matches!(read, Ok(Some(_))) {
            // It may have ended meanwhile; then there is nothing to kill.
            let _ = child.kill();
        }
        let status = child.wait().map_err(fault)?;
        let output = read.map_err(fault)?.ok_or_else(|| ToolError::TooSlow { command: self.command() })?;
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
        Command::new(found(self.program).as_deref().unwrap_or(Path::new(self.program)))
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

/// `PATH`, and the folders in which administration tools lie: they are missing from some users' `PATH`.
pub(super) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Where a program lies.
fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn memory_file() -> io::Result<File> {
    Ok(memfd_create(c"hairpin", MFdFlags::MFD_CLOEXEC)?.into())
}

/// Reads the program's output until it closes it, which is when it ends; `None` if that takes too long.
fn read_until_closed(child: &mut Child) -> io::Result<Option<Vec<u8>>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Some(Vec::new())) };
    let deadline = Instant::now() + TIME_LIMIT;
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
        assert!(matches!(tool.run(), Err(ToolError::Io { .. })));
    }
}
