//! The `hairpin` command: parses arguments, calls a crate, chooses the exit code.

mod cli;
mod conformance;
mod exit;
mod fuzz;
mod input;
mod kernel;
mod library;
mod list;
mod progress;
mod render;
mod scenario;

use cli::{Cli, Command, Lab};
use exit::{Exit, Stop};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::read();
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    // The location of a failed assertion has been printed by then.
    let result = catch_unwind(AssertUnwindSafe(|| run(&cli.command, &mut out)))
        .unwrap_or_else(|_| Err(Stop::internal("error: internal error: an assertion failed")))
        .and_then(|exit| Ok(out.flush().map(|()| exit)?));
    match result {
        Ok(exit) => exit.into(),
        Err(stop) => stop.report(&mut anstream::stderr().lock()).into(),
    }
}

fn run(command: &Command, out: &mut dyn Write) -> Result<Exit, Stop> {
    match command {
        Command::Scenario(args) => scenario::run(args, out),
        Command::Conformance(args) => conformance::run(args, out),
        Command::Fuzz(args) => fuzz::run(args, out),
        Command::Render(args) => render::run(args, out),
        Command::List(args) => list::run(args, out),
        Command::Lab(Lab::Clean(args)) => kernel::clean(args, out),
    }
}
