//! The keeper as a program of its own: `keep __keep DIR`.
//!
//! Whoever embeds [`driver::host::KeeperHost`] needs a program that becomes the
//! keeper when it is called like this. It is best the embedding program itself:
//! then there is only one thing to install.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [word, dir] = arguments.as_slice() else { return ExitCode::from(2) };
    if word != "__keep" {
        return ExitCode::from(2);
    }
    match driver::keeper::keep(Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The scheduler reads the last line of this when the keeper does not come up.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
