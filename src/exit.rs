//! Exit codes, and what ends the command early.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// How the command ends. The numbers are a contract.
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
    /// The reader of the output went away before its end, so what was to be said is not known. What a shell tells of a program
    /// that SIGPIPE killed, 128 + 13: `set -o pipefail` must not take it for success.
    NobodyReads = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What ends the command before it has done its work.
#[derive(Debug)]
pub(crate) enum Stop {
    /// With an exit code and what is told the user: what is wrong, and what to do about it.
    Told { exit: Exit, message: String },
    /// The reader of the output went away, as `head` does.
    NobodyReads,
}

impl Stop {
    /// The input or the command line is wrong.
    pub(crate) fn bad_input(message: impl Display) -> Self {
        Self::Told { exit: Exit::BadInput, message: message.to_string() }
    }

    /// This machine lacks something.
    pub(crate) fn lacking(what: &impl Display) -> Self {
        Self::Told { exit: Exit::MachineLacks, message: format!("error: {what}") }
    }

    /// Tells the user, and gives the exit code.
    pub(crate) fn report(self, err: &mut impl Write) -> Exit {
        match self {
            Self::Told { exit, message } => {
                // Nothing is left to be done if even this cannot be written.
                let _ = writeln!(err, "{}", message.trim_end());
                exit
            }
            Self::NobodyReads => Exit::NobodyReads,
        }
    }
}

impl From<io::Error> for Stop {
    /// For errors of the output; errors of files name the file and are made where it is read.
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        Self::bad_input(format!("error: the output cannot be written: {error}"))
    }
}
