//! Starting one job.

use std::ffi::{CStr, CString, NulError, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::{AttemptId, GpuIndex, GpuUuid, Launch, Pid};

use crate::host::own_program;
use crate::keeper::setting::{Prepared, SettingError, Surroundings};
use crate::medium::PathError;
use crate::proc::{ATTEMPT_VARIABLE, DIR_VARIABLE, JOB_VARIABLE};
use crate::seat::SeatKind;
use crate::seat::files::{self, Files, Order};
use crate::seat::session::{Session, free_name, write_settings};
use crate::spawn::{Program, Stdio, start};
use crate::wire::{SeatOrder, Text};

/// What jobs get as `oom_score_adj`, so that the system's memory killer takes a
/// job before it takes a keeper or a scheduler.
const OOM_SCORE: i32 = 500;

/// A job could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("{program} is not on PATH; apt-get install {program}, or run without {flag}")]
    NoProgram { program: &'static str, flag: &'static str },
    #[error(transparent)]
    Nul(#[from] NulError),
    #[error("cannot start {}: {}", program.display(), crate::medium::words(source))]
    Program {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A job that can be started: all it needs was there a moment ago.
pub(super) struct Ready {
    pub(super) launch: Launch,
    /// The name of its log.
    pub(super) log: String,
    /// Where its part begins in that, in bytes.
    pub(super) log_from: u64,
    file: File,
    prepared: Prepared,
    seat: Option<Seat>,
}

/// The session a job runs in.
struct Seat {
    order: SeatOrder,
    /// Where the program of screen or tmux lies.
    program: PathBuf,
}

impl Ready {
    /// What the session it runs in is one of, if it does.
    pub(super) fn session(&self) -> Option<SeatKind> {
        self.seat.as_ref().map(|seat| seat.order.kind)
    }
}

/// Starts jobs.
#[derive(Debug)]
pub(super) struct Starter {
    dir: PathBuf,
    nothing: File,
    oom_score: Option<String>,
}

impl Starter {
    /// One whose jobs log to files in `dir`, an absolute path.
    ///
    /// # Errors
    /// When there is no `/dev/null`.
    pub(super) fn new(dir: &Path) -> Result<Self, PathError> {
        let null = Path::new("/dev/null");
        let nothing = File::open(null).map_err(PathError::of("open", null))?;
        let ours =
            fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|own| own.trim().parse().ok());
        let oom_score = ours.is_some_and(|own: i32| own < OOM_SCORE).then(|| OOM_SCORE.to_string());
        Ok(Self { dir: dir.into(), nothing, oom_score })
    }

    /// Sees to all that a job needs before it can be started. Nothing is left
    /// behind when that fails, its log included.
    ///
    /// # Errors
    /// When something is not there, or its log can't be opened.
    pub(super) fn prepare(
        &self,
        launch: Launch,
        log: String,
        seat: Option<SeatOrder>,
        surroundings: &Surroundings,
    ) -> Result<Ready, StartError> {
        let seat = seat.map(|order| Seat::find(order, surroundings)).transpose()?;
        let prepared = Prepared::new(&launch, surroundings, seat.is_some(), self.variables(&launch))?;
        let path = self.dir.join(&log);
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, log_from) = open().map_err(PathError::of("open", &path))?;
        Ok(Ready { launch, log, log_from, file, prepared, seat })
    }

    /// Starts the shell that runs a job, as the leader of its own session; or
    /// screen or tmux, in which that will be started.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(&self, ready: &Ready, surroundings: &Surroundings) -> Result<Pid, StartError> {
        match &ready.seat {
            Some(seat) => self.start_session(ready, seat, surroundings),
            None => self.start_job(ready, surroundings),
        }
    }

    fn start_job(&self, ready: &Ready, surroundings: &Surroundings) -> Result<Pid, StartError> {
        let Prepared { cwd, arguments, environment } = &ready.prepared;
        // Each time anew, so that no job can start in the directory of another.
        surroundings.enter(cwd.as_deref())?;
        let arguments: Vec<&CStr> = arguments.iter().map(CString::as_c_str).collect();
        let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
        let path = arguments.first().copied().unwrap_or(c"/bin/sh");
        let stdio = [self.nothing.as_fd(), ready.file.as_fd(), ready.file.as_fd()];
        let pid = start_program(path, &arguments, &environment, stdio)?;
        if let Some(score) = &self.oom_score {
            // A kindness to the machine; a job runs as well without.
            let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        }
        Ok(pid)
    }

    /// Starts screen or tmux. The order is there before anybody can look for it.
    fn start_session(
        &self,
        ready: &Ready,
        seat: &Seat,
        surroundings: &Surroundings,
    ) -> Result<Pid, StartError> {
        surroundings.enter(None)?;
        let kind = seat.order.kind;
        let attempt = ready.launch.attempt;
        let wanted = name_of(&seat.order.session, attempt);
        let name = free_name(kind, &wanted, &surroundings.variables);
        let files = Files::new(&self.dir, attempt);
        files.place(&self.order(ready, kind, &name, surroundings))?;
        let start = || {
            write_settings(&self.dir)?;
            let (program, log_dir) = (&*seat.program, &*self.dir);
            let seat = own_path();
            let words = Session { kind, program, name: &name, seat: &seat, log_dir, attempt }.words()?;
            let words: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
            let environment = surroundings.for_sessions();
            let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
            let path = words.first().copied().unwrap_or_default();
            let last_words = files.words()?;
            start_program(
                path,
                &words,
                &environment,
                [self.nothing.as_fd(), last_words.as_fd(), last_words.as_fd()],
            )
        };
        start().inspect_err(|_| drop(files.clear()))
    }

    fn order(&self, ready: &Ready, kind: SeatKind, session: &str, surroundings: &Surroundings) -> Order {
        let Prepared { cwd, arguments, environment } = &ready.prepared;
        let text = |text: &CString| Text::from(OsString::from_vec(text.as_bytes().to_vec()));
        Order {
            version: files::VERSION,
            no: ready.launch.no,
            kind,
            session: session.to_owned(),
            log: ready.log.clone(),
            umask: surroundings.umask,
            cwd: Text::from(OsString::from(cwd.as_ref().unwrap_or(&surroundings.cwd))),
            arguments: arguments.iter().map(text).collect(),
            environment: environment.iter().map(text).collect(),
            oom_score: self.oom_score.clone(),
        }
    }

    fn variables(&self, launch: &Launch) -> [(&'static str, OsString); 5] {
        [
            ("CUDA_VISIBLE_DEVICES", visible_devices(&launch.gpus).into()),
            ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".into()),
            (ATTEMPT_VARIABLE, launch.attempt.to_string().into()),
            (JOB_VARIABLE, launch.no.to_string().into()),
            (DIR_VARIABLE, self.dir.as_os_str().into()),
        ]
    }
}

impl Seat {
    fn find(order: SeatOrder, surroundings: &Surroundings) -> Result<Self, StartError> {
        let (program, flag) = match order.kind {
            SeatKind::Screen => (order.kind.program(), "--screen"),
            SeatKind::Tmux => (order.kind.program(), "--session"),
        };
        let found = surroundings.find_program(program);
        let program = found.ok_or(StartError::NoProgram { program, flag })?;
        Ok(Self { order, program })
    }
}

/// What the session of an attempt is to be called. That of an earlier one may just
/// be coming up, with nobody to be found there yet, or going away.
fn name_of(session: &str, attempt: AttemptId) -> String {
    match attempt.attempt {
        0 | 1 => session.to_owned(),
        later => format!("{session}_{later}"),
    }
}

fn start_program(
    path: &CStr,
    arguments: &[&CStr],
    environment: &[&CStr],
    stdio: [BorrowedFd<'_>; 3],
) -> Result<Pid, StartError> {
    let stdio = Stdio::Files(stdio);
    start(&Program { path, arguments, environment, stdio, close: &[] }).map_err(|source| {
        let program = PathBuf::from(OsString::from_vec(path.to_bytes().to_vec()));
        StartError::Program { program, source }
    })
}

/// A path of this very program. What lies where it lay may be another version by
/// now; it is there as long as this process is.
fn own_path() -> PathBuf {
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let same = |path: &PathBuf| {
        let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
        identity(path).is_some_and(|found| Some(found) == identity(&own))
    };
    own_program().ok().filter(same).unwrap_or(own)
}

/// Indices, as scripts expect; a MIG instance has none that CUDA knows.
fn visible_devices(gpus: &[(GpuIndex, GpuUuid)]) -> String {
    let name = |(index, uuid): &(GpuIndex, GpuUuid)| {
        if uuid.0.starts_with("MIG-") { uuid.0.to_string() } else { index.to_string() }
    };
    gpus.iter().map(name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gpus: &[(u16, &str)], devices: &str) {
        let gpus: Vec<_> =
            gpus.iter().map(|(index, uuid)| (GpuIndex(*index), GpuUuid((*uuid).into()))).collect();
        assert_eq!(visible_devices(&gpus), devices);
    }

    #[test]
    fn each_attempt_has_a_session_of_its_own() {
        let attempt = |attempt: &str| attempt.parse().unwrap();
        assert_eq!(name_of("gpujob_0_x_4", attempt("3f9a1c20b7de#0/1")), "gpujob_0_x_4");
        assert_eq!(name_of("gpujob_0_x_4", attempt("3f9a1c20b7de#0/2")), "gpujob_0_x_4_2");
    }

    #[test]
    fn devices() {
        check(&[(0, "GPU-a")], "0");
        check(&[(0, "GPU-a"), (11, "GPU-b")], "0,11");
        check(&[(2, "MIG-c")], "MIG-c");
    }
}
