//! `gpusched __keep DIR`: the process that looks after the jobs.

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
