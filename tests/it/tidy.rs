//! What the workspace promises of its own shape: which crate may know which,
//! what stays pure, how long a file may be, what the documents must say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates of this workspace each library crate may depend on.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("journal", &[]),
    ("jobspec", &["model"]),
    ("allocation", &["model"]),
    ("policy", &["model"]),
    ("engine", &["model", "jobspec", "allocation", "policy"]),
    ("backend", &["model"]),
    ("backend-nvsmi", &["backend", "model"]),
    ("backend-sim", &["backend", "engine", "allocation", "jobspec", "journal", "model"]),
    ("backend-slurm", &["backend", "model"]),
    ("driver", &["backend", "engine", "jobspec", "journal", "model"]),
];

/// Crates that do no I/O and read no clock.
const PURE: &[&str] = &["model", "jobspec", "allocation", "policy", "journal", "engine"];

/// Crates from outside that are as pure.
const PURE_OUTSIDE: &[&str] =
    &["serde", "serde_json", "thiserror", "jiff", "regex", "sha1", "shlex", "crc32fast"];

/// What the `clippy.toml` of a pure crate must ban at least.
const BANNED: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "std::thread::sleep",
    "std::env::var",
    "std::process::Command::new",
    "std::fs::read",
    "std::fs::write",
    "std::fs::File::open",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

const LONGEST_FILE: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

/// Each package of the workspace with what it depends on, but for its tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name_of = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            (name_of(package), dependencies.filter(|d| d["kind"] != "dev").map(name_of).collect())
        })
        .collect()
}

/// Every text file of the project with its path, our build output left out.
fn files() -> Vec<(String, String)> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let skipped = ["target", ".git", "gpusched_logs"].iter().any(|name| path.ends_with(name));
            if kind.is_dir() && !skipped {
                walk(&path, root, found);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push((path.strip_prefix(root).unwrap().display().to_string(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), &mut found);
    found
}

fn is_a(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|its| its == extension)
}

/// Fails with all that is wrong, not only the first.
#[track_caller]
fn check(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn crates_know_only_what_they_may() {
    let (packages, rules) = (dependencies(), MAY_KNOW.iter().copied().collect::<BTreeMap<_, _>>());
    let bins = ["gpusched", "e2e"];
    let libraries = packages.iter().filter(|(name, _)| !bins.contains(&name.as_str()));
    check(libraries.flat_map(|(name, dependencies)| {
        let Some(allowed) = rules.get(name.as_str()) else {
            return vec![format!("the crate {name} is new: say in this file what it may depend on")];
        };
        let ours = dependencies.iter().filter(|d| packages.contains_key(*d));
        let wrong = ours.filter(|d| !allowed.contains(&d.as_str()));
        wrong.map(|dependency| format!("{name} must not depend on {dependency}")).collect()
    }));
}

#[test]
fn pure_crates_use_only_pure_crates() {
    let packages = dependencies();
    check(PURE.iter().flat_map(|name| {
        let outside = packages[*name].iter().filter(|d| !packages.contains_key(*d));
        let wrong = outside.filter(|d| !PURE_OUTSIDE.contains(&d.as_str()));
        wrong
            .map(|dependency| format!("{name} must stay pure, so it cannot use {dependency}"))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn pure_crates_ban_clocks_files_and_random_order() {
    check(PURE.iter().flat_map(|name| {
        let path = format!("crates/{name}/clippy.toml");
        let text = read(&path);
        let missing = BANNED.iter().filter(|banned| !text.contains(&format!("\"{banned}\""))).copied();
        missing.map(|banned| format!("{path} does not ban {banned}")).collect::<Vec<_>>()
    }));
}

#[test]
fn source_files_are_short_safe_and_judged_by_the_same_lints() {
    // Put together here, so that this file does not find itself.
    let (keyword, silenced) = (concat!("un", "safe"), concat!("[all", "ow("));
    let sources = files().into_iter().filter(|(path, _)| is_a(path, "rs"));
    check(sources.flat_map(|(path, text)| {
        let mut wrong = Vec::new();
        let length = text.lines().count();
        if length > LONGEST_FILE {
            wrong.push(format!(
                "{path} has {length} lines; more than {LONGEST_FILE} have more than one reason"
            ));
        }
        for (line, code) in text.lines().map(|line| line.split("//").next().unwrap_or(line)).enumerate() {
            let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == keyword) || code.contains(silenced) {
                wrong.push(format!("{path}:{}: {}", line + 1, code.trim()));
            }
        }
        wrong
    }));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    check(files().into_iter().flat_map(|(path, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        lines.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())).collect::<Vec<_>>()
    }));
}

#[test]
fn the_readme_has_the_two_commands() {
    let readme = read("README.md");
    let commands = ["cargo run --release --bin gpusched -- docs/examples/jobs.txt --sim 2", "tests/run"];
    let missing = commands.iter().filter(|command| !readme.lines().any(|line| line.trim() == **command));
    check(missing.map(|command| format!("README.md has no line `{command}`")));
}

#[test]
fn the_map_names_every_crate() {
    let map = read("docs/architecture.md");
    let packages = dependencies();
    let missing = packages.keys().filter(|name| !map.contains(&format!("**`{name}`**")));
    check(missing.map(|name| format!("docs/architecture.md does not say what **`{name}`** is for")));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = files().into_iter().filter(|(path, _)| is_a(path, "md"));
    check(documents.flat_map(|(path, text)| {
        let folder = root().join(&path).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        let dead = local.filter(|target| !folder.join(target).exists());
        dead.map(|target| format!("{path} links to {target}, which is not there")).collect::<Vec<_>>()
    }));
}
