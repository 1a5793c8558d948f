//! The keeper as a program of its own: `keep __keep DIR`, and with it the seat of
//! a job in a session: `keep __seat DIR ATTEMPT`.
//!
//! Whoever embeds [`driver::host::KeeperHost`] needs a program that becomes the
//! one or the other when it is called like this. It is best the embedding program itself:
//! then there is only one thing to install.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let ended = match arguments.as_slice() {
        [word, dir] if word == "__keep" => {
            driver::keeper::keep(Path::new(dir)).map_err(|error| error.to_string())
        }
        [word, dir, attempt] if word == "__seat" => {
            let Some(attempt) = attempt.to_str().and_then(|attempt| attempt.parse().ok()) else {
                return ExitCode::from(2);
            };
            driver::seat::sit(Path::new(dir), attempt).map_err(|error| error.to_string())
        }
        _ => return ExitCode::from(2),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The scheduler reads the last line of this when the keeper does not come up.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
