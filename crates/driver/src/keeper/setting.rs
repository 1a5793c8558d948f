//! What a job is started with: its directory, its words and its environment,
//! worked out and checked before anything is started.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::{Launch, Setting};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::conda::{self, Activation, CondaError};
use crate::medium::PathError;
use crate::proc::{ATTEMPT_VARIABLE, DIR_VARIABLE, JOB_VARIABLE};
use crate::seat::session::OF_TERMINALS;
use crate::wire::Text;

/// What the system takes in one argument (`MAX_ARG_STRLEN`), its end included.
const LONGEST_ARGUMENT: usize = 128 * 1024;

/// The variables a job gets from us, whatever it inherits or its line says.
const OURS: [&str; 5] =
    ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", ATTEMPT_VARIABLE, JOB_VARIABLE, DIR_VARIABLE];

/// Where a shell looks that was given no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A job can't be started with what it asks for.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingError {
    #[error("the command is too long: {0} bytes, and the system takes {most}", most = LONGEST_ARGUMENT - 1)]
    LongCommand(usize),
    #[error("the command holds a NUL byte")]
    Nul(#[from] NulError),
    #[error("the directory '{wanted}' is not there{}", Looked(wanted, base))]
    NoDirectory { wanted: Box<str>, base: PathBuf },
    #[error("the script '{wanted}' is not there{}", Looked(wanted, base))]
    NoScript { wanted: Box<str>, base: PathBuf },
    #[error("there is neither python nor python3 on PATH; install one, or name an environment with conda=")]
    NoPython,
    #[error(transparent)]
    Environment(#[from] CondaError),
}

/// Where a path was looked for, and what to do about it.
#[derive(Debug)]
struct Looked<'a>(&'a str, &'a Path);

impl std::fmt::Display for Looked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if Path::new(self.0).is_absolute() {
            f.write_str("; correct its path")
        } else {
            write!(f, " (looked in {}); use an absolute path", self.1.display())
        }
    }
}

/// What all jobs of one scheduler inherit. Not to be printed: it holds secrets.
pub(super) struct Surroundings {
    pub(super) cwd: PathBuf,
    pub(super) variables: BTreeMap<OsString, OsString>,
    pub(super) umask: u32,
}

impl Surroundings {
    /// As a scheduler tells them.
    pub(super) fn new(cwd: &Text, variables: &[(Text, Text)], umask: u32) -> Self {
        let variables =
            variables.iter().map(|(name, value)| (name.as_os_str().to_owned(), value.as_os_str().to_owned()));
        Self { cwd: cwd.as_os_str().into(), variables: variables.collect(), umask }
    }

    /// Makes the umask of the scheduler and its directory, or the one a job asks
    /// for, those of this process: a job gets both from it.
    ///
    /// # Errors
    /// When the directory can't be entered.
    pub(super) fn enter(&self, cwd: Option<&Path>) -> Result<(), PathError> {
        umask(Mode::from_raw_mode(self.umask));
        let cwd = cwd.unwrap_or(&self.cwd);
        env::set_current_dir(cwd).map_err(PathError::of("enter", cwd))
    }

    /// What screen and tmux inherit: nothing by which they could be taken for
    /// the job.
    pub(super) fn for_sessions(&self) -> Vec<CString> {
        let mut variables = self.variables.clone();
        variables.retain(|name, _| {
            // A session is started for no terminal; that of its user comes later.
            OURS.iter().all(|ours| name != ours) && OF_TERMINALS.iter().all(|its| name != its)
        });
        variables.insert("TERM".into(), "xterm-256color".into());
        pairs(&variables)
    }

    /// Where a program lies that is looked for by its name.
    pub(super) fn find_program(&self, name: &str) -> Option<PathBuf> {
        find_program(name, path_of(&self.variables), &self.cwd)
    }
}

/// All that a job is started with. Not to be printed: it holds secrets.
pub(super) struct Prepared {
    /// Its directory, where that is not the scheduler's.
    pub(super) cwd: Option<PathBuf>,
    /// The program that runs its command, and that program's arguments.
    pub(super) arguments: Vec<CString>,
    /// Its environment as `NAME=value`.
    pub(super) environment: Vec<CString>,
}

impl Prepared {
    /// What a launch comes to; `ours` are the variables it gets from us. In a
    /// session it inherits nothing that is about another terminal.
    ///
    /// # Errors
    /// When something it asks for is not there.
    pub(super) fn new(
        launch: &Launch,
        surroundings: &Surroundings,
        in_session: bool,
        ours: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Result<Self, SettingError> {
        if launch.command.len() >= LONGEST_ARGUMENT {
            return Err(SettingError::LongCommand(launch.command.len()));
        }
        let setting = &launch.setting;
        let cwd = directory(setting, &surroundings.cwd)?;
        let base = cwd.as_deref().unwrap_or(&surroundings.cwd);
        find_script(setting, base)?;
        let mut variables = surroundings.variables.clone();
        if in_session {
            variables.retain(|name, _| OF_TERMINALS.iter().all(|its| name != its));
        }
        let scripts = activate(setting, surroundings, base, &mut variables)?;
        let command = with_python(launch, &variables, base)?;
        variables.retain(|name, _| OURS.iter().all(|ours| name != ours));
        variables.extend(ours.into_iter().map(|(name, value)| (name.into(), value)));
        let words = conda::shell_for(&command, &scripts);
        let arguments = words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
        Ok(Self { cwd, arguments, environment: pairs(&variables) })
    }
}

/// Adds the variables of the Python environment a job asks for, and its own; what
/// is left of the activation are scripts to source.
fn activate(
    setting: &Setting,
    surroundings: &Surroundings,
    base: &Path,
    variables: &mut BTreeMap<OsString, OsString>,
) -> Result<Vec<PathBuf>, SettingError> {
    let variable = |name: &str| surroundings.variables.get(OsStr::new(name)).cloned();
    let activation = setting.conda.as_ref().map(|wanted| conda::resolve(wanted, &variable, base));
    let activation = activation.transpose()?;
    if let Some(activation) = &activation {
        variables.retain(|name, _| !activation.unset.contains(name));
        variables.extend(activation.set.iter().cloned());
    }
    // What is said of this very job counts more than what an environment says.
    variables.extend(setting.env.iter().map(|(name, value)| ((**name).into(), (**value).into())));
    let Some(Activation { path_first, scripts, .. }) = activation else { return Ok(Vec::new()) };
    let mut path = OsString::new();
    for dir in path_first {
        path.push(dir);
        path.push(":");
    }
    path.push(path_of(variables));
    variables.insert("PATH".into(), path);
    Ok(scripts)
}

/// The directory a job asks for.
fn directory(setting: &Setting, base: &Path) -> Result<Option<PathBuf>, SettingError> {
    let Some(wanted) = &setting.cwd else { return Ok(None) };
    let path = base.join(&**wanted);
    if path.is_dir() {
        return Ok(Some(path));
    }
    Err(SettingError::NoDirectory { wanted: wanted.clone(), base: base.into() })
}

/// Makes sure of the script a job runs: the interpreter's complaint would come
/// only after the GPUs were taken, and in a log nobody may read.
fn find_script(setting: &Setting, base: &Path) -> Result<(), SettingError> {
    match &setting.script {
        Some(wanted) if !base.join(&**wanted).is_file() => {
            Err(SettingError::NoScript { wanted: wanted.clone(), base: base.into() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The command, with `python3` in place of `python` where a script of its own is
/// run and only that is there.
fn with_python(
    launch: &Launch,
    variables: &BTreeMap<OsString, OsString>,
    cwd: &Path,
) -> Result<String, SettingError> {
    let command = &launch.command;
    let rest = command.strip_prefix("python ").filter(|_| launch.setting.script.is_some());
    let Some(rest) = rest else { return Ok(command.clone()) };
    let path = path_of(variables);
    if find_program("python", path, cwd).is_some() {
        Ok(command.clone())
    } else if find_program("python3", path, cwd).is_some() {
        Ok(format!("python3 {rest}"))
    } else {
        Err(SettingError::NoPython)
    }
}

fn path_of(variables: &BTreeMap<OsString, OsString>) -> &OsStr {
    variables.get(OsStr::new("PATH")).map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str)
}

/// Where a program lies that is started by its name.
fn find_program(name: &str, path: &OsStr, cwd: &Path) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path).map(|dir| cwd.join(dir).join(name)).find(is_program)
}

/// As the system takes them; one with a NUL byte can't be passed on.
fn pairs(variables: &BTreeMap<OsString, OsString>) -> Vec<CString> {
    let pair = |(name, value): (&OsString, &OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    variables.iter().filter_map(pair).collect()
}
