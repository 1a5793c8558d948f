//! Runs a command as the init of a careless container would: whatever loses its
//! parent below it becomes its child, and stays a zombie when it ends.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut words = env::args_os().skip(1);
    let program = words.next().ok_or("there is no command to run")?;
    let status = Command::new(program).args(words).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
