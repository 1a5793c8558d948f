//! Python environments by name or place: what a process has to be started with
//! to be in one.
//!
//! Neither conda nor its shell functions are run. `conda run` would stand
//! between us and the job, with a pid of its own and a second for each start,
//! and needs a conda that works. What an activation does is written down in its
//! source (`conda/activate.py`, `conda/base/context.py`) and in that of Python's
//! `venv` (`scripts/common/activate`), and is little:
//!
//! - a few variables, among them those of `conda-meta/state`;
//! - `bin` of the environment first on `PATH`;
//! - the scripts in `etc/conda/activate.d`, which packages bring along.
//!
//! What is left out: the prompt's look, and the `deactivate.d` of an environment
//! the scheduler itself was started in. The `bin` of that one stays on `PATH`,
//! behind the new one. The `envs_dirs` of a `.condarc` are not read: conda notes
//! each environment it makes in `~/.conda/environments.txt`, and that is.

mod find;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::medium::PathError;

pub use find::{Installed, installed};

/// What `conda-meta` in a directory says of it.
const CONDA_MARK: &str = "conda-meta";

/// What this file in a directory says of it (PEP 405).
const VENV_MARK: &str = "pyvenv.cfg";

/// Sources the scripts and becomes the shell of the job.
///
/// `$1` is the command, the others are scripts. Each is sourced in a function,
/// so that one which says `set --` changes that function's words and not ours;
/// `|| :` is for one that says `set -e`. Where one ends the shell all the same
/// (`exit`, a syntax error in a plain shell), the trap still runs the command,
/// without the scripts that were to follow.
const SOURCE_AND_BECOME: &str = r#"
_gpusched_command=$1
shift
_gpusched_become() { trap - EXIT; exec /bin/sh -c "$_gpusched_command"; }
_gpusched_source() { . "$1"; }
trap _gpusched_become EXIT
for _gpusched_script do _gpusched_source "$_gpusched_script" || :; done
_gpusched_become
"#;

/// What the environment of a process has to be changed by: first unset, then
/// set, then put directories first on `PATH`, then source the scripts
/// ([`shell_for`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// The directory of the Python environment, absolute.
    pub prefix: PathBuf,
    /// Variables to set. None of them is `PATH`, but for an environment whose
    /// own settings say so.
    pub set: Vec<(OsString, OsString)>,
    /// Variables to unset; none of those to set.
    pub unset: Vec<OsString>,
    /// What comes first on `PATH`, in this order.
    pub path_first: Vec<PathBuf>,
    /// Shell scripts to source, in this order.
    pub scripts: Vec<PathBuf>,
}

/// A Python environment can't be found or used.
#[derive(Debug, thiserror::Error)]
pub enum CondaError {
    /// Nothing was asked for.
    #[error("the name of the conda environment is empty; see conda env list")]
    Empty,
    /// No environment has this name.
    #[error(
        "there is no conda environment '{name}' ({}); see conda env list, or give the path of its directory",
        find::looked_in(looked)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The directories looked in.
        looked: Vec<PathBuf>,
    },
    /// There is no installation whose base could be meant.
    #[error(
        "there is no conda environment '{name}': {}; give the path of its directory",
        find::looked_in(&[])
    )]
    NoBase {
        /// What was asked for: `base` or `root`.
        name: String,
    },
    /// More than one environment has this name.
    #[error(
        "'{name}' may be the conda environment {} or {}; give the path of the one that is meant",
        .paths.0.display(), .paths.1.display()
    )]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Two of them.
        paths: (PathBuf, PathBuf),
    },
    /// There is no such directory.
    #[error("there is no directory {} for a conda environment; see conda env list", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds no environment.
    #[error(
        "{} has neither {CONDA_MARK} nor {VENV_MARK}: it is no conda environment and no venv; see conda env list",
        .path.display()
    )]
    Neither {
        /// The directory.
        path: PathBuf,
    },
    /// The environment is a venv without a Python.
    #[error(
        "{} is a venv whose bin/python is missing or leads nowhere; make it anew with python3 -m venv",
        .path.display()
    )]
    NoPython {
        /// The directory.
        path: PathBuf,
    },
    /// The home directory that was asked for is not known.
    #[error("cannot tell where '{wanted}' is: {why}; give the path from / on")]
    NoHome {
        /// What was asked for.
        wanted: String,
        /// Why not.
        why: &'static str,
    },
    /// A file of the environment can't be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file with the variables of the environment makes no sense.
    #[error("cannot use {}: {why}; conda env config vars list shows what it should hold", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Finds a Python environment, and tells what a process in it must be started
/// with.
///
/// What is `wanted` is a directory, from `cwd` on, where it has a `/` or begins
/// with `~` or `.`; else the name of a conda environment, `base` and `root`
/// being that of the installation itself. `variable` reads the environment of
/// the scheduler.
///
/// # Errors
/// When there is none, or it can't be used; the text says where was looked, and
/// what to do.
pub fn resolve(
    wanted: &str,
    variable: &dyn Fn(&str) -> Option<OsString>,
    cwd: &Path,
) -> Result<Activation, CondaError> {
    let is_path = wanted.contains('/') || wanted.starts_with(['~', '.']);
    let prefix = match wanted {
        "" => return Err(CondaError::Empty),
        "base" | "root" => find::base(wanted, variable)?,
        _ if is_path => directory(wanted, variable, cwd)?,
        _ => find::named(wanted, variable)?,
    };
    match Kind::of(&prefix) {
        Some(Kind::Conda) => conda(prefix, variable),
        Some(Kind::Venv) => venv(prefix, variable),
        None if prefix.is_dir() => Err(CondaError::Neither { path: prefix }),
        None => Err(CondaError::Missing { path: prefix }),
    }
}

/// The shell that runs a command, as its words, the first being its path: one
/// that sources the scripts and then becomes `/bin/sh -c command`, with the same
/// pid. A script that fails does not keep it from that.
///
/// It is bash where there is one, since many scripts of packages are written for
/// it, and nobody has to wait for a second shell where there are no scripts.
pub fn shell_for(command: &str, scripts: &[PathBuf]) -> Vec<OsString> {
    if scripts.is_empty() {
        return ["/bin/sh", "-c", command].map(OsString::from).into();
    }
    let shell = bash().unwrap_or_else(|| "/bin/sh".into()).into_os_string();
    let mut words = vec![shell.clone(), "-c".into(), SOURCE_AND_BECOME.into(), shell, command.into()];
    words.extend(scripts.iter().map(|script| script.clone().into_os_string()));
    words
}

fn bash() -> Option<PathBuf> {
    let usual = PathBuf::from("/bin/bash");
    if usual.exists() { Some(usual) } else { find::on_path("bash", std::env::var_os("PATH").as_deref()) }
}

/// What kind of environment a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Conda,
    Venv,
}

impl Kind {
    fn of(dir: &Path) -> Option<Self> {
        if dir.join(CONDA_MARK).is_dir() {
            Some(Self::Conda)
        } else {
            dir.join(VENV_MARK).is_file().then_some(Self::Venv)
        }
    }
}

/// The directory a path leads to, without asking whether it is there.
fn directory(
    wanted: &str,
    variable: &dyn Fn(&str) -> Option<OsString>,
    cwd: &Path,
) -> Result<PathBuf, CondaError> {
    let unknown = |why| CondaError::NoHome { wanted: wanted.to_owned(), why };
    let path = match wanted.strip_prefix('~') {
        None => cwd.join(wanted),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = find::home(variable).ok_or_else(|| unknown("HOME is not set"))?;
            home.join(rest.trim_start_matches('/'))
        }
        Some(_) => return Err(unknown("homes of others are not looked up")),
    };
    // Beyond a link, `..` is elsewhere than it reads.
    if path.components().any(|part| part == Component::ParentDir) {
        return Ok(path.canonicalize().unwrap_or(path));
    }
    Ok(path.components().collect())
}

fn conda(prefix: PathBuf, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Activation, CondaError> {
    let name = conda_name(&prefix, variable);
    let mut prompt = OsString::from("(");
    prompt.push(&name);
    prompt.push(") ");
    let mut set = BTreeMap::from([
        ("CONDA_PREFIX".into(), prefix.clone().into_os_string()),
        ("CONDA_DEFAULT_ENV".into(), name),
        ("CONDA_SHLVL".into(), "1".into()),
        ("CONDA_PROMPT_MODIFIER".into(), prompt),
    ]);
    set.extend(state::variables(&prefix)?);
    let others = ["VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"].map(OsString::from);
    let outer = outer_conda(variable).into_iter().chain(others);
    let scripts = scripts(&prefix)?;
    Ok(Activation { scripts, ..activation(prefix, set, outer) })
}

fn venv(prefix: PathBuf, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Activation, CondaError> {
    if !prefix.join("bin/python").exists() {
        return Err(CondaError::NoPython { path: prefix });
    }
    let set = BTreeMap::from([("VIRTUAL_ENV".into(), prefix.clone().into_os_string())]);
    // An environment is named so that this one is used, and some tools go by
    // CONDA_PREFIX before they look at VIRTUAL_ENV.
    let others = [
        "PYTHONHOME",
        "VIRTUAL_ENV_PROMPT",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "CONDA_SHLVL",
        "CONDA_PROMPT_MODIFIER",
    ];
    let outer = outer_conda(variable).into_iter().chain(others.map(OsString::from));
    Ok(activation(prefix, set, outer))
}

/// One without scripts, and without what the outer environment has set.
fn activation(
    prefix: PathBuf,
    set: BTreeMap<OsString, OsString>,
    outer: impl Iterator<Item = OsString>,
) -> Activation {
    let unset = outer.filter(|name| !set.contains_key(name)).collect();
    let path_first = vec![prefix.join("bin")];
    Activation { prefix, set: set.into_iter().collect(), unset, path_first, scripts: Vec::new() }
}

/// What conda calls an environment: by its name where it lies in a directory
/// `envs`, else by its path.
fn conda_name(prefix: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> OsString {
    if find::is_root(prefix, variable) {
        return "base".into();
    }
    match (find::lies_in_envs(prefix), prefix.file_name()) {
        (true, Some(name)) => name.to_owned(),
        _ => prefix.as_os_str().to_owned(),
    }
}

/// Variables that an environment the scheduler was started in has set, besides
/// those that every environment sets.
fn outer_conda(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<OsString> {
    let level = variable("CONDA_SHLVL").and_then(|level| level.to_str()?.trim().parse().ok()).unwrap_or(0_u8);
    let numbered =
        (1..=level).flat_map(|level| [format!("CONDA_PREFIX_{level}"), format!("CONDA_STACKED_{level}")]);
    let prefix = variable("CONDA_PREFIX").map(PathBuf::from);
    // That the outer one is damaged does not matter to who leaves it.
    let told = prefix.and_then(|prefix| state::variables(&prefix).ok()).unwrap_or_default();
    numbered.map(OsString::from).chain(told.into_keys()).collect()
}

/// The scripts that packages have put into an environment, by name.
fn scripts(prefix: &Path) -> Result<Vec<PathBuf>, CondaError> {
    listed(&prefix.join("etc/conda/activate.d"), "sh")
}

/// The files of a directory whose names end so, by name; none where there is no
/// such directory. Hidden ones are left out, as by the shell's `*`.
fn listed(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, CondaError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::of("read", dir)(error).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(PathError::of("read", dir))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|its| its == extension) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
