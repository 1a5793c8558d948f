//! Where environments lie.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::{CondaError, Kind};

/// Where installers put conda, mamba and micromamba if nobody says otherwise, in
/// the home directory. The last two are micromamba's, old and new.
const IN_HOME: [&str; 8] = [
    "miniconda3",
    "anaconda3",
    "miniforge3",
    "mambaforge",
    "mambaforge3",
    "miniconda",
    "micromamba",
    ".local/share/mamba",
];

/// The same for the whole machine.
const FOR_ALL: [&str; 6] = [
    "/opt/conda",
    "/opt/miniconda3",
    "/opt/anaconda3",
    "/opt/miniforge3",
    "/opt/mambaforge",
    "/opt/micromamba",
];

/// So many directories are named in an error: it is one line.
const MOST_NAMED: usize = 4;

/// What there is of conda on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// The installations, in the order in which they are looked in.
    pub roots: Vec<PathBuf>,
    /// All environments, those of the installations themselves included, by
    /// path. One that links lead to is one.
    pub environments: BTreeSet<PathBuf>,
}

/// Looks for installations of conda and their environments, in the places that
/// [`super::resolve`] looks in. What can't be read is left out.
pub fn installed(variable: &dyn Fn(&str) -> Option<OsString>) -> Installed {
    let places = Places::of(variable);
    let roots: Vec<PathBuf> = places.roots().cloned().collect();
    let inside = places.dirs().into_iter().flat_map(|dir| {
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    });
    let all = inside.chain(places.registered).chain(roots.iter().cloned());
    let environments = all.filter(|path| Kind::of(path).is_some()).map(resolved).collect();
    Installed { roots, environments }
}

/// The base environment of the installation that comes first.
pub(super) fn base(name: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, CondaError> {
    let places = Places::of(variable);
    let base = places.roots().find(|root| Kind::of(root).is_some());
    base.cloned().ok_or_else(|| CondaError::NoBase { name: name.to_owned() })
}

/// The environment of this name.
pub(super) fn named(name: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, CondaError> {
    let places = Places::of(variable);
    let in_any =
        |dirs: &[PathBuf]| dirs.iter().map(|dir| dir.join(name)).find(|path| Kind::of(path).is_some());
    if let Some(path) = in_any(&places.first) {
        return Ok(path);
    }
    let mut registered = places.registered.iter().filter(|path| path.ends_with(name));
    match (registered.next(), registered.find(|_| true)) {
        (Some(path), None) => return Ok(path.clone()),
        (Some(one), Some(other)) => {
            let paths = (one.clone(), other.clone());
            return Err(CondaError::Ambiguous { name: name.to_owned(), paths });
        }
        (None, _) => {}
    }
    if let Some(path) = in_any(&places.last) {
        return Ok(path);
    }
    let dirs = places.dirs();
    match dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_dir()) {
        // It lies where it should, so this is what was meant.
        Some(path) => Err(CondaError::Neither { path }),
        None => Err(CondaError::Unknown { name: name.to_owned(), looked: dirs }),
    }
}

/// Where was looked, in words.
pub(super) fn looked_in(dirs: &[PathBuf]) -> String {
    if dirs.is_empty() {
        return "found no conda installation by CONDA_EXE, MAMBA_ROOT_PREFIX, CONDA_PREFIX, PATH, in ~ or /opt"
            .to_owned();
    }
    let names: Vec<String> = dirs.iter().take(MOST_NAMED).map(|dir| dir.display().to_string()).collect();
    let more = dirs.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("looked in {}{more}", names.join(", "))
}

/// Whether this is the environment of an installation itself.
pub(super) fn is_root(prefix: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let prefix = resolved(prefix.to_owned());
    Places::of(variable).roots().any(|root| resolved(root.clone()) == prefix)
}

/// Whether it lies where named environments do.
pub(super) fn lies_in_envs(prefix: &Path) -> bool {
    prefix.parent().is_some_and(|dir| dir.ends_with("envs"))
}

/// The home directory, where it is known.
pub(super) fn home(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// Where the shell would find a program.
pub(super) fn on_path(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// All places, in the order in which they are looked in.
struct Places {
    roots_told: Vec<PathBuf>,
    roots_usual: Vec<PathBuf>,
    /// Directories of environments that somebody has told us of.
    first: Vec<PathBuf>,
    /// Environments that conda has noted down, and that are there.
    registered: Vec<PathBuf>,
    /// Directories where environments usually are.
    last: Vec<PathBuf>,
}

impl Places {
    fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let home = home(variable);
        let roots_told = roots_told(variable);
        let mut roots_usual = roots_usual(home.as_deref(), variable("PATH").as_deref());
        roots_usual.retain(|root| !roots_told.contains(root));
        let listed = ["CONDA_ENVS_DIRS", "CONDA_ENVS_PATH"].into_iter().filter_map(variable);
        let listed = listed.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>());
        let listed = listed.map(|dir| match (dir.strip_prefix("~"), &home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => dir,
        });
        let listed = listed.filter(|dir| dir.is_absolute());
        let first = distinct(listed.chain(roots_told.iter().map(|root| root.join("envs"))));
        let own = home.iter().map(|home| home.join(".conda/envs"));
        let mut last = distinct(own.chain(roots_usual.iter().map(|root| root.join("envs"))));
        last.retain(|dir| !first.contains(dir));
        let registered = home.as_deref().map(registered).unwrap_or_default();
        Self { roots_told, roots_usual, first, registered, last }
    }

    fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.roots_told.iter().chain(&self.roots_usual)
    }

    /// The directories of environments that are there.
    fn dirs(&self) -> Vec<PathBuf> {
        self.first.iter().chain(&self.last).filter(|dir| dir.is_dir()).cloned().collect()
    }
}

/// The installations that the environment tells of.
fn roots_told(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let told = [
        path("CONDA_EXE").and_then(|exe| root_of_program(&exe)),
        path("MAMBA_ROOT_PREFIX"),
        path("CONDA_PREFIX").map(root_of_environment),
        path("CONDA_ROOT"),
        path("MAMBA_EXE").and_then(|exe| root_of_program(&exe)),
    ];
    distinct(told.into_iter().flatten().filter(|root| looks_like_root(root)))
}

/// The installations that are where installers put them, or whose program is
/// found.
fn roots_usual(home: Option<&Path>, path: Option<&OsStr>) -> Vec<PathBuf> {
    let in_home = home.into_iter().flat_map(|home| IN_HOME.map(|name| home.join(name)));
    let programs = ["conda", "mamba"].into_iter().filter_map(|program| on_path(program, path));
    let by_program = programs.filter_map(|program| root_of_program(&program));
    let all = in_home.chain(FOR_ALL.map(PathBuf::from)).chain(by_program);
    distinct(all.filter(|root| looks_like_root(root)))
}

/// Of `ROOT/bin/conda` or `ROOT/condabin/conda`, or a link to it.
fn root_of_program(program: &Path) -> Option<PathBuf> {
    let of = |path: &Path| Some(root_of_environment(path.parent()?.parent()?.to_owned()));
    let plain = of(program).filter(|root| looks_like_root(root));
    plain.or_else(|| of(&program.canonicalize().ok()?))
}

/// Of `ROOT/envs/NAME`, or of the root itself.
fn root_of_environment(prefix: PathBuf) -> PathBuf {
    let root = prefix.parent().and_then(Path::parent).filter(|_| lies_in_envs(&prefix));
    root.map(Path::to_owned).unwrap_or(prefix)
}

/// Whether an installation lies there, and not just an environment. One of
/// micromamba has no base before somebody installs into it.
fn looks_like_root(dir: &Path) -> bool {
    let has = |name| dir.join(name).exists();
    let is_environment = Kind::of(dir) == Some(Kind::Conda);
    is_environment && (has("condabin") || has("bin/conda") || has("envs")) || has("envs") && has("pkgs")
}

/// The environments that conda has noted down in a home directory, and that are
/// still there.
fn registered(home: &Path) -> Vec<PathBuf> {
    let text = fs::read(home.join(".conda/environments.txt")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let paths = text.lines().map(|line| PathBuf::from(line.trim())).filter(|path| path.is_absolute());
    distinct(paths.filter(|path| Kind::of(path).is_some()))
}

fn resolved(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

/// Each once, where it comes first.
fn distinct(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    paths.into_iter().filter(|path| seen.insert(path.clone())).collect()
}
