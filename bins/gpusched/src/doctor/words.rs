//! What the facts mean, in words.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driver::conda::Installed;
use driver::machine::MemoryLimit;
use model::{Gpu, GpuIndex, Health};
use serde_json::json;

use super::facts::{Directory, Gpus, Memory, Mps, Programs};
use crate::report_text::join;
use crate::visible::{VARIABLE, visible as left_by};

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// As it should be.
    Good,
    /// Not there, or to be known; a queue runs all the same.
    Note,
    /// Something is wrong.
    Bad,
}

/// One thing, what was found of it, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    mark: Mark,
    thing: &'static str,
    found: String,
    follows: String,
    /// Whether no queue can run because of it.
    pub(super) is_fatal: bool,
}

impl Row {
    pub(super) fn new(
        mark: Mark,
        thing: &'static str,
        found: impl Into<String>,
        follows: impl Into<String>,
    ) -> Self {
        Self { mark, thing, found: found.into(), follows: follows.into(), is_fatal: false }
    }

    fn fatal(thing: &'static str, found: impl Into<String>, follows: impl Into<String>) -> Self {
        Self { is_fatal: true, ..Self::new(Mark::Bad, thing, found, follows) }
    }
}

/// One line each.
pub(super) fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.thing.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Row { mark, thing, found, follows, .. } in rows {
        let mark = match mark {
            Mark::Good => "ok",
            Mark::Note => "--",
            Mark::Bad => "!!",
        };
        let dash = if follows.is_empty() { "" } else { " — " };
        // A driver's own words may have more than one line.
        let found = found.replace('\n', " ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}  {thing:width$}  {found}{dash}{follows}");
    }
    text
}

/// The same for programs.
pub(super) fn json(rows: &[Row], usable: bool) -> String {
    let row = |row: &Row| {
        let mark = match row.mark {
            Mark::Good => "ok",
            Mark::Note => "note",
            Mark::Bad => "bad",
        };
        json!({"thing": row.thing, "mark": mark, "found": row.found, "follows": row.follows})
    };
    let all: Vec<_> = rows.iter().map(row).collect();
    format!("{:#}\n", json!({"usable": usable, "rows": all}))
}

/// What did not answer.
pub(super) fn no_answer(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}

/// The GPUs of `--sim`.
pub(super) fn simulated(count: u16) -> Row {
    Row::new(Mark::Good, "GPUs", format!("{count} simulated"), "jobs only pretend to use them")
}

/// GPUs that do not answer.
pub(super) fn silent_gpus(patience: Duration) -> Row {
    let follows =
        "the driver hangs: see the Xid lines in the kernel log; --sim 2 tries the queue without GPUs";
    Row::fatal("GPUs", no_answer(patience), follows)
}

/// The GPUs, and by what they are read.
pub(super) fn gpus(gpus: &Gpus) -> Vec<Row> {
    let mut rows = vec![found_gpus(gpus), nvml(gpus), nvidia_smi(gpus)];
    // Without nvidia-smi it is neither to be known nor to be changed.
    rows.extend(gpus.smi.is_some().then(|| persistence(gpus)));
    rows
}

fn found_gpus(gpus: &Gpus) -> Row {
    let by = if gpus.by_smi { "nvidia-smi" } else { "NVML" };
    let snapshot = match &gpus.snapshot {
        Ok(snapshot) if !snapshot.gpus.is_empty() => snapshot,
        Ok(_) => return Row::fatal("GPUs", format!("none, says {by}"), NO_QUEUE),
        Err(why) => return Row::fatal("GPUs", format!("cannot be read: {why}"), NO_QUEUE),
    };
    let odd: Vec<String> = snapshot.gpus.values().filter_map(odd).collect();
    let count = snapshot.gpus.len();
    let found = format!("{count}, read by {by}");
    if odd.is_empty() {
        return Row::new(Mark::Good, "GPUs", found, "jobs are placed by the memory they have free");
    }
    let follows = format!("no job is placed on {} of them: {}", odd.len(), odd.join("; "));
    Row::new(Mark::Bad, "GPUs", found, follows)
}

const NO_QUEUE: &str = "no queue can run here; --sim 2 tries one on two simulated GPUs";

/// Why a GPU takes no jobs.
fn odd(gpu: &Gpu) -> Option<String> {
    let why = match &gpu.health {
        Health::Suspect(why) | Health::Lost(why) => why.as_str(),
        Health::Healthy if gpu.mig => "MIG is on",
        Health::Healthy if gpu.total.is_none() || gpu.used.is_none() => "its memory is not told",
        Health::Healthy => return None,
    };
    Some(format!("gpu {}: {why}", gpu.index))
}

fn nvml(gpus: &Gpus) -> Row {
    match &gpus.nvml {
        Some(Ok(driver)) => {
            Row::new(Mark::Good, "NVML", format!("driver {driver}"), "a look at the GPUs takes milliseconds")
        }
        Some(Err(why)) => {
            let follows = if gpus.by_smi { "nvidia-smi is asked instead" } else { "--read-gpus auto may do" };
            Row::new(Mark::Note, "NVML", why.clone(), follows)
        }
        None => Row::new(Mark::Note, "NVML", "not asked", "--read-gpus says to ask nvidia-smi"),
    }
}

fn nvidia_smi(gpus: &Gpus) -> Row {
    let follows = if gpus.by_smi { "it is run for each look at the GPUs" } else { "not needed beside NVML" };
    match &gpus.smi {
        Some(path) => Row::new(Mark::Good, "nvidia-smi", path.display().to_string(), follows),
        None => Row::new(Mark::Note, "nvidia-smi", NOT_ON_PATH, "it comes with the NVIDIA driver"),
    }
}

const NOT_ON_PATH: &str = "not on PATH";

fn persistence(gpus: &Gpus) -> Row {
    let thing = "persistence";
    match &gpus.not_persistent {
        None => Row::new(Mark::Note, thing, "not told", "where it is off, nvidia-smi takes seconds"),
        Some(off) if off.is_empty() => {
            Row::new(Mark::Good, thing, "on", "the driver stays loaded while no job runs")
        }
        Some(off) => {
            let follows = "the driver starts up anew for each nvidia-smi and each job while nothing else uses a GPU, \
                           which takes seconds; sudo nvidia-smi -pm 1 mends that";
            Row::new(Mark::Note, thing, format!("off on gpu [{}]", off.join(",")), follows)
        }
    }
}

/// The GPUs that the environment leaves us; nothing where there are none.
pub(super) fn visible(value: Option<&str>, gpus: &Gpus) -> Option<Row> {
    let snapshot = gpus.snapshot.as_ref().ok()?;
    let Some(value) = value else {
        return Some(Row::new(Mark::Good, VARIABLE, "not set", "all GPUs are used, or those of --gpus"));
    };
    let ours: Vec<GpuIndex> = left_by(value, snapshot).into_iter().collect();
    if ours.is_empty() {
        let follows = "it leaves none of the GPUs: unset it, or name those to use with --gpus";
        return Some(Row::fatal(VARIABLE, format!("is '{value}'"), follows));
    }
    let follows = format!("only gpu [{}] is used; --gpus has the last word", join(&ours, ","));
    Some(Row::new(Mark::Note, VARIABLE, format!("is '{value}'"), follows))
}

/// MPS.
pub(super) fn mps(mps: &Mps) -> Row {
    let at = |pipes: &Path| format!("its pipes are in {}", pipes.display());
    match (mps.runs, mps.pipes.as_deref()) {
        (true, pipes) => {
            let place = pipes.map_or_else(|| "its pipes are elsewhere".to_owned(), at);
            let follows = "jobs on one GPU compute side by side, so fractions of a GPU really share it; since Volta \
                           the driver lists the memory of each client under its own pid, before under the \
                           server's; a fault of one client can end the others";
            Row::new(Mark::Good, "MPS", format!("the control daemon runs, {place}"), follows)
        }
        (false, Some(pipes)) => {
            let follows = "the daemon may be on the host of this container; if there is none, and CUDA fails with \
                           error 805, remove that directory";
            Row::new(Mark::Note, "MPS", format!("no control daemon is seen, but {}", at(pipes)), follows)
        }
        (false, None) => {
            let follows = "jobs on one GPU share its memory, but take turns in computing";
            Row::new(Mark::Note, "MPS", "no control daemon runs", follows)
        }
    }
}

/// Programs that gpusched or jobs may use.
pub(super) fn programs(programs: &Programs) -> Vec<Row> {
    let terminal = |thing, flag, path: &Option<PathBuf>| match path {
        Some(path) => Row::new(
            Mark::Good,
            thing,
            path.display().to_string(),
            format!("{flag} runs each job in a session of it"),
        ),
        None => Row::new(Mark::Note, thing, NOT_ON_PATH, format!("{flag} does not work")),
    };
    vec![
        terminal("GNU screen", "--screen", &programs.screen),
        terminal("tmux", "--session tmux", &programs.tmux),
        python(programs),
    ]
}

fn python(programs: &Programs) -> Row {
    let shown = |path: &Path| path.display().to_string();
    match (&programs.python, &programs.python3) {
        (Some(python), _) => {
            Row::new(Mark::Good, "python", shown(python), "jobs that name no environment run with it")
        }
        (None, Some(python3)) => {
            let follows = "there is no python beside it: write python3 into commands";
            Row::new(Mark::Note, "python", shown(python3), follows)
        }
        (None, None) => {
            let follows = "jobs that need it have to name an environment or a path";
            Row::new(Mark::Note, "python", "neither python nor python3 is on PATH", follows)
        }
    }
}

/// Conda.
pub(super) fn conda(conda: &Installed) -> Row {
    let count = match conda.environments.len() {
        1 => "1 environment".to_owned(),
        count => format!("{count} environments"),
    };
    match conda.roots.as_slice() {
        [] if conda.environments.is_empty() => {
            Row::new(Mark::Note, "conda", "no installation", "a job can name a venv by its path")
        }
        [] => Row::new(Mark::Good, "conda", format!("no installation, but {count}"), NAMED),
        [root] => Row::new(Mark::Good, "conda", format!("{}, {count}", root.display()), NAMED),
        [root, others @ ..] => {
            let found = format!("{} and {} more, {count}", root.display(), others.len());
            Row::new(Mark::Good, "conda", found, format!("{NAMED}; the first that has the name is taken"))
        }
    }
}

const NAMED: &str = "a job can name one of them, and conda itself is not run";

/// The machine's own memory, and whether this is a container.
pub(super) fn memory(memory: Memory) -> [Row; 2] {
    let thing = "memory";
    let limit = match memory.limit {
        MemoryLimit::Bytes(bytes) => {
            let follows =
                "the control group's limit covers all jobs together: beyond it the kernel ends one of them";
            Row::new(Mark::Note, thing, format!("limited to {}", size(bytes)), follows)
        }
        MemoryLimit::Machine => {
            Row::new(Mark::Good, thing, "no control group limits it", "jobs can have all the machine has")
        }
        MemoryLimit::Unknown => {
            let follows = "if something limits it, that covers all jobs together";
            Row::new(Mark::Note, thing, "no version 2 of control groups to tell a limit", follows)
        }
    };
    let container = if memory.in_container {
        let follows = "where the driver lists pids of the host, the peaks of jobs are n/a (--pid=host mends that); \
                       placement goes by the totals of each GPU";
        Row::new(Mark::Note, "container", "yes", follows)
    } else {
        Row::new(Mark::Good, "container", "none seen", "")
    };
    [limit, container]
}

/// Bytes, as people say them.
fn size(bytes: u64) -> String {
    let mib = bytes >> 20;
    if mib >= 10 << 10 { format!("{} GiB", mib >> 10) } else { format!("{mib} MiB") }
}

/// Notices about the jobs file: why there are none.
pub(super) fn notices(why: Option<&str>) -> Row {
    match why {
        None => Row::new(Mark::Good, "inotify", "works here", "a change of the jobs file is seen at once"),
        Some(why) => {
            let follows = "a change of the jobs file is found by a look each second";
            Row::new(Mark::Note, "inotify", why, follows)
        }
    }
}

/// The file system of the directory we are in.
pub(super) fn directory(directory: &Directory) -> Row {
    let thing = "directory";
    match directory {
        Ok(None) => Row::new(Mark::Good, thing, "on a file system of this machine", ""),
        Ok(Some(kind)) => {
            let follows = "changes made on other machines are found by a look each second; if its flock does not reach \
                           other machines, nothing keeps a second gpusched there out of the same log directory";
            Row::new(Mark::Note, thing, format!("on {kind}"), follows)
        }
        Err(why) => Row::new(Mark::Bad, thing, format!("cannot be looked at: {why}"), "go to one that can"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{GpuSnapshot, GpuUuid, Mib};

    use super::*;

    /// What is said of a thing, as a line.
    #[track_caller]
    fn check(row: &Row, begins: &str, has: &str) {
        let line = text(std::slice::from_ref(row));
        assert!(line.starts_with(begins) && line.contains(has) && line.lines().count() == 1, "{line}");
    }

    fn read(by_smi: bool, snapshot: Result<GpuSnapshot, String>) -> Gpus {
        Gpus { nvml: None, smi: None, by_smi, snapshot, not_persistent: None }
    }

    fn one_gpu(change: impl FnOnce(&mut Gpu)) -> GpuSnapshot {
        let mut gpu = Gpu {
            index: GpuIndex(0),
            uuid: GpuUuid("GPU-a".into()),
            total: Some(Mib::new(24_576)),
            used: Some(Mib::new(4)),
            free: None,
            utilization: None,
            mig: false,
            health: Health::Healthy,
        };
        change(&mut gpu);
        GpuSnapshot { gpus: BTreeMap::from([(gpu.index, gpu)]), apps: Vec::new() }
    }

    #[test]
    fn the_gpus() {
        let row = |gpus| found_gpus(&gpus);
        check(&row(read(false, Ok(one_gpu(|_| ())))), "ok  GPUs  1, read by NVML — ", "placed");
        check(
            &row(read(true, Ok(one_gpu(|gpu| gpu.mig = true)))),
            "!!  GPUs  1, read by nvidia-smi",
            "MIG is on",
        );
        check(&row(read(true, Ok(one_gpu(|gpu| gpu.used = None)))), "!!", "gpu 0: its memory is not told");
        let lost = |gpu: &mut Gpu| gpu.health = Health::Lost("it fell off the bus".to_owned());
        check(&row(read(true, Ok(one_gpu(lost)))), "!!", "no job is placed on 1 of them: gpu 0: it fell off");
        check(&row(read(true, Ok(GpuSnapshot::default()))), "!!  GPUs  none, says nvidia-smi", "--sim 2");
        let none = row(read(true, Err("two\nlines".to_owned())));
        check(&none, "!!  GPUs  cannot be read: two lines — no queue can run here", "");
        assert!(none.is_fatal && silent_gpus(Duration::from_secs(75)).is_fatal);
    }

    #[test]
    fn how_gpus_are_read() {
        let gpus = |nvml| Gpus { nvml: Some(nvml), ..read(true, Ok(one_gpu(|_| ()))) };
        check(&nvml(&gpus(Ok("570.124".to_owned()))), "ok  NVML  driver 570.124 — ", "milliseconds");
        check(&nvml(&gpus(Err("it cannot".to_owned()))), "--  NVML  it cannot — nvidia-smi is asked", "");
        let mode = |off: Option<&[&str]>| {
            let off = off.map(|off| off.iter().map(ToString::to_string).collect());
            persistence(&Gpus { not_persistent: off, ..read(true, Ok(one_gpu(|_| ()))) })
        };
        check(&mode(Some(&[])), "ok  persistence  on", "");
        check(&mode(Some(&["0", "2"])), "--  persistence  off on gpu [0,2]", "nvidia-smi -pm 1");
        check(&mode(None), "--  persistence  not told", "");
    }

    #[test]
    fn what_the_environment_leaves() {
        let gpus = read(true, Ok(one_gpu(|_| ())));
        check(&visible(None, &gpus).unwrap(), "ok  CUDA_VISIBLE_DEVICES  not set", "");
        check(
            &visible(Some("0"), &gpus).unwrap(),
            "--  CUDA_VISIBLE_DEVICES  is '0'",
            "only gpu [0] is used",
        );
        let none = visible(Some(""), &gpus).unwrap();
        check(&none, "!!  CUDA_VISIBLE_DEVICES  is ''", "leaves none");
        assert!(none.is_fatal);
        assert_eq!(visible(None, &read(true, Err(String::new()))), None);
    }

    #[test]
    fn mps_in_all_states() {
        let row = |runs, pipes: Option<&str>| mps(&Mps { runs, pipes: pipes.map(PathBuf::from) });
        check(
            &row(true, Some("/p")),
            "ok  MPS  the control daemon runs, its pipes are in /p",
            "under its own pid",
        );
        check(&row(true, None), "ok", "its pipes are elsewhere");
        check(&row(false, Some("/p")), "--  MPS  no control daemon is seen, but its pipes are in /p", "805");
        check(&row(false, None), "--  MPS  no control daemon runs", "take turns");
    }

    #[test]
    fn limits_and_places() {
        let row = |limit| memory(Memory { limit, in_container: true });
        check(&row(MemoryLimit::Bytes(16 << 30))[0], "--  memory  limited to 16 GiB", "all jobs together");
        check(&row(MemoryLimit::Bytes(512 << 20))[0], "--  memory  limited to 512 MiB", "");
        check(&row(MemoryLimit::Machine)[0], "ok  memory  no control group limits it", "");
        check(&row(MemoryLimit::Unknown)[0], "--  memory  no version 2", "");
        check(&row(MemoryLimit::Machine)[1], "--  container  yes", "n/a");
        check(&directory(&Ok(Some("NFS"))), "--  directory  on NFS", "flock");
        check(&directory(&Err("gone".to_owned())), "!!  directory  cannot be looked at: gone", "");
        check(&notices(Some("Too many open files")), "--  inotify  Too many open files", "each second");
    }

    #[test]
    fn environments() {
        let row = |roots: &[&str], environments: &[&str]| {
            let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
            let environments = paths(environments).into_iter().collect();
            conda(&Installed { roots: paths(roots), environments })
        };
        check(&row(&[], &[]), "--  conda  no installation — a job can name a venv", "");
        check(&row(&[], &["/e"]), "ok  conda  no installation, but 1 environment", "");
        check(&row(&["/c"], &["/c", "/c/envs/a"]), "ok  conda  /c, 2 environments", "");
        check(&row(&["/c", "/d"], &["/c"]), "ok  conda  /c and 1 more, 1 environment", "the first that has");
    }
}
