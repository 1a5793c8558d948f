//! How the scheduler ends, and what becomes of its jobs.

use std::process::Command;

use e2e::{program, wait_until};

use crate::place::{LONG, Place, Running, is_there, signal};

/// Says that it runs, waits for the file `go`, and ends with 5.
const PATIENT: &str = "echo ran >> runs; until [ -e go ]; do sleep 0.05; done; exit 5\n";

fn start_patient(place: &Place) -> Running {
    let running = place.start(place.queue(&[]));
    wait_until("the job runs", LONG, || is_there(&place.path("runs")));
    running
}

/// The next scheduler looks after the job and learns how it ends.
#[track_caller]
fn check_taken_over(place: &Place) {
    let second = place.start(place.queue(&[]));
    second.wait_for("job 1 still runs from an earlier run");
    place.write("go", "");
    second.wait().exits(5).says("job 1 finished [EXIT 5]");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn ctrl_c_ends_the_jobs_and_they_are_run_again() {
    let place = Place::new("echo ran >> runs; sleep 30\n");
    let running = start_patient(&place);
    running.signal("INT");
    running.wait().exits(130).says("WARN  interrupted — terminating running jobs");
    place.write("jobs.txt", "echo ran >> runs; sleep 30\n");
    let again = place.start(place.queue(&[]));
    wait_until("the job runs again", LONG, || place.read("runs") == "ran\nran\n");
    again.signal("INT");
    again.wait().exits(130);
}

#[test]
fn ctrl_c_ends_what_a_job_has_left_running() {
    let place =
        Place::new("sh -c 'trap \"\" TERM; echo $$ > runs; while :; do sleep 0.1; done' & sleep 30\n");
    let running = start_patient(&place);
    wait_until("its pid is known", LONG, || place.read("runs").ends_with('\n'));
    running.signal("INT");
    running.wait().exits(130);
    let straggler = format!("/proc/{}", place.read("runs").trim());
    wait_until("the one that ignores SIGTERM is gone", LONG, || !is_there(straggler.as_ref()));
}

#[test]
fn a_second_ctrl_c_kills() {
    let place = Place::new("trap '' TERM; echo ran >> runs; while :; do sleep 0.1; done\n");
    let running = start_patient(&place);
    running.signal("INT");
    running.wait_for("WARN  interrupted — terminating running jobs");
    running.signal("INT");
    running.wait().exits(130).says("WARN  interrupted again — killing 1 running jobs");
}

#[test]
fn a_third_ctrl_c_waits_for_nobody() {
    let place = Place::new("echo ran >> runs; exec sleep 500\n");
    let running = start_patient(&place);
    let keeper = place.keeper().unwrap();
    signal("STOP", keeper);
    for words in ["interrupted — terminating", "interrupted again — killing 1", "leaving 1 running jobs"]
    {
        running.signal("INT");
        running.wait_for(words);
    }
    running.wait().exits(130);
    signal("CONT", keeper);
    wait_until("the job ends all the same", LONG, || place.job_processes().is_empty());
}

#[test]
fn sigterm_leaves_the_jobs_to_the_next_scheduler() {
    let place = Place::new(PATIENT);
    let running = start_patient(&place);
    running.signal("TERM");
    running.wait().exits(143).says("WARN  told to end — leaving 1 running jobs to the keeper");
    check_taken_over(&place);
}

#[test]
fn sighup_leaves_the_jobs_as_sigterm_does() {
    let place = Place::new(PATIENT);
    let running = start_patient(&place);
    running.signal("HUP");
    running.wait().exits(143).says("WARN  told to end — leaving 1 running jobs to the keeper");
    check_taken_over(&place);
}

#[test]
fn a_killed_scheduler_is_no_harm() {
    let place = Place::new(PATIENT);
    let running = start_patient(&place);
    running.signal("KILL");
    assert_eq!(running.wait().code, None);
    check_taken_over(&place);
}

#[test]
fn an_end_that_no_scheduler_saw_is_known_to_the_next() {
    let place = Place::new(PATIENT);
    let running = start_patient(&place);
    running.signal("KILL");
    running.wait();
    place.write("go", "");
    wait_until("the keeper ends by itself", LONG, || !place.has_keeper());
    place.run(&[]).exits(5).says("job 1 finished [EXIT 5]");
    assert_eq!(place.read("runs"), "ran\n");
}

#[test]
fn the_keeper_ends_by_itself() {
    let place = Place::new("until [ -e go ]; do sleep 0.05; done\n");
    let running = place.start(place.queue(&[]));
    wait_until("a keeper works", LONG, || {
        is_there(&place.path("gpusched_logs/keeper.lock")) && place.has_keeper()
    });
    place.write("go", "");
    running.wait().exits(0);
    wait_until("it has ended", LONG, || !place.has_keeper());
}

#[test]
fn a_terminal_that_goes_away_leaves_the_jobs() {
    let Some(script) = program("script") else {
        eprintln!("SKIPPED: there is no program 'script'; tests/run looks for it");
        return;
    };
    let place = Place::new(PATIENT);
    let mut terminal = Command::new(script);
    let queue = format!("echo $$ > pid; exec {} jobs.txt --sim 2 --poll 0.1", env!("CARGO_BIN_EXE_gpusched"));
    terminal.args(["--quiet", "--return", "--command", &queue, "typescript"]).current_dir(place.path(""));
    let terminal = place.start(terminal);
    wait_until("the job runs", LONG, || is_there(&place.path("runs")));
    let scheduler: u32 = place.read("pid").trim().parse().unwrap();
    terminal.signal("KILL");
    terminal.wait();
    wait_until("the scheduler ends", LONG, || !is_there(format!("/proc/{scheduler}").as_ref()));
    check_taken_over(&place);
}
