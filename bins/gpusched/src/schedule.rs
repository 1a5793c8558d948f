//! From a plan to a queue that has come to its end.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use driver::clock::Steady;
use driver::host::{HostError, KeeperConfig, KeeperHost, LogNames, own_program};
use driver::jobsfile::Watch;
use driver::mailbox::Mailbox;
use driver::models::ModelsFile;
use driver::shell::{Parts, Shell};
use driver::signals::{self, Signals};
use driver::statefile::StateFile;
use engine::queue::{Config, Outcome, Phase, Queue};
use jiff::tz::TimeZone;
use jobspec::JobsFile;

use crate::devices;
use crate::failure::{Failure, Kind};
use crate::outlet::{self, Outlet};
use crate::place::STATUS;
use crate::plan::{Gpus, Looked, Plan, Watched};
use crate::report_text::Words;
use crate::reporter::TextReporter;
use crate::simjob::SIM_DIR;
use crate::state::{LogDir, Memory};
use crate::stream::Stream;
use crate::syntax;
use crate::visible::VARIABLE;

/// Works through the jobs file; the result is what to exit with. Nothing but
/// the lock of the log directory is written before the GPUs have answered and the
/// plan has turned out to make sense.
///
/// # Errors
/// When the work can't begin, or can't go on.
pub fn run(plan: &Plan) -> Result<ExitCode, Failure> {
    let made = make_jobs_file(plan)?;
    let (watch, jobs) = read_jobs(plan)?;
    let no_signals = |error| Failure::cannot("catch signals", &error);
    signals::outlive_file_limits().map_err(no_signals)?;
    let dir = LogDir::take(&plan.log_dir)?;
    let sim_dir = sim_dir(dir.path());
    let inherited = env::var(VARIABLE).ok();
    let devices = devices::find(plan.gpus, &sim_dir, plan.config.allowed.as_ref(), inherited.as_deref())?;
    if plan.fresh {
        dir.start_over()?;
    }
    let Memory { mut journal, records, note } = dir.open_journal()?;
    let environment = job_environment(plan.gpus, dir.path(), &sim_dir)?;
    let board = plan.log_dir.join("status.txt");
    let (mut outflow, outlet) =
        outlet::standard_output().map_err(|error| Failure::cannot("use standard output", &error))?;
    let mut reporter = reporter(plan, outlet, dir.path(), &board)?;
    for note in made.iter().chain(&note).chain(&devices.note) {
        reporter.note(note);
    }

    let clock = Steady::start();
    let config = Config { allowed: devices.ours, ..plan.config.clone() };
    let mut queue = Queue::new(config, records, clock.now());
    let mut host = open_host(plan, dir.path(), environment)?;
    journal.sync().map_err(|error| Failure::caused(Kind::Io, &error))?;
    let is_over = |job: &engine::queue::Job| matches!(job.phase, Phase::Done { .. });
    host.forget(|attempt| queue.durable().job(attempt.key).is_some_and(is_over))
        .map_err(|error| Failure::caused(Kind::Io, &error))?;
    let mailbox = Mailbox::open(dir.path()).map_err(|error| Failure::caused(Kind::Io, &error))?;
    let signals = Signals::catch(plan.on_exit).map_err(no_signals)?;
    let mut shell = Shell::open(Parts {
        clock,
        watch,
        jobs,
        journal,
        host,
        gpus: devices.backend,
        gpu_source: devices.source,
        signals,
        reporter: Box::new(reporter),
        board,
        status: dir.path().join(STATUS),
        mailbox,
        state: plan.watched.as_ref().map(|watched| state_file(watched, dir.path())),
        models: plan.models.as_ref().map(|models| ModelsFile::new(models.path.clone(), models.every)),
    })
    .map_err(|error| Failure::caused(Kind::Io, &error))?;
    let outcome = engine::drive(&mut queue, &mut shell).map_err(|lost| {
        Failure::caused(Kind::Io, &lost).hint("jobs that run go on; the same command looks after them again")
    })?;
    if outcome.interrupted.is_some() {
        outflow.hurry();
    }
    Ok(exit_code(outcome, shell.ended_by()))
}

/// What a queue's outcome is to the one who started us: the largest exit code
/// of a failed job, or as a shell tells a signal.
fn exit_code(outcome: Outcome, ended_by: Option<u8>) -> ExitCode {
    ExitCode::from(match (outcome.interrupted, ended_by) {
        (Some(_), Some(signal)) => 128 + signal,
        (Some(_) | None, _) => outcome.worst,
    })
}

fn read_jobs(plan: &Plan) -> Result<(Watch, Arc<JobsFile>), Failure> {
    let Looked { path, every } = &plan.jobs.file;
    let mut watch =
        Watch::new(path, plan.jobs.format).map_err(|error| syntax::failure(&error))?.every(*every);
    let jobs = watch.first().map_err(|error| syntax::failure(&error))?;
    if jobs.is_empty() && !plan.config.watch {
        return Err(Failure::usage("jobs file contains no jobs (use --watch to wait for some)"));
    }
    Ok((watch, jobs))
}

/// Makes the jobs file of a watched queue where it is not there; what is to be
/// said of it.
fn make_jobs_file(plan: &Plan) -> Result<Option<String>, Failure> {
    let path = &plan.jobs.file.path;
    if !plan.jobs.make || path.exists() {
        return Ok(None);
    }
    File::create_new(path)
        .map_err(|error| Failure::cannot(format_args!("create the jobs file {}", path.display()), &error))?;
    Ok(Some(format!(
        "made an empty jobs file, {}: add to it with gpusched add, or any editor",
        path.display()
    )))
}

/// The state file of a watched queue; it is told an absolute path of `log_dir`.
fn state_file(watched: &Watched, log_dir: &Path) -> StateFile {
    let Looked { path, every } = &watched.state;
    StateFile::new(path.clone(), log_dir.to_owned(), *every)
}

/// Who finds the words: a watched queue also prints what its jobs do, and keeps a
/// log.
fn reporter(
    plan: &Plan,
    outlet: Outlet,
    dir: &Path,
    board: &Path,
) -> Result<TextReporter<Box<dyn Write + Send>>, Failure> {
    let words = words(plan, board);
    let Some(watched) = &plan.watched else {
        return Ok(TextReporter::new(Box::new(outlet), words, TimeZone::system()));
    };
    let cannot = |error| Failure::cannot(format_args!("write {}", watched.log.display()), &error);
    // There are commands in it, and tokens in those.
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&watched.log).map_err(cannot)?;
    let stream = Stream::start(outlet, dir).map_err(|error| Failure::cannot("start a thread", &error))?;
    let reporter: TextReporter<Box<dyn Write + Send>> =
        TextReporter::new(Box::new(stream.clone()), words, TimeZone::system());
    Ok(reporter.with_output(stream).with_log(log))
}

fn words(plan: &Plan, board: &Path) -> Words {
    Words {
        poll: plan.config.poll,
        board: board.display().to_string(),
        tolerance: plan.config.tolerance,
        gpus_chosen: plan.config.allowed.is_some(),
    }
}

fn open_host(plan: &Plan, dir: &Path, environment: Vec<(OsString, OsString)>) -> Result<KeeperHost, Failure> {
    let own = |what: &str, result: std::io::Result<PathBuf>| {
        result.map_err(|error| Failure::cannot(format_args!("tell {what}"), &error))
    };
    let config = KeeperConfig {
        dir: dir.to_owned(),
        program: own("where this program lies", own_program())?,
        environment,
        cwd: own("the current directory", env::current_dir())?,
        logs: if plan.watched.is_some() { LogNames::Stamped } else { LogNames::ByGpu },
        seat: plan.session,
    };
    KeeperHost::open(config).map_err(|error| {
        let failure = Failure::caused(Kind::Io, &error);
        if matches!(error, HostError::Silent { .. }) {
            failure.hint("its pid is in keeper.lock there; if it was stopped, kill -CONT lets it go on")
        } else {
            failure
        }
    })
}

/// Where simulated GPUs have their state.
fn sim_dir(log_dir: &Path) -> PathBuf {
    let dir = env::var_os(SIM_DIR).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| log_dir.join("sim"));
    std::path::absolute(&dir).unwrap_or(dir)
}

/// What jobs inherit: our own environment, and with simulated GPUs a way to
/// find them and this program.
fn job_environment(gpus: Gpus, log_dir: &Path, sim_dir: &Path) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    if let Gpus::Simulated(_) = gpus {
        let programs = log_dir.join("sim").join("bin");
        for dir in [sim_dir, &programs] {
            fs::create_dir_all(dir)
                .map_err(|error| Failure::cannot(format_args!("create {}", dir.display()), &error))?;
        }
        link_to_self(&programs.join("gpusched"))?;
        let mut path = programs.into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
        environment.retain(|(name, _)| name != SIM_DIR && name != "PATH");
        environment.push((SIM_DIR.into(), sim_dir.into()));
        environment.push(("PATH".into(), path));
    }
    Ok(environment)
}

/// The PATH of a shell that was given none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Makes `gpusched simjob` work in jobs, wherever this program lies, and though
/// another of its name may be installed.
fn link_to_self(link: &Path) -> Result<(), Failure> {
    let cannot = |error| Failure::cannot(format_args!("link {}", link.display()), &error);
    let program = own_program().map_err(cannot)?;
    if fs::read_link(link).is_ok_and(|target| target == program) {
        return Ok(());
    }
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).map_err(cannot)?;
    }
    symlink(program, link).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use engine::queue::Urgency;

    use super::*;

    #[track_caller]
    fn check(worst: u8, interrupted: Option<Urgency>, ended_by: Option<u8>, expect: u8) {
        assert_eq!(exit_code(Outcome { worst, interrupted }, ended_by), ExitCode::from(expect));
    }

    #[test]
    fn exit_codes() {
        check(0, None, None, 0);
        check(255, None, None, 255);
        check(3, Some(Urgency::Stop), Some(2), 130);
        check(0, Some(Urgency::Kill), Some(2), 130);
        check(0, Some(Urgency::Leave), Some(15), 143);
        // All was done before the signal could end anything.
        check(3, None, Some(15), 3);
    }
}
