//! Scheduler, keeper or both are killed while jobs run; the same command again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use e2e::wait_until;

use crate::place::{Done, LONG, Place, Running, is_there, signal};

/// Uses memory until it may end; is to be ended in time; is to be cancelled; and
/// waits for both GPUs.
const HOLDS: &str = "[vram=4G] gpusched simjob --vram 3000 --ramp 0 --hold 500 & held=$!; echo 1 >> runs; \
                     until [ -e go ]; do sleep 0.05; done; kill $held; exit 5\n";
const TIMES_OUT: &str = "[vram=1G timeout=6s] echo 2 >> runs; sleep 500\n";
const IS_CANCELLED: &str = "[vram=1G] echo 3 >> runs; sleep 500\n";
const WAITS: &str = "[vram=22G gpus=2] echo 4 >> runs\n";

fn begin() -> (Place, Running) {
    let place = Place::new(&format!("{HOLDS}{TIMES_OUT}{IS_CANCELLED}"));
    let running = place.start(place.queue(&[]));
    wait_until("all three run", LONG, || place.read("runs").lines().count() == 3);
    wait_until("what the first uses is seen", LONG, || shows_use(&place));
    (place, running)
}

fn board(place: &Place) -> String {
    place.read("gpusched_logs/status.txt")
}

/// Whether the board shows the memory that the first job uses.
fn shows_use(place: &Place) -> bool {
    let board = board(place);
    board.lines().any(|line| line.contains("▶ job 1 ") && line.contains(":3000 MiB (peak 3000)"))
}

fn kill_keeper(place: &Place) {
    let keeper = place.keeper().unwrap();
    signal("KILL", keeper);
    wait_until("the keeper is gone", LONG, || place.keeper() != Some(keeper));
}

/// From here on everything must go as if nobody had died: the memory is seen,
/// the time limit counts on, `cancel` ends, and new lines start.
fn see_through(place: &Place, running: Running) -> Done {
    fs::remove_file(place.path("gpusched_logs/status.txt")).unwrap();
    wait_until("what the first uses is seen again", LONG, || shows_use(place));
    place.edit(&format!("{HOLDS}{TIMES_OUT}[cancel {}{WAITS}", &IS_CANCELLED[1..]));
    running.wait_for("job 3 finished [CANCELLED]");
    running.wait_for("job 2 finished [TIMEOUT]");
    wait_until("the fourth waits", LONG, || board(place).contains("· job 4"));
    place.write("go", "");
    let done = running.wait();
    let mut runs: Vec<String> = place.read("runs").lines().map(str::to_owned).collect();
    runs.sort_unstable();
    assert_eq!(runs, ["1", "2", "3", "4"], "{}", done.out);
    done.says("job 4 finished [OK]");
    assert_eq!(place.job_processes(), Vec::<u32>::new(), "something was left running");
    done
}

/// A new scheduler, which finds all three jobs running.
fn again(place: &Place) -> Running {
    let second = place.start(place.queue(&[]));
    for no in 1..=3 {
        second.wait_for(&format!("job {no} still runs from an earlier run"));
    }
    second
}

#[test]
fn the_scheduler_is_killed() {
    let (place, first) = begin();
    first.signal("KILL");
    first.wait();
    let second = again(&place);
    see_through(&place, second).exits(5).says("job 1 finished [EXIT 5]");
    place.run(&[]).exits(5).says("job 2 already timed out").says("failed: job 1 (failed, exit 5)");
}

#[test]
fn the_keeper_is_killed() {
    let (place, first) = begin();
    kill_keeper(&place);
    let why = "WARN  job 1 is LOST — its keeper was killed, so its exit status is unknown";
    see_through(&place, first).exits(1).says("job 1 finished [LOST]").says(why);
    place.run(&[]).exits(1).says("job 1 was lost");
}

#[test]
fn scheduler_and_keeper_are_killed() {
    let (place, first) = begin();
    first.signal("STOP");
    kill_keeper(&place);
    first.signal("KILL");
    first.wait();
    let second = again(&place);
    see_through(&place, second).exits(1).says("job 1 finished [LOST]").says("its keeper was killed");
}

#[test]
fn the_keeper_is_killed_and_so_is_the_next() {
    let (place, first) = begin();
    kill_keeper(&place);
    wait_until("there is another", LONG, || place.keeper().is_some());
    kill_keeper(&place);
    see_through(&place, first).exits(1).says("job 1 finished [LOST]");
}

#[test]
fn the_program_is_replaced_by_a_newer_one() {
    let place = Place::new(&format!("{HOLDS}{WAITS}"));
    let (program, newer) = (place.path("installed"), place.path("newer"));
    let install = || {
        // Written by a child, so that no descriptor of ours is open for writing
        // while another test starts a process: nothing could execute it then.
        let words = format!("cp '{}' '{}'", env!("CARGO_BIN_EXE_gpusched"), newer.display());
        assert!(Command::new("/bin/sh").arg("-c").arg(words).status().unwrap().success());
        fs::set_permissions(&newer, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&newer, &program).unwrap();
    };
    let start = || {
        let mut command = place.queue(&[]);
        let flags: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = place.in_place(Command::new(&program));
        command.args(flags);
        place.start(command)
    };
    install();
    let first = start();
    wait_until("the job runs", LONG, || shows_use(&place));
    let keeper = place.keeper();
    first.signal("TERM");
    first.wait().exits(143);
    install();
    let second = start();
    second.wait_for("job 1 still runs from an earlier run");
    assert_eq!(place.keeper(), keeper, "the keeper of the older program goes on");
    // It needs no program where it once was, be it replaced or removed.
    fs::remove_file(&program).unwrap();
    kill_keeper(&place);
    wait_until("there is another keeper", LONG, || place.keeper().is_some());
    place.write("go", "");
    second.wait().exits(1).says("job 1 finished [LOST]").says("job 2 finished [OK]");
    assert_eq!(place.read("runs"), "1\n4\n");
}

#[test]
fn a_second_scheduler_hears_who_the_first_is_and_a_dead_one_is_no_obstacle() {
    let place = Place::new("echo 1 >> runs; until [ -e go ]; do sleep 0.05; done; exit 5\n");
    let first = place.start(place.queue(&[]));
    wait_until("the job runs", LONG, || is_there(&place.path("runs")));
    for flags in [&[][..], &["--fresh"]] {
        let second = place.queue(flags).output().unwrap();
        let words = String::from_utf8(second.stderr).unwrap();
        let start = format!("gpusched: another gpusched (pid {}, since ", first.pid());
        assert!(words.starts_with(&start) && words.contains("gpusched_logs\nhint: wait for it"), "{words}");
        assert_eq!((second.status.code(), second.stdout), (Some(73), Vec::new()));
    }
    first.signal("KILL");
    first.wait();
    let third = place.start(place.queue(&[]));
    third.wait_for("job 1 still runs from an earlier run");
    place.write("go", "");
    third.wait().exits(5);
    assert_eq!(place.read("runs"), "1\n");
}
