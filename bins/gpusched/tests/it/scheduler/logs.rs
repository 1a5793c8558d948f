//! What is written where.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use e2e::wait_until;
use serde_json::Value;

use crate::place::{LONG, Place};
use crate::scheduler::finish;

#[test]
fn lines_of_jobs_are_printed_as_they_come() {
    let place = Place::new(
        "echo one; until [ -e go ]; do sleep 0.05; done; printf 'two\\rthree\\nfour'; echo odd >&2\n",
    );
    let running = place.started(&[]);
    running.wait_for("[job 1] one\n");
    assert!(!running.out().contains("job 1 finished"), "it is printed while the job runs");
    place.write("go", "");
    running.wait_for("job 1 finished [OK]");
    let out = running.out();
    let at = |text: &str| out.find(text).unwrap_or_else(|| panic!("no '{text}' in\n{out}"));
    assert!(
        at("[job 1] three\n") < at("[job 1] fourodd\n") && at("[job 1] fourodd\n") < at("job 1 finished")
    );
    // The log is as the job wrote it.
    assert_eq!(place.ask(&["logs", "1"]).exits(0).out, "one\ntwo\rthree\nfourodd\n");
}

#[test]
fn the_scheduler_keeps_a_log_and_each_job_its_own() {
    let place = Place::new("echo a\nexit 3\n");
    let running = place.started(&[]);
    running.wait_for("queue drained");
    let log = place.read("gpu_scheduler.log");
    let mode = place.path("gpu_scheduler.log").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "there are commands in it");
    assert!(log.contains("] job 1 finished [OK]") && log.contains("] job 2 finished [EXIT 3]"), "{log}");
    let year = &log[..6];
    assert!(year.starts_with("[20"), "its lines have a date: {log}");
    let logs = finish(place.in_place(Command::new("ls")).also(&["gpusched_logs"]));
    for no in ["1", "2"] {
        let of_job = |name: &&str| {
            name.strip_prefix(&format!("job_{no}_"))
                .is_some_and(|rest| rest.len() == "20251231_235959.log".len())
        };
        assert_eq!(logs.out.lines().filter(of_job).count(), 1, "{}", logs.out);
    }
    place.ask(&["retry", "2"]).exits(0);
    wait_until("it has another", LONG, || {
        let logs = finish(place.in_place(Command::new("ls")).also(&["gpusched_logs"]));
        logs.out.lines().filter(|name| name.starts_with("job_2_")).count() == 2
    });
}

#[test]
fn logs_can_be_followed_to_the_end_of_the_job() {
    let place = Place::new("echo one; until [ -e go ]; do sleep 0.05; done; echo two\n");
    let running = place.started(&[]);
    running.wait_for("[job 1] one");
    wait_until("it is published as running", LONG, || {
        place.read("gpusched_logs/status.json").contains("job_1_")
    });
    let followed = Followed::new(&place, "1");
    wait_until("it has the first line", LONG, || followed.out() == "one\n");
    place.write("go", "");
    assert_eq!(followed.end(), "one\ntwo\n");
}

#[test]
fn logs_are_followed_of_a_job_that_has_only_just_begun() {
    let place = Place::new("");
    let running = place.started(&["--monitor-interval", "0.01"]);
    running.wait_for("queue drained");
    // Between two states that are published, a second apart.
    wait_until("it is published", LONG, || {
        place.read("gpusched_logs/status.json").contains("\"running\": []")
    });
    place.edit("echo one; until [ -e go ]; do sleep 0.05; done; echo two\n");
    running.wait_for("[job 1] one");
    let followed = Followed::new(&place, "1");
    wait_until("it is published as running", LONG, || {
        place.read("gpusched_logs/status.json").contains("job_1_")
    });
    place.write("go", "");
    assert_eq!(followed.end(), "one\ntwo\n");
}

#[test]
fn a_job_that_is_run_again_is_followed_into_its_next_log() {
    const OOM: &str = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB";
    let place = Place::new(&format!(
        "[retries=1] if [ -e again ]; then until [ -e go ]; do sleep 0.05; done; echo two; exit; fi; \
         until [ -e again ]; do sleep 0.05; done; echo '{OOM}'; exit 1\n"
    ));
    let running = place.started(&[]);
    let log = || -> String {
        let status: Value =
            serde_json::from_str(&place.read("gpusched_logs/status.json")).unwrap_or_default();
        status["running"][0]["log"].as_str().unwrap_or_default().to_owned()
    };
    wait_until("it is published as running", LONG, || !log().is_empty());
    let first = log();
    let followed = Followed::new(&place, "1");
    place.write("again", "");
    wait_until("the next one is published", LONG, || !log().is_empty() && log() != first);
    place.write("go", "");
    assert_eq!(followed.end(), format!("{OOM}\ntwo\n"));
    drop(running);
}

#[test]
fn it_needs_no_python_of_its_own() {
    let place = Place::new("echo a\n");
    let bare = place.path("bare");
    std::fs::create_dir(&bare).unwrap();
    for program in ["sh", "sleep", "echo"] {
        std::os::unix::fs::symlink(format!("/bin/{program}"), bare.join(program)).unwrap();
    }
    let mut command = place.program();
    command.args(["start", "--sim", "1"]).env("PATH", &bare);
    let running = place.start(command);
    running.wait_for("job 1 finished [OK]");
}

/// `gpusched logs -f` at work.
struct Followed {
    child: Child,
    out: PathBuf,
}

impl Followed {
    fn new(place: &Place, no: &str) -> Self {
        let out = place.path("followed");
        let mut command = place.program();
        command.args(["logs", no, "-f"]).stdout(File::create(&out).unwrap());
        Self { child: command.spawn().unwrap(), out }
    }

    fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    /// What it has printed when it ends with the job.
    fn end(mut self) -> String {
        wait_until("it ends with the job", LONG, || self.child.try_wait().unwrap().is_some());
        self.out()
    }
}

/// A command with more words.
trait Also {
    fn also(self, words: &[&str]) -> Self;
}

impl Also for Command {
    fn also(mut self, words: &[&str]) -> Self {
        self.args(words);
        self
    }
}
