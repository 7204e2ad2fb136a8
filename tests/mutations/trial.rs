//! One run of a judge, with a fault or without.

use crate::judge::Judge;
use conformance::mutation::Mutation;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The variable by which a process learns of its mutation.
const VARIABLE: &str = "HAIRPIN_MUTATION";

/// A judge, and the fault that it must find; without a fault, it must find nothing.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) mutation: Option<Mutation>,
    pub(crate) judge: Judge,
}

/// The verdict of a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The simulator is as expected.
    Passed,
    /// A fault was found.
    Found,
    /// The judge could not finish; the end of its output.
    Failed(String),
}

/// The result of a trial.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) trial: Trial,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

impl Outcome {
    /// True if the fault was found, or if there was none and the judge passed.
    pub(crate) fn is_right(&self) -> bool {
        match self.trial.mutation {
            Some(_) => self.verdict == Verdict::Found,
            None => self.verdict == Verdict::Passed,
        }
    }
}

impl Trial {
    pub(crate) fn run(&self) -> Outcome {
        let started = Instant::now();
        let folder = self.folder();
        let verdict = self.verdict(&folder);
        // Only the scenario of a shrunk cluster is in it; a trial that needs it can be repeated.
        let _ = fs::remove_dir_all(folder);
        Outcome { trial: self.clone(), verdict, took: started.elapsed() }
    }

    fn verdict(&self, folder: &Path) -> Verdict {
        let mut command = self.judge.command(folder);
        let name = self.mutation.map(|mutation| format!("{mutation:?}")).unwrap_or_default();
        command.env(VARIABLE, name);
        let output = match command.stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) => return Verdict::Failed(format!("{command:?}: {error}")),
        };
        match output.status.code() {
            Some(0) => Verdict::Passed,
            // Of hairpin: an expectation failed, or the arms disagree.
            Some(1) => Verdict::Found,
            Some(_) | None => {
                let text = String::from_utf8_lossy(&output.stderr);
                let lines: Vec<&str> = text.lines().collect();
                Verdict::Failed(lines[lines.len().saturating_sub(5)..].join("\n"))
            }
        }
    }

    /// A folder for files that the judge writes.
    fn folder(&self) -> PathBuf {
        let name = self.mutation.map_or_else(|| self.judge.to_string(), |mutation| format!("{mutation:?}"));
        let name = name.replace(|character: char| !character.is_alphanumeric(), "-");
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations").join(name)
    }
}
