//! `gpusched screens`: the sessions in which jobs run.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use driver::seat::seats;

use crate::cli::Where;
use crate::failure::Failure;
use crate::place::Place;

/// Lists the sessions of the jobs that run now, and how to look into each.
///
/// # Errors
/// When there is no such log directory.
pub fn run(place: &Where) -> Result<ExitCode, Failure> {
    let place = Place::find(place)?;
    let mut out = String::new();
    for (at, seat) in (1..).zip(seats(place.dir())) {
        let _ = writeln!(out, "{at}. {} (job {}; attach: {})", seat.session, seat.no, seat.attach);
    }
    if out.is_empty() {
        out.push_str("no job runs in a session\n");
    }
    // Nobody may be listening.
    let _ = io::stdout().write_all(out.as_bytes());
    Ok(ExitCode::SUCCESS)
}
