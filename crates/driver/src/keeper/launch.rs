//! Starting one job.

use std::ffi::{CStr, CString, NulError};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{GpuIndex, GpuUuid, JobNo, Launch, Pid};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::medium::PathError;
use crate::proc::{ATTEMPT_VARIABLE, DIR_VARIABLE, JOB_VARIABLE};
use crate::spawn::{Program, start};
use crate::wire::Text;

/// What the system takes in one argument (`MAX_ARG_STRLEN`), its end included.
const LONGEST_ARGUMENT: usize = 128 * 1024;

/// What jobs get as `oom_score_adj`, so that the system's memory killer takes a
/// job before it takes a keeper or a scheduler.
const OOM_SCORE: i32 = 500;

/// The variables a job gets from us; what the scheduler has there is not passed.
const OURS: [&str; 5] =
    ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", ATTEMPT_VARIABLE, JOB_VARIABLE, DIR_VARIABLE];

/// The name of a job's log: `job004_gpu0-1.log`, as in the Python tool.
pub fn log_name(no: JobNo, gpus: &[(GpuIndex, GpuUuid)]) -> String {
    format!("job{:03}_gpu{}.log", no.0, joined(gpus.iter().map(|(index, _)| index), '-'))
}

/// A job could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the command is too long: {0} bytes, and the system takes {most}", most = LONGEST_ARGUMENT - 1)]
    LongCommand(usize),
    #[error("the command holds a NUL byte")]
    Nul(#[from] NulError),
    #[error("cannot start /bin/sh: {}", crate::medium::words(.0))]
    Shell(#[source] io::Error),
}

/// What all jobs of one scheduler inherit. Not to be printed: it holds secrets.
pub(super) struct Surroundings {
    cwd: PathBuf,
    environment: Vec<CString>,
    umask: u32,
}

impl Surroundings {
    /// As a scheduler tells them.
    pub(super) fn new(cwd: &Text, variables: &[(Text, Text)], umask: u32) -> Self {
        let passed = |name: &[u8]| OURS.iter().all(|ours| ours.as_bytes() != name);
        let environment = variables
            .iter()
            .filter(|(name, _)| passed(name.as_bytes()))
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
            .collect();
        Self { cwd: cwd.as_os_str().into(), environment, umask }
    }

    /// Makes the working directory and the umask of this process theirs: jobs
    /// get both from it.
    ///
    /// # Errors
    /// When the directory can't be entered any more.
    pub(super) fn enter(&self) -> Result<(), PathError> {
        umask(Mode::from_raw_mode(self.umask));
        std::env::set_current_dir(&self.cwd).map_err(PathError::of("enter", &self.cwd))
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

    /// Opens a job's log, and tells its name and where this attempt's part
    /// begins in it, in bytes.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn open_log(&self, launch: &Launch) -> Result<(File, String, u64), PathError> {
        let name = log_name(launch.no, &launch.gpus);
        let path = self.dir.join(&name);
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, length) = open().map_err(PathError::of("open", &path))?;
        Ok((file, name, length))
    }

    /// Starts the shell that runs a job, as the leader of its own session.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn start(
        &self,
        launch: &Launch,
        log: &File,
        surroundings: &Surroundings,
    ) -> Result<Pid, StartError> {
        if launch.command.len() >= LONGEST_ARGUMENT {
            return Err(StartError::LongCommand(launch.command.len()));
        }
        let command = CString::new(launch.command.as_str())?;
        let ours = self.variables(launch)?;
        let environment: Vec<&CStr> =
            surroundings.environment.iter().chain(&ours).map(CString::as_c_str).collect();
        let pid = start(&Program {
            path: c"/bin/sh",
            arguments: &[c"/bin/sh", c"-c", &command],
            environment: &environment,
            stdio: [self.nothing.as_fd(), log.as_fd(), log.as_fd()],
            close: &[],
        })
        .map_err(StartError::Shell)?;
        if let Some(score) = &self.oom_score {
            // A kindness to the machine; a job runs as well without.
            let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        }
        Ok(pid)
    }

    fn variables(&self, launch: &Launch) -> Result<[CString; 5], NulError> {
        let variable = |name: &str, value: &[u8]| CString::new([name.as_bytes(), b"=", value].concat());
        Ok([
            variable("CUDA_VISIBLE_DEVICES", visible_devices(&launch.gpus).as_bytes())?,
            variable("CUDA_DEVICE_ORDER", b"PCI_BUS_ID")?,
            variable(ATTEMPT_VARIABLE, launch.attempt.to_string().as_bytes())?,
            variable(JOB_VARIABLE, launch.no.to_string().as_bytes())?,
            variable(DIR_VARIABLE, self.dir.as_os_str().as_bytes())?,
        ])
    }
}

/// Indices, as scripts expect; a MIG instance has none that CUDA knows.
fn visible_devices(gpus: &[(GpuIndex, GpuUuid)]) -> String {
    joined(
        gpus.iter().map(
            |(index, uuid)| {
                if uuid.0.starts_with("MIG-") { uuid.0.to_string() } else { index.to_string() }
            },
        ),
        ',',
    )
}

fn joined<T: ToString>(items: impl Iterator<Item = T>, separator: char) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(&separator.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gpus: &[(u16, &str)], devices: &str, log: &str) {
        let gpus: Vec<_> =
            gpus.iter().map(|(index, uuid)| (GpuIndex(*index), GpuUuid((*uuid).into()))).collect();
        assert_eq!(visible_devices(&gpus), devices);
        assert_eq!(log_name(JobNo(4), &gpus), log);
    }

    #[test]
    fn devices_and_log_names() {
        check(&[(0, "GPU-a")], "0", "job004_gpu0.log");
        check(&[(0, "GPU-a"), (11, "GPU-b")], "0,11", "job004_gpu0-11.log");
        check(&[(2, "MIG-c")], "MIG-c", "job004_gpu2.log");
        assert_eq!(log_name(JobNo(1234), &[(GpuIndex(1), GpuUuid("GPU-a".into()))]), "job1234_gpu1.log");
    }
}
