//! The program `gpusched`: the command line, the words, and the wiring of the
//! crates that do the work.
//!
//! What was typed ([`cli`]) becomes what it means ([`plan`]), and that is run
//! ([`schedule`]) with the log directory ([`state`]) and the GPUs
//! ([`devices`]).

pub mod add;
pub mod answers;
pub mod board;
pub mod board_json;
pub mod cli;
pub mod control;
pub mod detach;
pub mod devices;
pub mod doctor;
pub mod failure;
pub mod keep;
pub mod logs;
pub mod outlet;
pub mod place;
pub mod plan;
pub mod python_jobs;
pub mod report_text;
pub mod reporter;
pub mod schedule;
pub mod screens;
pub mod simjob;
pub mod state;
pub mod status;
pub mod stream;
pub mod syntax;
pub mod visible;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command, StartArgs};
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

fn start(args: &StartArgs) -> Result<ExitCode, Failure> {
    let plan = Plan::start(args)?;
    match &plan.watched {
        Some(watched) if watched.detach => return detach::run(&plan, watched),
        Some(watched) if watched.detached => detach::leave_terminal()?,
        Some(_) | None => {}
    }
    schedule::run(&plan)
}

fn carry_out(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.command {
        Some(Command::SimJob(args)) => simjob::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Keep { dir }) => keep::run(dir),
        Some(Command::Seat { dir, attempt }) => keep::sit(dir, attempt),
        Some(Command::Start(args)) => start(args),
        Some(Command::Add(args)) => add::run(args),
        Some(Command::Status(args)) => status::run(args),
        Some(Command::Pause(args)) => control::pause(args, true),
        Some(Command::Resume(args)) => control::pause(args, false),
        Some(Command::Cancel(args)) => control::cancel(args),
        Some(Command::Retry(args)) => control::retry(args),
        Some(Command::Screens(place)) => screens::run(place),
        Some(Command::Logs(args)) => logs::run(args),
        Some(Command::Stop(args)) => control::stop(args),
        None => schedule::run(&Plan::resolve(&cli.queue)?),
    }
}
