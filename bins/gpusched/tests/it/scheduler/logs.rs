//! What is written where.

use std::process::Command;

use e2e::wait_until;

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
    let mut command = place.program();
    command.args(["logs", "1", "-f"]);
    let (follow, out) = (place.path("followed"), std::fs::File::create(place.path("followed")).unwrap());
    let mut child = command.stdout(out).spawn().unwrap();
    wait_until("it has the first line", LONG, || std::fs::read_to_string(&follow).unwrap() == "one\n");
    place.write("go", "");
    wait_until("it ends with the job", LONG, || child.try_wait().unwrap().is_some());
    assert_eq!(std::fs::read_to_string(&follow).unwrap(), "one\ntwo\n");
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
