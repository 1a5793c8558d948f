//! `gpusched add`: a line more in a CSV jobs file.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::ExitCode;

use jobspec::{CsvJob, Format, csv_line, detect_format};
use model::GpuSet;

use crate::cli::AddArgs;
use crate::failure::Failure;

/// Appends a job, or prints its line.
///
/// # Errors
/// When it can't be written as a line, or the file holds something else than CSV.
pub fn run(args: &AddArgs) -> Result<ExitCode, Failure> {
    let line = csv_line(&job(args)?).map_err(|error| Failure::usage(error.to_string()))?;
    if args.output_file == Path::new("-") {
        // Nobody may be listening.
        let _ = writeln!(io::stdout(), "{line}");
        return Ok(ExitCode::SUCCESS);
    }
    append(&args.output_file, &line)?;
    let _ = writeln!(io::stdout(), "added to {}: {line}", args.output_file.display());
    if !Path::new(&args.script).is_file() {
        let _ = writeln!(
            io::stderr(),
            "gpusched: note: there is no file {} here; the scheduler looks for it from its own directory",
            args.script
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn job(args: &AddArgs) -> Result<CsvJob, Failure> {
    let gpus = args.gpus.as_deref().filter(|list| !list.trim().is_empty()).map(|list| {
        GpuSet::parse(list).map_err(|error| {
            Failure::usage(format!("--gpus {list}: {error}"))
                .hint("write indices and ranges with commas between them: 0,1,3 or 0-3")
        })
    });
    Ok(CsvJob {
        priority: args.priority,
        script: args.script.clone(),
        conda: args.conda.clone().filter(|conda| !conda.is_empty()),
        arguments: args.args.clone(),
        gpus: gpus.transpose()?,
    })
}

/// Appends a line at one blow, so that no reader sees half of it.
fn append(path: &Path, line: &str) -> Result<(), Failure> {
    let cannot = |error| Failure::cannot(format_args!("add to {}", path.display()), &error);
    let present = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(cannot(error)),
    };
    if detect_format(&present) == Some(Format::Lines) {
        return Err(Failure::usage(format!("{} holds shell commands, not CSV", path.display()))
            .hint("append a line like those that are there, or name another file: --output-file FILE"));
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(cannot)?;
    let text = if ends_in_the_middle(&mut file).map_err(cannot)? {
        format!("\n{line}\n")
    } else {
        format!("{line}\n")
    };
    file.write_all(text.as_bytes()).map_err(cannot)
}

/// Whether the last line of a file has no end.
fn ends_in_the_middle(file: &mut fs::File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
