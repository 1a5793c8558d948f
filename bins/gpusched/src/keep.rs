//! `gpusched __keep DIR`: the process that looks after the jobs; and
//! `gpusched __seat DIR ATTEMPT`: the one that does so in a session.

use std::path::Path;
use std::process::ExitCode;

use crate::failure::{Failure, Kind};

/// Is the keeper of a log directory until nothing runs and nobody is there.
///
/// # Errors
/// When it can't begin.
pub fn run(dir: &Path) -> Result<ExitCode, Failure> {
    driver::keeper::keep(dir).map_err(|error| Failure::caused(Kind::Io, &error))?;
    Ok(ExitCode::SUCCESS)
}

/// Is the seat of an attempt until its job has ended.
///
/// # Errors
/// When there is nothing to start, or it can't begin.
pub fn sit(dir: &Path, attempt: &str) -> Result<ExitCode, Failure> {
    let attempt = attempt.parse().map_err(|_| Failure::usage(format!("'{attempt}' is no attempt")))?;
    driver::seat::sit(dir, attempt).map_err(|error| Failure::caused(Kind::Io, &error))?;
    Ok(ExitCode::SUCCESS)
}
