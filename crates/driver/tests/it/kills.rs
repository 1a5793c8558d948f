//! Signals, and schedulers and keepers that are killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use backend::JobHost;
use model::{Exit, LaunchError, Pid, Presence, StopSignal};
use rustix::process::{Signal, kill_process};

use crate::setting::{Scene, attempt_of, config, is_alive, keeper_program, pid_in, until};

fn kill(pid: Pid) {
    kill_process(driver::proc::raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn jobs_outlive_the_scheduler_and_their_ends_are_known() {
    let mut scene = Scene::new();
    let (slow, pid) = scene.running(1, "while [ ! -e go ]; do sleep 0.01; done; exit 5");
    let quick = scene.start(2, "exit 6");
    scene.end(quick);
    let keeper = scene.keeper();
    let mut scene = scene.reborn();
    assert!(matches!(scene.surveyed(slow), Some(Presence::Running { pid: same, .. }) if same == pid));
    assert!(matches!(scene.surveyed(quick), Some(Presence::Ended { exit: Exit::Code(6), .. })));
    fs::write(scene.path("go"), "").unwrap();
    assert_eq!(scene.end(slow).0, Exit::Code(5));
    assert_eq!(scene.keeper(), keeper);
}

#[test]
fn a_job_that_ends_while_no_scheduler_is_there() {
    let mut scene = Scene::new();
    let (job, pid) = scene.running(1, "while [ ! -e go ]; do sleep 0.01; done; echo why; exit 5");
    let Scene { dir, host, .. } = scene;
    drop(host);
    fs::write(dir.path().join("go"), "").unwrap();
    until("the job to end", || !is_alive(pid));
    until("the keeper to end by itself", || !dir.path().join("keeper.sock").exists());
    let mut scene = Scene::in_dir(dir);
    let Some(Presence::Ended { exit, tail, .. }) = scene.surveyed(job) else { panic!("it has ended") };
    assert_eq!((exit, &*tail), (Exit::Code(5), "why\n"));
}

#[test]
fn jobs_outlive_the_keeper_and_are_adopted() {
    let mut scene = Scene::new();
    let (job, pid) = scene.running(1, "echo begun; while [ ! -e go ]; do sleep 0.01; done");
    let keeper = scene.keeper();
    kill(keeper);
    until("the loss of the keeper to be told", || {
        scene.listen();
        scene.gone == 1
    });
    assert!(matches!(scene.surveyed(job), Some(Presence::Running { pid: same, .. }) if same == pid));
    assert_ne!(scene.keeper(), keeper);
    assert_eq!(scene.host.owner_of(pid), Some(job));
    // The fence holds, and new jobs are started beside it.
    scene.start(1, "echo again");
    assert_eq!(scene.refusal(job), LaunchError::Used);
    let other = scene.start(2, "exit 4");
    assert_eq!(scene.end(other).0, Exit::Code(4));
    fs::write(scene.path("go"), "").unwrap();
    let lost = |presence: &Presence| match presence {
        Presence::Lost(why) => Some(why.clone()),
        Presence::Running { .. } | Presence::Ended { .. } | Presence::Interrupted | Presence::Voided => None,
    };
    let why = "its keeper was killed, so its exit status is unknown";
    assert_eq!(&*scene.wait(job, lost), why);
    assert_eq!(scene.surveyed(job), Some(Presence::Lost(why.into())));
    assert_eq!(scene.read("job001_gpu0-3.log"), "begun\n");
}

#[test]
fn scheduler_and_keeper_are_both_killed() {
    let mut scene = Scene::new();
    let (job, pid) = scene.running(1, "sleep 30 & exec sleep 30");
    kill(scene.keeper());
    let mut scene = scene.reborn();
    assert!(matches!(scene.surveyed(job), Some(Presence::Running { .. })));
    scene.host.signal(job, StopSignal::Kill).unwrap();
    scene.wait(job, |presence| matches!(presence, Presence::Lost(_)).then_some(()));
    assert!(!is_alive(pid));
}

#[test]
fn a_launch_right_after_the_keeper_was_killed() {
    let mut scene = Scene::new();
    let first = scene.start(1, "true");
    scene.end(first);
    kill(scene.keeper());
    // Handed over or not, nothing comes of it in silence.
    let second = crate::setting::launch(2, "exit 8");
    if scene.host.launch(&second).is_ok() {
        until("an answer", || {
            scene.listen();
            scene.gone == 1 || scene.seen.iter().any(|sighting| sighting.attempt == second.attempt)
        });
    }
    scene.host.void(second.attempt).unwrap();
    scene.wait(second.attempt, |presence| match presence {
        Presence::Voided | Presence::Ended { .. } => Some(()),
        Presence::Running { .. } | Presence::Lost(_) | Presence::Interrupted => None,
    });
}

#[test]
fn a_log_that_stops_before_the_job_runs() {
    let mut scene = Scene::new();
    let (job, pid) = scene.running(1, "exec sleep 30");
    kill(scene.keeper());
    until("the keeper to be gone", || !is_alive(scene.keeper()));
    // As if it had been killed between the start and the line that says so.
    let log = scene.read("keeper.jsonl");
    let end = log.find(r#""event":"running""#).and_then(|at| log[..at].rfind('\n')).unwrap();
    fs::write(scene.path("keeper.jsonl"), &log[..=end]).unwrap();
    let mut scene = scene.reborn();
    assert!(matches!(scene.surveyed(job), Some(Presence::Running { pid: same, .. }) if same == pid));
    scene.host.signal(job, StopSignal::Kill).unwrap();
    scene.wait(job, |presence| matches!(presence, Presence::Lost(_)).then_some(()));
    // And as if it had been killed before the start.
    kill(scene.keeper());
    until("the keeper to be gone", || !is_alive(scene.keeper()));
    fs::write(scene.path("keeper.jsonl"), &log[..=end]).unwrap();
    let mut scene = scene.reborn();
    assert_eq!(scene.surveyed(job), Some(Presence::Lost("the keeper was killed while starting it".into())));
}

#[test]
fn a_reboot_interrupts() {
    let mut scene = Scene::new();
    let (job, _) = scene.running(1, "exec sleep 30");
    scene.host.signal(job, StopSignal::Kill).unwrap();
    scene.end(job);
    // The same attempt, in the log of another boot.
    let dir = tempfile::tempdir().unwrap();
    let boot_id = driver::proc::boot_id().unwrap();
    let medium = driver::medium::FileMedium::open(dir.path().join("keeper.jsonl")).unwrap();
    let log = scene.read("keeper.jsonl").replace(&*boot_id, "another-boot");
    let records: Vec<engine::keeper::KeeperRecord> =
        log.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(records.len() >= 3, "{log}");
    let records = &records[..3];
    drop(journal::Journal::create(medium, "keeper", records, model::Timestamp::UNIX_EPOCH).unwrap());
    let mut scene = Scene::in_dir(dir);
    assert_eq!(scene.surveyed(job), Some(Presence::Interrupted));
    scene.start(1, "true");
    assert_eq!(scene.refusal(job), LaunchError::Used);
}

#[test]
fn term_reaches_all_and_kill_those_who_do_not_listen() {
    let mut scene = Scene::new();
    let command = "(trap '' TERM; echo $BASHPID $$ > /dev/null; sh -c 'trap \"\" TERM; echo $$ > deaf; while :; do sleep 0.05; done') & \
                   while [ ! -s deaf ]; do sleep 0.01; done; wait";
    let (job, _) = scene.running(1, command);
    let deaf = pid_in(&scene.path("deaf"));
    scene.host.signal(job, StopSignal::Term).unwrap();
    let (exit, _, survivors) = scene.end(job);
    assert_eq!((exit, survivors), (Exit::Signal(15), true));
    assert!(is_alive(deaf));
    assert_eq!(scene.host.owner_of(deaf), Some(job));
    scene.host.signal(job, StopSignal::Kill).unwrap();
    until("the deaf one to be killed", || !is_alive(deaf));
}

#[test]
fn a_session_of_its_own_is_no_way_out() {
    let mut scene = Scene::new();
    let escape = "setsid sh -c 'echo $$ > away; exec sleep 30' & ";
    let nameless = "env -i /usr/bin/setsid /bin/sh -c 'echo $$ > nameless; exec /bin/sleep 30' & ";
    let (job, pid) = scene.running(1, &format!("{escape}{nameless}exec sleep 30"));
    let (away, nameless) = (pid_in(&scene.path("away")), pid_in(&scene.path("nameless")));
    for of in [pid, away, nameless] {
        assert_eq!(scene.host.owner_of(of), Some(job));
    }
    assert_eq!(scene.host.owner_of(Pid(std::process::id())), None);
    scene.host.signal(job, StopSignal::Kill).unwrap();
    assert_eq!(scene.end(job).0, Exit::Signal(9));
    until("all to be killed", || !is_alive(away) && !is_alive(nameless));
}

#[test]
fn survivors_are_told_and_can_still_be_killed() {
    let mut scene = Scene::new();
    let job = scene.start(1, "setsid sleep 30 & echo $! > left; exit 0");
    let (exit, _, survivors) = scene.end(job);
    assert_eq!((exit, survivors), (Exit::Code(0), true));
    let left = pid_in(&scene.path("left"));
    // One job's survivors are not another's.
    let tidy = scene.start(2, "true");
    assert_eq!(scene.end(tidy), (Exit::Code(0), String::new(), false));
    scene.host.signal(tidy, StopSignal::Kill).unwrap();
    scene.host.signal(attempt_of(9, 1), StopSignal::Kill).unwrap();
    assert_eq!(scene.host.owner_of(left), Some(job));
    assert!(is_alive(left));
    scene.host.signal(job, StopSignal::Kill).unwrap();
    until("the survivor to be killed", || !is_alive(left));
}

#[test]
fn a_keeper_does_not_end_with_its_terminal() {
    let mut scene = Scene::new();
    let (job, _) = scene.running(1, "while [ ! -e go ]; do sleep 0.01; done; exit 5");
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        kill_process(driver::proc::raw(scene.keeper()).unwrap(), signal).unwrap();
    }
    fs::write(scene.path("go"), "").unwrap();
    assert_eq!(scene.end(job).0, Exit::Code(5));
}

#[test]
fn a_second_keeper_is_turned_away() {
    let mut scene = Scene::new();
    let (job, _) = scene.running(1, "exec sleep 30");
    let second = Command::new(keeper_program()).arg("__keep").arg(scene.dir.path()).output().unwrap();
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.starts_with("another keeper works in ") && !second.status.success(), "{words}");
    scene.host.signal(job, StopSignal::Kill).unwrap();
    scene.end(job);
}

#[test]
fn a_log_that_cannot_be_written_starts_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let wrapper = dir.path().join("keeper-on-a-small-disk");
    let program = keeper_program();
    // A job's log is under the limit, too: jobs here write nothing.
    fs::write(&wrapper, format!("#!/bin/sh\nulimit -f 16\nexec {} \"$@\"\n", program.display())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o700)).unwrap();
    config.program = wrapper;
    let mut scene = Scene::with(dir, config);
    let (early, _) = scene.running(1, "while [ ! -e go ]; do sleep 0.01; done; exit 5");
    let mut no = 1;
    until("the log to be full", || {
        no += 1;
        let job = scene.start(no, "true");
        until("an answer", || {
            scene.listen();
            !scene.refused.is_empty()
                || scene.seen.iter().any(|sighting| {
                    sighting.attempt == job && matches!(sighting.presence, Presence::Ended { .. })
                })
        });
        !scene.refused.is_empty()
    });
    let refused = attempt_of(no, 1);
    assert!(matches!(scene.refusal(refused), LaunchError::NoKeeper(why) if why.contains("keeper.jsonl")));
    fs::write(scene.path("go"), "").unwrap();
    assert_eq!(scene.end(early).0, Exit::Code(5));
    scene.host.void(refused).unwrap();
    scene.wait(refused, |presence| (*presence == Presence::Voided).then_some(()));
    // What was refused was not started, and no later keeper thinks it was.
    kill(scene.keeper());
    let mut scene = scene.reborn();
    assert!(matches!(scene.surveyed(refused), None | Some(Presence::Voided)));
    assert!(matches!(scene.surveyed(attempt_of(2, 1)), Some(Presence::Ended { .. })));
}

#[test]
fn a_keeper_that_does_not_come_up_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.program = "/nowhere/gpusched".into();
    let mut scene = Scene::with(dir, config);
    let refused = scene.host.launch(&crate::setting::launch(1, "true")).unwrap_err();
    let why = "cannot start the keeper /nowhere/gpusched: No such file or directory";
    assert_eq!(refused, LaunchError::NoKeeper(why.to_owned()));
    fs::write(scene.path("keeper.jsonl"), "{\"what\":\"is this\"}\n").unwrap();
    let scene_of_its_own = crate::setting::config(scene.dir.path());
    scene.host = driver::host::KeeperHost::open(scene_of_its_own).unwrap();
    let error = scene.host.survey().unwrap_err().to_string();
    assert!(error.contains("the keeper has ended at once: cannot open keeper.jsonl: "), "{error}");
}
