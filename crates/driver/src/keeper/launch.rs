//! Starting one job.

use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use model::{GpuIndex, GpuUuid, Launch, Pid};

use crate::keeper::setting::{Prepared, SettingError, Surroundings};
use crate::medium::PathError;
use crate::proc::{ATTEMPT_VARIABLE, DIR_VARIABLE, JOB_VARIABLE};
use crate::spawn::{Program, start};

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
        surroundings: &Surroundings,
    ) -> Result<Ready, StartError> {
        let prepared = Prepared::new(&launch, surroundings, self.variables(&launch))?;
        let path = self.dir.join(&log);
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, log_from) = open().map_err(PathError::of("open", &path))?;
        Ok(Ready { launch, log, log_from, file, prepared })
    }

    /// Starts the shell that runs a job, as the leader of its own session.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(&self, ready: &Ready, surroundings: &Surroundings) -> Result<Pid, StartError> {
        let Prepared { cwd, arguments, environment } = &ready.prepared;
        // Each time anew, so that no job can start in the directory of another.
        surroundings.enter(cwd.as_deref())?;
        let arguments: Vec<&CStr> = arguments.iter().map(CString::as_c_str).collect();
        let environment: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
        let path = arguments.first().copied().unwrap_or(c"/bin/sh");
        let stdio = [self.nothing.as_fd(), ready.file.as_fd(), ready.file.as_fd()];
        let started =
            start(&Program { path, arguments: &arguments, environment: &environment, stdio, close: &[] });
        let program = || PathBuf::from(path.to_string_lossy().into_owned());
        let pid = started.map_err(|source| StartError::Program { program: program(), source })?;
        if let Some(score) = &self.oom_score {
            // A kindness to the machine; a job runs as well without.
            let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        }
        Ok(pid)
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
    fn devices() {
        check(&[(0, "GPU-a")], "0");
        check(&[(0, "GPU-a"), (11, "GPU-b")], "0,11");
        check(&[(2, "MIG-c")], "MIG-c");
    }
}
