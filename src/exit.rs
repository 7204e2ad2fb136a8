//! Exit codes, and errors that end the command early.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// How the command ends. The numbers are a stable interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was as expected.
    AsExpected = 0,
    /// An expectation failed, or two arms disagree.
    NotAsExpected = 1,
    /// The input or the command line is wrong.
    BadInput = 2,
    /// This machine lacks what an arm needs.
    MachineLacks = 3,
    /// A bug in hairpin (`EX_SOFTWARE` of sysexits.h).
    Internal = 70,
    /// The reader of the output closed it early, so the results are unknown. 128 + SIGPIPE (13), as a shell reports a
    /// program killed by that signal: `set -o pipefail` must not take it for success.
    NobodyReads = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends the command early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Ends with an exit code and a message: what is wrong, and what to do about it.
    Told { exit: Exit, message: String },
    /// The reader of the output closed it, as `head` does.
    NobodyReads,
}

impl Stop {
    /// The input or the command line is wrong.
    pub(crate) fn bad_input(message: impl Display) -> Self {
        Self::Told { exit: Exit::BadInput, message: message.to_string() }
    }

    /// This machine lacks a prerequisite.
    pub(crate) fn lacking(what: &impl Display) -> Self {
        Self::Told { exit: Exit::MachineLacks, message: format!("error: {what}") }
    }

    /// A bug in hairpin.
    pub(crate) fn internal(what: impl Display) -> Self {
        let message = format!(
            "{what}\nhelp: this is a bug in hairpin; please report it with the input and this message"
        );
        Self::Told { exit: Exit::Internal, message }
    }

    /// Prints the message, and returns the exit code.
    pub(crate) fn report(self, err: &mut impl Write) -> Exit {
        match self {
            Self::Told { exit, message } => {
                // If even this write fails, nothing more can be done.
                let _ = writeln!(err, "{}", message.trim_end());
                exit
            }
            Self::NobodyReads => Exit::NobodyReads,
        }
    }
}

impl From<io::Error> for Stop {
    /// For errors of the output; errors of files are created where the file is read, and name it.
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        Self::bad_input(format!("error: cannot write the output: {error}"))
    }
}
