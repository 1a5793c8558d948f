//! Sessions, seats and keepers that are killed, and jobs that are stopped.

use std::fs;
use std::process::Command;

use driver::point::Point;
use driver::seat::{SeatInfo, SeatKind};
use e2e::{program, wait_until};

use crate::place::{LONG, Place, is_there, signal};
use crate::seats::{
    BOTH, PATIENT, check_empty, place, processes, queue, say, session, sessions, stand_in, start,
};

/// Kills the session of a job in some way; the job must end as killed.
#[track_caller]
fn check_killed(kind: SeatKind, job: &str, kill: impl FnOnce(&Place, &SeatInfo), expect: &str) {
    let Some(place) = place(kind, job) else { return };
    let running = start(&place, kind);
    let seat = session(&place);
    kill(&place, &seat);
    let done = running.wait();
    done.says(&format!("job 1 finished [EXIT {expect}]")).says("0 ok, 1 failed");
    check_empty(&place);
}

const ENDLESS: &str = "echo ran >> runs; while :; do sleep 0.1; done\n";

#[test]
fn a_session_that_is_ended_by_hand_is_a_killed_job() {
    let quit = |place: &Place, seat: &SeatInfo| match seat.kind {
        SeatKind::Screen => drop(say(place, &["screen", "-S", &seat.session, "-X", "quit"])),
        SeatKind::Tmux => drop(say(place, &["tmux", "-L", &seat.session, "kill-server"])),
    };
    // One that ends in good order when it is told to has not done its work either.
    let tidy = "trap 'exit 0' HUP TERM; echo ran >> runs; while :; do sleep 0.1; done\n";
    let deaf = "trap '' HUP; echo ran >> runs; while :; do sleep 0.1; done\n";
    for kind in BOTH {
        check_killed(kind, ENDLESS, quit, "-1");
        check_killed(kind, tidy, quit, "-1");
        check_killed(kind, deaf, quit, "-15");
    }
}

#[test]
fn screen_or_tmux_is_killed() {
    for kind in BOTH {
        let kill = |place: &Place, seat: &SeatInfo| {
            let all = processes(place, &seat.session);
            assert!(!all.is_empty());
            for pid in all {
                signal("KILL", pid);
            }
        };
        check_killed(kind, ENDLESS, kill, "-1");
    }
}

#[test]
fn the_seat_is_killed() {
    let deaf = "trap '' HUP; echo ran >> runs; while :; do sleep 0.1; done\n";
    for kind in BOTH {
        let kill = |place: &Place, seat: &SeatInfo| {
            let pids = processes(place, "__seat");
            let seats = pids.into_iter().filter(|pid| {
                // Those that hold the session have these words, too.
                let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
                !String::from_utf8_lossy(&words).contains(&seat.session)
            });
            seats.for_each(|pid| signal("KILL", pid));
        };
        check_killed(kind, deaf, kill, "-9");
    }
}

#[test]
fn the_keeper_is_killed_and_the_exit_code_is_known_all_the_same() {
    for kind in BOTH {
        let Some(place) = place(kind, PATIENT) else { continue };
        let running = start(&place, kind);
        let keeper = place.keeper().unwrap();
        signal("KILL", keeper);
        wait_until("another keeper works", LONG, || place.keeper().is_some_and(|now| now != keeper));
        place.write("go", "");
        running.wait().exits(5).says("job 1 finished [EXIT 5]");
        assert_eq!(place.read("runs"), "ran\n");
        check_empty(&place);
    }
}

/// Starts the job, and kills the scheduler and the keeper.
fn start_and_leave_alone(place: &Place, kind: SeatKind) {
    let running = start(place, kind);
    running.signal("KILL");
    running.wait();
    signal("KILL", place.keeper().unwrap());
    wait_until("the keeper is gone", LONG, || !place.has_keeper());
}

#[test]
fn a_job_that_ends_while_neither_scheduler_nor_keeper_is_there() {
    for kind in BOTH {
        let Some(place) = place(kind, PATIENT) else { continue };
        start_and_leave_alone(&place, kind);
        place.write("go", "");
        wait_until("the job ends", LONG, || sessions(&place).is_empty());
        place.start(queue(&place, kind, &[])).wait().exits(5).says("job 1 finished [EXIT 5]");
        assert_eq!(place.read("runs"), "ran\n");
        check_empty(&place);
    }
}

#[test]
fn all_of_them_are_killed() {
    let deaf = "trap '' HUP; echo ran >> runs; while :; do sleep 0.1; done\n";
    for kind in BOTH {
        let Some(place) = place(kind, deaf) else { continue };
        let running = start(&place, kind);
        running.signal("KILL");
        running.wait();
        signal("KILL", place.keeper().unwrap());
        for pid in processes(&place, "__seat") {
            signal("KILL", pid);
        }
        place.start(queue(&place, kind, &[])).wait().says("job 1 finished [EXIT -9]");
        assert_eq!(place.read("runs"), "ran\n");
        check_empty(&place);
    }
}

#[test]
fn a_job_that_does_not_listen_is_stopped_with_all_it_has_started() {
    let deaf = "trap '' TERM HUP INT; (trap '' TERM HUP; setsid sleep 500) & echo ran > runs; \
                while :; do sleep 0.1; done\n";
    // Each has ten seconds to end by itself.
    std::thread::scope(|scope| {
        for kind in BOTH {
            scope.spawn(move || {
                let Some(place) = place(kind, &format!("[timeout=1s] {deaf}")) else { return };
                let done = place.start(queue(&place, kind, &[])).wait();
                done.exits(1).says("job 1 finished [TIMEOUT]");
                check_empty(&place);
            });
        }
    });
}

#[test]
fn what_a_job_leaves_running_is_told() {
    for kind in BOTH {
        let job = "setsid sleep 500 > /dev/null 2>&1 & echo $! > left; sleep 0.2; exit 0\n";
        let Some(place) = place(kind, job) else { continue };
        let done = place.start(queue(&place, kind, &[])).wait();
        done.exits(0).says("job 1 finished [OK]").says("job 1 left processes behind");
        let left: u32 = place.read("left").trim().parse().unwrap();
        assert!(is_there(format!("/proc/{left}").as_ref()));
        signal("KILL", left);
    }
}

#[test]
fn a_cancelled_job_ends_in_good_order() {
    for kind in BOTH {
        let job = "trap 'echo saved; exit 0' TERM; echo ran > runs; while :; do sleep 0.1; done\n";
        let Some(place) = place(kind, &format!("[vram=1G] {job}")) else { continue };
        let running = start(&place, kind);
        place.edit(&format!("[vram=1G cancel] {job}"));
        running.wait().says("1 cancelled");
        assert!(place.log("job001_gpu0").ends_with("saved\n"), "{}", place.log("job001_gpu0"));
        check_empty(&place);
    }
}

#[test]
fn a_stop_that_comes_before_the_session_starts_nothing() {
    let Some(place) = place(SeatKind::Screen, "echo ran > runs\n") else { return };
    // A screen that takes its time.
    let slow = format!(
        "#!/bin/sh\ntouch called; until [ -e go ]; do sleep 0.05; done; exec {} \"$@\"\n",
        program("screen").unwrap().display()
    );
    let mut command = queue(&place, SeatKind::Screen, &[]);
    command.env("PATH", stand_in(&place, &slow));
    let running = place.start(command);
    wait_until("the session is being started", LONG, || is_there(&place.path("called")));
    running.signal("INT");
    running.wait().exits(130);
    place.write("go", "");
    check_empty(&place);
    wait_until("screen has ended", LONG, || processes(&place, "screenrc").is_empty());
    assert!(!is_there(&place.path("runs")));
}

/// Stops what holds a session, as nobody can who only looks in.
#[test]
fn a_session_that_stands_still_holds_up_nobody() {
    for kind in BOTH {
        let job = "echo ran > runs; until [ -e go ]; do sleep 0.05; done; seq 1 300000; exit 5\n";
        let Some(place) = place(kind, job) else { continue };
        let running = start(&place, kind);
        let holders: Vec<u32> = processes(&place, &session(&place).session);
        for pid in &holders {
            signal("STOP", *pid);
        }
        place.write("go", "");
        running.wait().exits(5).says("job 1 finished [EXIT 5]");
        let all: Vec<String> = (1..=300_000).map(|number| format!("{number}\n")).collect();
        assert!(place.log("job001_gpu0") == all.concat(), "{kind:?}: {}", place.log("job001_gpu0").len());
        for pid in &holders {
            signal("CONT", *pid);
        }
        check_empty(&place);
    }
}

/// Whoever waits for a seat that can't tell any more waits in vain, but not for
/// ever.
#[test]
fn a_seat_that_stands_still_is_killed_after_its_job() {
    std::thread::scope(|scope| {
        for kind in BOTH {
            scope.spawn(move || {
                let Some(place) = place(kind, ENDLESS) else { return };
                let running = start(&place, kind);
                let name = session(&place).session;
                let holders = processes(&place, &name);
                let seats = processes(&place, "__seat").into_iter().filter(|pid| !holders.contains(pid));
                // First those that have a seat go on again.
                for pid in holders.iter().copied().chain(seats) {
                    signal("STOP", pid);
                }
                running.signal("INT");
                running.wait_for("terminating running jobs");
                running.signal("INT");
                running.wait().exits(130);
                for pid in holders {
                    // It fails where that is gone already.
                    let go_on = format!("kill -CONT {pid} 2> /dev/null");
                    let _ = Command::new("/bin/sh").arg("-c").arg(go_on).status();
                }
                check_empty(&place);
            });
        }
    });
}

#[test]
fn a_fresh_start_is_refused_while_a_session_lives() {
    for kind in BOTH {
        let Some(place) = place(kind, PATIENT) else { continue };
        start_and_leave_alone(&place, kind);
        let done = place.start(queue(&place, kind, &["--fresh"])).wait();
        done.exits(73);
        place.write("go", "");
        wait_until("the session ends", LONG, || sessions(&place).is_empty());
        let done = place.start(queue(&place, kind, &["--fresh"])).wait();
        done.exits(5);
        assert_eq!(place.read("runs"), "ran\nran\n");
    }
}

/// Wherever a seat dies: the job runs at most once, it is no success, and all of
/// it is gone.
#[test]
fn nothing_is_lost_wherever_the_seat_dies() {
    for (kind, point) in BOTH.into_iter().flat_map(|kind| Point::ALL.iter().map(move |point| (kind, point))) {
        if !point.name().starts_with("seat-") {
            continue;
        }
        let Some(place) = place(kind, "echo ran >> runs; sleep 0.2; exit 5\n") else { continue };
        let mut command = queue(&place, kind, &[]);
        command.env("GPUSCHED_DIE_AT", point.name()).env("GPUSCHED_DEATH_NOTE", place.path("death"));
        let done = place.start(command).wait();
        let story = format!("{kind:?} {}\n{}{}", point.name(), done.out, done.err);
        assert!(is_there(&place.path("death")), "nobody died at {story}");
        let expect = match point.name() {
            "seat-after-ended" => "job 1 finished [EXIT 5]",
            "seat-before-taking" => "could not start the session",
            _ => "job 1 finished [EXIT -9]",
        };
        assert!(done.out.contains(expect) && !done.out.contains("[OK]"), "{story}");
        assert!(place.read("runs").lines().count() <= 1, "{story}");
        check_empty(&place);
    }
}
