//! Jobs in sessions of screen and tmux.

mod kills;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::process::Command;

use driver::seat::{SeatInfo, SeatKind, seats};
use e2e::{program, wait_until};

use crate::place::{LONG, Place, Running, is_there};

const BOTH: [SeatKind; 2] = [SeatKind::Screen, SeatKind::Tmux];

/// Says that it runs, waits for the file `go`, and ends with 5.
const PATIENT: &str = "echo ran >> runs; until [ -e go ]; do sleep 0.05; done; echo gone; exit 5\n";

/// A place for jobs in sessions of this kind; nothing where there is no program
/// for them.
#[expect(clippy::print_stderr, reason = "that a test was skipped must be seen")]
fn place(kind: SeatKind, jobs: &str) -> Option<Place> {
    let name = kind.program();
    if program(name).is_none() {
        eprintln!("SKIPPED: there is no program '{name}'; tests/run looks for it");
        return None;
    }
    let place = Place::new(jobs);
    for dir in ["screens", "tmux"] {
        fs::DirBuilder::new().mode(0o700).create(place.path(dir)).unwrap();
    }
    Some(place)
}

/// Gives a command the sessions of this place alone.
fn with_sessions(place: &Place, mut command: Command) -> Command {
    for variable in ["TMUX", "TMUX_PANE", "STY"] {
        command.env_remove(variable);
    }
    command.env("SCREENDIR", place.path("screens")).env("TMUX_TMPDIR", place.path("tmux"));
    command.env("TERM", "xterm-256color");
    command
}

fn queue(place: &Place, kind: SeatKind, flags: &[&str]) -> Command {
    with_sessions(place, place.queue(&[&["--session", kind.program()], flags].concat()))
}

/// What a program says that has to do with sessions.
fn say(place: &Place, words: &[&str]) -> String {
    let mut command = with_sessions(place, place.in_place(Command::new(program(words[0]).unwrap())));
    let output = command.args(&words[1..]).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The sessions of the place whose jobs run.
fn sessions(place: &Place) -> Vec<SeatInfo> {
    let mut found = seats(&place.path("gpusched_logs"));
    found.retain(|seat| seat.pid.is_some());
    found
}

/// The only session of the place.
fn session(place: &Place) -> SeatInfo {
    wait_until("a session with a job", LONG, || sessions(place).len() == 1);
    sessions(place).remove(0)
}

/// The pids of the processes of the place that have this among their words.
fn processes(place: &Place, word: &str) -> Vec<u32> {
    let dir = place.path("gpusched_logs").canonicalize().unwrap_or_default();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let words = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ")
    };
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| words(pid).contains(word) && words(pid).contains(dir.to_str().unwrap())).collect()
}

/// Nothing of a session is left: no job, no seat, and nothing that held it.
#[track_caller]
fn check_empty(place: &Place) {
    wait_until("all of the session ends", LONG, || {
        place.job_processes().is_empty() && processes(place, "__seat").is_empty()
    });
    let left = || fs::read_dir(place.path("gpusched_logs/seats")).unwrap().count();
    wait_until("nothing but the settings is left", LONG, || !place.has_keeper() || left() == 2);
}

fn start(place: &Place, kind: SeatKind) -> Running {
    let running = place.start(queue(place, kind, &[]));
    wait_until("the job runs", LONG, || is_there(&place.path("runs")) && !sessions(place).is_empty());
    running
}

#[test]
fn a_job_in_a_session_ends_as_it_does_without() {
    for kind in BOTH {
        let jobs = "printf '\\033[31mred\\033[0m\\n10 %%\\r20 %%\\n'; [ -t 0 ] && [ -t 1 ] && echo terminal; exit 5\n\
                    seq 1 30000\n\
                    echo $GPUSCHED_JOB $CUDA_VISIBLE_DEVICES $COLUMNS; kill -9 $$\n";
        let Some(place) = place(kind, jobs) else { continue };
        let done = place.start(queue(&place, kind, &[])).wait();
        done.exits(5).says("job 1 finished [EXIT 5]").says("job 2 finished [OK]");
        done.says("job 3 finished [EXIT -9]").says("1 ok, 2 failed");
        let log = |no| {
            let logs = fs::read_dir(place.path("gpusched_logs")).unwrap().flatten();
            let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
            let name = logs.map(name).find(|name| name.starts_with(&format!("job00{no}_"))).unwrap();
            place.log(name.trim_end_matches(".log"))
        };
        assert_eq!(log(1), "\x1b[31mred\x1b[0m\n10 %\r20 %\nterminal\n");
        let all: Vec<String> = (1..=30000).map(|number| format!("{number}\n")).collect();
        assert!(log(2) == all.concat(), "{kind:?}: {} bytes", log(2).len());
        assert!(log(3).starts_with("3 0\n") || log(3).starts_with("3 1\n"), "{:?}", log(3));
        check_empty(&place);
    }
}

/// A terminal in which a command runs, whose screen can be read.
struct Terminal<'a> {
    place: &'a Place,
}

impl<'a> Terminal<'a> {
    fn new(place: &'a Place, command: &str) -> Self {
        let words = ["tmux", "-L", "eyes", "-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40"];
        let said = say(place, &[&words[..], &[&format!("env -u TMUX -u TMUX_PANE {command}")]].concat());
        assert_eq!(said, "");
        Self { place }
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        wait_until(text, LONG, || {
            say(self.place, &["tmux", "-L", "eyes", "capture-pane", "-p"]).contains(text)
        });
    }

    fn types(&self, keys: &str) {
        say(self.place, &["tmux", "-L", "eyes", "send-keys", keys, "Enter"]);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        say(self.place, &["tmux", "-L", "eyes", "kill-server"]);
    }
}

#[test]
fn a_session_can_be_listed_and_looked_into_and_typed_into() {
    for kind in BOTH {
        let job = "[vram=1G] echo ran > runs; echo who are you; read name; echo hello $name; stty size > size; \
                   read more; sh -c 'exit 4' job --mode eval\n";
        let Some(place) = place(kind, job) else { continue };
        if program("tmux").is_none() {
            continue;
        }
        let running = start(&place, kind);
        let seat = session(&place);
        assert_eq!((seat.no.0, seat.kind, &*seat.session), (1, kind, "gpujob_0_eval_1"));
        let (list, attach) = match kind {
            SeatKind::Screen => (say(&place, &["screen", "-ls"]), "screen -r gpujob_0_eval_1"),
            SeatKind::Tmux => {
                (say(&place, &["tmux", "-L", &seat.session, "ls"]), "tmux -L gpujob_0_eval_1 attach")
            }
        };
        assert!(list.contains("gpujob_0_eval_1"), "{list}");
        assert_eq!(seat.attach, attach);
        let terminal = Terminal::new(&place, attach);
        terminal.shows("who are you");
        terminal.types("sailor");
        terminal.shows("hello sailor");
        wait_until("the size of the terminal", LONG, || place.read("size").ends_with('\n'));
        // Of the two, tmux has a line of its own.
        assert!(["40 120\n", "39 120\n"].contains(&&*place.read("size")), "{:?}", place.read("size"));
        terminal.types("more");
        running.wait().exits(4).says("job 1 finished [EXIT 4]");
        assert_eq!(place.log("job001_gpu0"), "who are you\nsailor\nhello sailor\nmore\n");
        assert_eq!(seats(&place.path("gpusched_logs")), []);
    }
}

#[test]
fn ctrl_c_in_a_session_reaches_the_job() {
    for kind in BOTH {
        let job = "trap 'echo interrupted; exit 6' INT; echo ran > runs; while :; do sleep 0.1; done\n";
        let Some(place) = place(kind, job) else { continue };
        let running = start(&place, kind);
        let name = session(&place).session;
        match kind {
            SeatKind::Screen => say(&place, &["screen", "-S", &name, "-p", "0", "-X", "stuff", "^C"]),
            SeatKind::Tmux => say(&place, &["tmux", "-L", &name, "send-keys", "C-c"]),
        };
        running.wait().exits(6).says("job 1 finished [EXIT 6]");
    }
}

/// A PATH on which a script comes first that is called `screen`.
fn stand_in(place: &Place, script: &str) -> String {
    fs::create_dir(place.path("bin")).unwrap();
    place.write("bin/screen", script);
    fs::set_permissions(place.path("bin/screen"), fs::Permissions::from_mode(0o700)).unwrap();
    format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_session_that_cannot_be_had_is_no_start() {
    let Some(place) = place(SeatKind::Screen, "echo ran > runs\n") else { return };
    let mut command = queue(&place, SeatKind::Screen, &[]);
    command.env("PATH", stand_in(&place, "#!/bin/sh\necho Directory must have mode 777. >&2\nexit 1\n"));
    let done = place.start(command).wait();
    done.exits(1).says("screen could not start the session: Directory must have mode 777.");
    assert!(!is_there(&place.path("runs")));
    let mut command = queue(&place, SeatKind::Screen, &["--fresh"]);
    command.env("PATH", "/nowhere");
    let done = place.start(command).wait();
    done.exits(1).says("screen is not on PATH; apt-get install screen, or run without --screen");
    assert!(!is_there(&place.path("gpusched_logs/job001_gpu0.log")));
}

#[test]
fn a_job_in_a_session_that_runs_out_of_memory_is_run_again() {
    for kind in BOTH {
        let job = "[vram=1G retries=1] echo torch.OutOfMemoryError: CUDA out of memory.; exit 1\n";
        let Some(place) = place(kind, job) else { continue };
        let done = place.start(queue(&place, kind, &[])).wait();
        done.exits(1).says("OOM").says("job 1 started on gpu [0]");
        assert_eq!(done.out.matches("job 1 started on gpu").count(), 2, "{}", done.out);
    }
}

#[test]
fn twenty_at_once() {
    for kind in BOTH {
        let job = |no: u32| {
            format!("[vram=1G] echo {no} >> runs; until [ -e go ]; do sleep 0.1; done; exit {no}\n")
        };
        let jobs: Vec<String> = (1..=20).map(job).collect();
        let Some(place) = place(kind, &jobs.concat()) else { continue };
        let running = place.start(queue(&place, kind, &[]));
        wait_until("all of them run", LONG, || sessions(&place).len() == 20);
        let names: std::collections::BTreeSet<String> =
            sessions(&place).into_iter().map(|seat| seat.session).collect();
        assert_eq!(names.len(), 20);
        place.write("go", "");
        let done = running.wait();
        done.exits(20);
        for no in 1..=20 {
            done.says(&format!("job {no} finished [EXIT {no}]"));
        }
        assert_eq!(place.read("runs").lines().count(), 20);
        check_empty(&place);
    }
}

#[test]
fn a_job_in_a_session_gets_what_its_line_asks_for() {
    for kind in BOTH {
        let job =
            "[conda=./env cwd=inner env.EXTRA=more vram=1G] python; echo $SOURCED $EXTRA; pwd; exit 3\n";
        let Some(place) = place(kind, job) else { continue };
        for dir in ["env/bin", "env/conda-meta", "env/etc/conda/activate.d"] {
            fs::create_dir_all(place.path("inner").join(dir)).unwrap();
        }
        place.write("inner/env/etc/conda/activate.d/a.sh", "export SOURCED=yes\n");
        place.write("inner/env/bin/python", "#!/bin/sh\necho python of $CONDA_PREFIX\n");
        let script = place.path("inner/env/bin/python");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        place.start(queue(&place, kind, &[])).wait().exits(3);
        let inner = place.path("inner").canonicalize().unwrap();
        let expect = format!("python of {0}/env\nyes more\n{0}\n", inner.display());
        assert_eq!(place.log("job001_gpu0"), expect);
    }
}
