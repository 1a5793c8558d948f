//! Which scheduler a command means, and whether it works.

use std::fs;
use std::path::{Path, PathBuf};

use driver::lock::{Holder, holder};
use serde_json::Value;

use crate::cli::Where;
use crate::failure::Failure;

/// The file of the log directory that has the board for programs.
pub const STATUS: &str = "status.json";

/// The log directory of a scheduler, which is there.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// The place that is meant.
    ///
    /// # Errors
    /// When there is no such directory, or the state file does not tell it.
    pub fn find(words: &Where) -> Result<Self, Failure> {
        let dir = match &words.state_file {
            Some(file) => log_dir_in(file)?,
            None => words.log_dir.clone(),
        };
        let dir = dir.canonicalize().map_err(|_| {
            Failure::usage(format!("there is no log directory {}", dir.display()))
                .hint("name that of your scheduler: --log-dir DIR, or --state-file FILE")
                .hint("or start one: gpusched start")
        })?;
        Ok(Self::of(dir))
    }

    /// The place whose log directory this is.
    pub const fn of(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The log directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The scheduler that works there, if one does.
    pub fn scheduler(&self) -> Option<Holder> {
        holder(&self.dir)
    }

    /// What the scheduler has published last; nothing where it never has.
    ///
    /// # Errors
    /// When that can't be read.
    pub fn status(&self) -> Result<Option<Value>, Failure> {
        let path = self.dir.join(STATUS);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Failure::io(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::cannot(format_args!("read {}", path.display()), &error)),
        }
    }
}

fn log_dir_in(file: &Path) -> Result<PathBuf, Failure> {
    let bytes = fs::read(file)
        .map_err(|error| Failure::cannot(format_args!("read the state file {}", file.display()), &error))?;
    let dir = serde_json::from_slice::<Value>(&bytes)
        .ok()
        .and_then(|document| Some(PathBuf::from(document.get("gpusched")?.get("log_dir")?.as_str()?)));
    dir.ok_or_else(|| {
        Failure::usage(format!("{} does not tell a log directory", file.display()))
            .hint("it was not written by gpusched start; name the directory: --log-dir DIR")
    })
}
