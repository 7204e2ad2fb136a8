//! The `hairpin` command: parses arguments, calls a crate, chooses the exit code.

mod cli;
mod conformance;
mod exit;
mod fuzz;
mod input;
mod kernel;
mod library;
mod list;
#[cfg(feature = "mutations")]
mod mutation;
mod progress;
mod render;
mod scenario;
mod trace;
mod vm;

use cli::{Cli, Command, LabCommand};
use exit::{Exit, Stop};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::read();
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    let result = guarded(|| run(&cli.command, &mut out)).and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match result {
        Ok(exit) => exit.into(),
        Err(stop) => stop.report(&mut anstream::stderr().lock()).into(),
    }
}

/// Turns a failed assertion into an internal error. Its message and location have been printed by then.
fn guarded(run: impl FnOnce() -> Result<Exit, Stop>) -> Result<Exit, Stop> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Stop::internal("error: internal error: an assertion failed")))
}

fn run(command: &Command, out: &mut dyn Write) -> Result<Exit, Stop> {
    #[cfg(feature = "mutations")]
    mutation::select()?;
    match command {
        Command::Trace(args) => trace::run(args, out),
        Command::Scenario(args) => scenario::run(args, out),
        Command::Conformance(args) => conformance::run(args, out),
        Command::Fuzz(args) => fuzz::run(args, out),
        Command::Render(args) => render::run(args, out),
        Command::List(args) => list::run(args, out),
        Command::Lab(LabCommand::Clean(args)) => kernel::clean(args, out),
        Command::Lab(LabCommand::Vm(command)) => vm::run(command, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_assertion_ends_with_exit_code_70_and_asks_for_a_report() {
        let stop = guarded(|| panic!("an assertion of a test")).expect_err("it failed");
        let mut message = Vec::new();
        let exit = stop.report(&mut message);
        assert_eq!((exit, exit as u8), (Exit::Internal, 70));
        insta::assert_snapshot!(String::from_utf8_lossy(&message), @"
        error: internal error: an assertion failed
        help: this is a bug in hairpin; please report it with the input and this message
        ");
        assert_eq!(guarded(|| Ok(Exit::NotAsExpected)).ok(), Some(Exit::NotAsExpected));
    }
}
