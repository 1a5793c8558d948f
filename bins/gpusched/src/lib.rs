//! The program `gpusched`: the command line, the words, and the wiring of the
//! crates that do the work.
//!
//! What was typed ([`cli`]) becomes what it means ([`plan`]), and that is run
//! ([`schedule`]) with the log directory ([`state`]) and the GPUs
//! ([`devices`]).

pub mod board;
pub mod cli;
pub mod devices;
pub mod failure;
pub mod keep;
pub mod outlet;
pub mod plan;
pub mod python_jobs;
pub mod report_text;
pub mod reporter;
pub mod schedule;
pub mod simjob;
pub mod state;
pub mod syntax;
pub mod visible;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Kind};
use crate::plan::Plan;

/// The whole program: does what the words say, the first of them being its own
/// name, and tells what to exit with.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        // The only conflict there is, which clap takes for a subcommand in the
        // wrong place.
        Err(error) if error.kind() == ErrorKind::ArgumentConflict => {
            return Failure::usage("there can be only one jobs file").hint("see gpusched --help").tell();
        }
        Err(error) => {
            // Help for nobody is no failure.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(Kind::Usage.code()) } else { ExitCode::SUCCESS };
        }
    };
    carry_out(&cli).unwrap_or_else(|failure| failure.tell())
}

fn carry_out(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Some(Command::SimJob(args)) => simjob::run(args),
        Some(Command::Keep { dir }) => keep::run(dir),
        Some(Command::Seat { dir, attempt }) => keep::sit(dir, attempt),
        None => schedule::run(&Plan::resolve(&cli.queue)?),
    }
}
