//! Commands that ask a scheduler for something.

use std::os::unix::fs::PermissionsExt as _;

use e2e::wait_until;
use serde_json::Value;

use crate::place::{LONG, Place, UNTIL_GO, is_there};

#[test]
fn a_paused_gpu_takes_no_new_job_until_it_is_resumed() {
    let place = Place::new("");
    let running = place.started(&[]);
    running.wait_for("queue drained");
    place.ask(&["pause", "0"]).exits(0).says("gpu 0 is paused");
    place.edit(&format!("[vram=20G] {UNTIL_GO}\n[vram=20G] {UNTIL_GO} # again\n"));
    running.wait_for("job 1 started on gpu [1]");
    wait_until("the second waits for the GPU", LONG, || place.board().contains("! paused: gpu[0]"));
    wait_until("status shows both", LONG, || {
        let page = place.ask(&["status"]).out;
        page.contains("0      PAUSED") && page.contains("1      BUSY (83%)")
    });
    assert!(!running.out().contains("job 2 started"));
    place.ask(&["resume", "0"]).exits(0).says("gpu 0 takes jobs");
    running.wait_for("job 2 started on gpu [0]");
    place.write("go", "");
    running.wait_for("job 2 finished [OK]");
}

#[test]
fn pauses_and_finished_jobs_outlive_the_scheduler() {
    let place = Place::new("echo a >> ran\n");
    let running = place.started(&[]);
    running.wait_for("job 1 finished [OK]");
    place.ask(&["pause", "1"]).exits(0);
    drop(running);
    let running = place.started(&[]);
    running.wait_for("job 1 already completed ok");
    running.wait_for("queue drained");
    wait_until("it is paused", LONG, || place.ask(&["status"]).out.contains("1      PAUSED"));
    assert_eq!(place.read("ran"), "a\n");
}

#[test]
fn what_is_asked_without_a_scheduler_is_done_by_the_next() {
    let place = Place::new(&format!("[on=1] {UNTIL_GO}\n"));
    let running = place.started(&[]);
    running.wait_for("job 1 started");
    place.ask(&["stop", "--jobs"]).exits(0);
    running.wait();
    place.ask(&["pause", "1"]).exits(0).says("no gpusched works in").says("as soon as one does");
    let running = place.started(&[]);
    running.wait_for("gpu 1 is paused");
    wait_until("it waits", LONG, || place.board().contains("GPU 1 is paused"));
    place.ask(&["stop"]).exits(0);
    running.wait();
    place.ask(&["stop"]).exits(0).says("no gpusched works in");
}

#[test]
fn cancel_ends_what_runs_and_drops_what_waits() {
    let place = Place::new(&format!("[gpus=2] {UNTIL_GO}\n[gpus=2] echo b > never\n"));
    let running = place.started(&[]);
    running.wait_for("job 1 started");
    place.ask(&["cancel", "2"]).exits(0).says("job 2 is cancelled");
    place.ask(&["cancel", "1"]).exits(0).says("job 1 gets SIGTERM");
    running.wait_for("job 1 finished [CANCELLED]");
    let again = place.ask(&["cancel", "1"]);
    again.exits(1);
    assert!(again.err.contains("job 1 is over already (cancelled)"), "{}", again.err);
    assert!(!is_there(&place.path("never")));
}

#[test]
fn a_cancel_outlives_the_scheduler_that_granted_it() {
    // It takes no notice of SIGTERM, and so outlives it as well.
    let place = Place::new(&format!("trap 'echo told >> told' TERM; echo a >> ran; {UNTIL_GO}; exit 3\n"));
    let running = place.started(&[]);
    wait_until("the job runs", LONG, || place.read("ran") == "a\n");
    place.ask(&["cancel", "1"]).exits(0);
    wait_until("it was told", LONG, || is_there(&place.path("told")));
    running.signal("KILL");
    running.wait();
    place.write("go", "");
    let running = place.started(&["--retry-failed"]);
    running.wait_for("job 1 finished [CANCELLED]");
    running.wait_for("queue drained");
    drop(running);
    assert_eq!(place.read("ran"), "a\n");
}

#[test]
fn jobs_that_were_being_ended_are_run_again_though_the_scheduler_was_killed() {
    // Ends by itself, the first time with a failure that is none of its own.
    let end = "[ $(wc -l < ran) = 2 ]";
    let place = Place::new(&format!("trap 'echo told >> told' TERM; echo a >> ran; {UNTIL_GO}; {end}\n"));
    let running = place.started(&[]);
    wait_until("the job runs", LONG, || place.read("ran") == "a\n");
    running.signal("INT");
    wait_until("it was told", LONG, || is_there(&place.path("told")));
    running.signal("KILL");
    running.wait();
    place.write("go", "");
    let running = place.started(&[]);
    running.wait_for("job 1 was ended with the scheduler — re-queuing");
    running.wait_for("job 1 finished [OK]");
    running.wait_for("queue drained");
    drop(running);
    assert_eq!(place.read("ran"), "a\na\n");
}

#[test]
fn what_its_line_cancels_is_not_run_again() {
    let place = Place::new("[cancel] echo a >> ran\n");
    let running = place.started(&[]);
    running.wait_for("queue drained");
    let refused = place.ask(&["retry", "1"]);
    assert!(refused.exits(1).err.contains("the line of job 1 says [cancel]"), "{}", refused.err);
    place.edit("echo a >> ran\n");
    wait_until("it may run", LONG, || place.ask(&["retry", "1"]).out.contains("waits to be run again"));
    running.wait_for("job 1 finished [OK]");
    drop(running);
    assert_eq!(place.read("ran"), "a\n");
}

#[test]
fn a_failed_job_runs_again_only_when_asked() {
    let place = Place::new("echo a >> ran; [ -e good ]\n");
    let running = place.started(&["--monitor-interval", "0.1"]);
    running.wait_for("job 1 finished [EXIT 1]");
    // The file is read again and again, and changed besides.
    place.edit("echo a >> ran; [ -e good ]\necho b >> other\n");
    running.wait_for("job 2 finished [OK]");
    assert_eq!(place.read("ran"), "a\n");
    place.write("good", "");
    place.ask(&["retry", "1"]).exits(0).says("job 1 waits to be run again");
    running.wait_for("job 1 finished [OK]");
    assert_eq!(place.read("ran"), "a\na\n");
    // And one that succeeded, when somebody asks for it.
    place.ask(&["retry", "2"]).exits(0);
    wait_until("it ran again", LONG, || place.read("other") == "b\nb\n");
}

#[test]
fn commands_that_make_no_sense_fail() {
    let place = Place::new(&format!("{UNTIL_GO}\n"));
    let none = place.ask(&["pause", "0"]);
    none.exits(2);
    assert!(none.err.contains("there is no log directory gpusched_logs"), "{}", none.err);
    let running = place.started(&[]);
    running.wait_for("job 1 started");
    for (words, code, complaint) in [
        (["pause", "9"], 1, "there is no gpu 9 among those in use, which are [0,1]"),
        (["pause", "x"], 2, "'x' is not the index of a GPU"),
        (["resume", "-1"], 2, "'-1' is not the index of a GPU"),
        (["cancel", "7"], 1, "there is no job 7"),
        (["cancel", "0"], 2, "'0' is not the number of a job"),
        (["retry", "1"], 1, "job 1 runs; to run it anew, cancel it first"),
        (["logs", "7"], 2, "job 7 has no log in"),
    ] {
        let done = place.ask(&words);
        done.exits(code);
        assert!(done.err.starts_with(&format!("gpusched: {complaint}")), "{words:?}: {}", done.err);
    }
    place.write("go", "");
}

#[test]
fn status_shows_the_gpus_and_the_queue() {
    let place = Place::new(&format!("[gpus=0.5 name=first on=0] {UNTIL_GO}\n[gpus=2] echo b\nexit 3\n"));
    let running = place.started(&[]);
    running.wait_for("job 3 finished [EXIT 3]");
    wait_until("all three are published", LONG, || {
        place.ask(&["status"]).out.contains("job 3 failed, exit 3 — exit 3")
    });
    let page = place.ask(&["status"]);
    page.exits(0)
        .says("gpusched works (pid ")
        .says("GPU ID State        Allocation Memory Util Load Util")
        .says("0      BUSY (50%)         0.50")
        .says("1      AVAILABLE          0.00")
        .says("job 1 on gpu [0] (0.5) for ")
        .says(" — first: until")
        .says("job 2 (needs 2 idle GPUs, and there is only 1; GPU 0 is held by a job) — echo b");
    let status: Value = serde_json::from_str(&place.ask(&["status", "--json"]).out).unwrap();
    assert_eq!(status["scheduler"]["pid"], running.pid());
    assert_eq!(status["gpus"][0]["allocation"], 0.5);
    assert_eq!((&status["running"][0]["no"], &status["pending"][0]["no"]), (&1.into(), &2.into()));
    assert_eq!((&status["done"][0]["status"], &status["done"][0]["exit"]), (&"failed".into(), &3.into()));
    place.ask(&["stop", "--jobs"]).exits(0);
    running.wait();
    place.ask(&["status"]).exits(0).says("no gpusched works here; this is what the last one knew");
}

#[test]
fn it_goes_on_in_the_background() {
    let place = Place::new(&format!("{UNTIL_GO}; echo a > ran\n"));
    let started = place.ask(&["start", "--sim", "2", "--detach"]);
    started.exits(0).says("gpusched works in the background (pid ").says("gpu_scheduler.log");
    let mode = place.path("gpusched_logs").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "what is in there is nobody else's");
    wait_until("the job runs", LONG, || place.read("gpu_scheduler.log").contains("job 1 started on gpu [0]"));
    let second = place.ask(&["start", "--sim", "2", "--detach"]);
    second.exits(73);
    assert!(second.err.starts_with("gpusched: another gpusched (pid "), "{}", second.err);
    place.write("go", "");
    wait_until("the job has run", LONG, || place.read("ran") == "a\n");
    place.ask(&["stop"]).exits(0);
    assert!(place.read("gpu_scheduler.log").contains("job 1 finished [OK]"));
    let wrong = place.ask(&["start", "--sim", "2", "--detach", "--gpus", "7"]);
    wrong.exits(2);
    assert!(wrong.err.starts_with("gpusched: --gpus: there is no GPU 2"), "{}", wrong.err);
}

#[test]
fn stop_leaves_the_jobs_to_the_next_scheduler() {
    let place = Place::new(&format!("{UNTIL_GO}; echo a >> ran\n"));
    let running = place.started(&[]);
    running.wait_for("job 1 started");
    place.ask(&["stop"]).exits(0).says("1 running job goes on, for the next one to look after");
    running.wait();
    let running = place.started(&[]);
    running.wait_for("job 1 still runs from an earlier run");
    place.write("go", "");
    running.wait_for("job 1 finished [OK]");
    assert_eq!(place.read("ran"), "a\n");
    // Ctrl-C ends them.
    place.edit(&format!("{UNTIL_GO}; echo a >> ran\nsleep 60\n"));
    running.wait_for("job 2 started");
    running.signal("INT");
    running.wait().exits(130).says("interrupted — terminating running jobs");
    assert!(place.job_processes().is_empty());
}

#[test]
fn commands_find_the_scheduler_by_its_state_file() {
    let place = Place::new("");
    let running = place.started(&["--state-file", "my.json", "--log-dir", "elsewhere"]);
    running.wait_for("queue drained");
    place.ask(&["pause", "1", "--state-file", "my.json"]).exits(0);
    running.wait_for("gpu 1 is paused");
    place.ask(&["status", "--state-file", "my.json"]).exits(0).says("PAUSED");
    place.write("other.json", r#"{"gpu_status": [0.0], "paused_gpus": []}"#);
    let done = place.ask(&["status", "--state-file", "other.json"]);
    done.exits(2);
    assert!(done.err.contains("other.json does not tell a log directory"), "{}", done.err);
    assert!(is_there(&place.path("gpu_scheduler.log")), "it lies beside the state file");
}

#[test]
fn intervals_are_taken_and_checked() {
    let place = Place::new("echo a\n");
    let running = place.started(&["--monitor-interval", "3600", "--state-interval", "3600"]);
    running.wait_for("job 1 finished [OK]");
    // The system tells of a change at once, whatever they say.
    place.edit("echo a\necho b\n");
    running.wait_for("job 2 finished [OK]");
    for flag in ["--monitor-interval", "--state-interval"] {
        let done = place.ask(&["start", flag, "0"]);
        done.exits(2);
        assert!(done.err.contains(&format!("{flag}: '0' is not between 10 ms and 24 hours")), "{}", done.err);
    }
}
