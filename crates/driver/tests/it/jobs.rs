//! What jobs get, and what is told of them.

use std::fs;
use std::io::Write;

use backend::JobHost;
use driver::host::{KeeperHost, start_fresh};
use model::{Exit, GpuIndex, GpuUuid, LaunchError, Presence, StopSignal};

use crate::setting::{Scene, attempt_of, config, launch, until};

#[test]
fn a_job_gets_its_directory_its_variables_and_a_log() {
    let mut scene = Scene::new();
    let command = "echo out; echo err >&2; pwd; cat; \
                   echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $GPUSCHED_JOB $GPUSCHED_ATTEMPT $INHERITED $EXTRA";
    let job = scene.start(4, command);
    assert_eq!(scene.end(job), (Exit::Code(0), String::new(), false));
    let cwd = fs::canonicalize(scene.dir.path()).unwrap();
    let expect = format!("out\nerr\n{}\n0,3 PCI_BUS_ID 4 {} yes too\n", cwd.display(), attempt_of(4, 1));
    assert_eq!(scene.read("job004_gpu0-3.log"), expect);
}

#[test]
fn a_mig_instance_goes_by_its_uuid() {
    let mut scene = Scene::new();
    let mut request = launch(1, "echo $CUDA_VISIBLE_DEVICES");
    request.gpus = vec![(GpuIndex(2), GpuUuid("MIG-c".into()))];
    scene.host.launch(&request).unwrap();
    scene.end(request.attempt);
    assert_eq!(scene.read("job001_gpu2.log"), "MIG-c\n");
}

#[test]
fn exit_codes_signals_and_the_end_of_the_log() {
    let mut scene = Scene::new();
    fs::write(scene.path("job001_gpu0-3.log"), "of an earlier attempt\n").unwrap();
    for (no, command, expect, tail) in [
        (1, "echo bad; exit 3", Exit::Code(3), "bad\n"),
        (2, "kill -9 $$", Exit::Signal(9), ""),
        (3, "echo fine", Exit::Code(0), ""),
        (4, "no-such-program-at-all 2>/dev/null", Exit::Code(127), ""),
        (5, "kill -TERM $$", Exit::Signal(15), ""),
        (6, "yes | head -n 1 > /dev/null; kill -PIPE $$", Exit::Signal(13), ""),
    ] {
        let job = scene.start(no, command);
        assert_eq!(scene.end(job), (expect, tail.to_owned(), false), "{command}");
    }
}

#[test]
fn no_attempt_is_used_twice() {
    let mut scene = Scene::new();
    let job = scene.start(1, "echo once");
    scene.end(job);
    scene.start(1, "echo twice");
    assert_eq!(scene.refusal(job), LaunchError::Used);
    let before = scene.keeper();
    let dir = {
        let Scene { dir, host, .. } = scene;
        drop(host);
        dir
    };
    until("the keeper to end by itself", || !dir.path().join("keeper.sock").exists());
    let mut scene = Scene::in_dir(dir);
    scene.start(1, "echo twice");
    assert_eq!(scene.refusal(job), LaunchError::Used);
    assert_ne!(scene.keeper(), before);
    assert_eq!(scene.read("job001_gpu0-3.log"), "once\n");
    assert!(matches!(scene.surveyed(job), Some(Presence::Ended { exit: Exit::Code(0), .. })));
}

#[test]
fn a_void_before_and_after_a_launch() {
    let mut scene = Scene::new();
    let never = attempt_of(1, 1);
    scene.host.void(never).unwrap();
    scene.wait(never, |presence| (*presence == Presence::Voided).then_some(()));
    scene.start(1, "echo never");
    assert_eq!(scene.refusal(never), LaunchError::Used);
    let (runs, _) = scene.running(2, "exec sleep 30");
    scene.seen.clear();
    scene.host.void(runs).unwrap();
    scene.wait(runs, |presence| matches!(presence, Presence::Running { .. }).then_some(()));
    scene.host.signal(runs, StopSignal::Kill).unwrap();
    assert_eq!(scene.end(runs).0, Exit::Signal(9));
    assert!(!scene.path("job001_gpu0-3.log").exists());
}

#[test]
fn what_cannot_be_started_is_refused_with_words() {
    let mut scene = Scene::new();
    let long = scene.start(1, &format!("echo {}", "x".repeat(140_000)));
    let why = "the command is too long: 140005 bytes, and the system takes 131071";
    assert_eq!(scene.refusal(long), LaunchError::Spawn(why.to_owned()));
    fs::create_dir(scene.path("job002_gpu0-3.log")).unwrap();
    let log = scene.start(2, "true");
    assert!(matches!(scene.refusal(log), LaunchError::Spawn(why) if why.ends_with("Is a directory")));
    let nul = scene.start(3, "echo a\0b");
    assert_eq!(scene.refusal(nul), LaunchError::Spawn("the command holds a NUL byte".to_owned()));
    // The keeper is well, and tells the same again when it is asked.
    let fine = scene.start(4, "true");
    assert_eq!(scene.end(fine).0, Exit::Code(0));
    scene.refused.clear();
    assert_eq!(scene.surveyed(long), None);
    assert_eq!(scene.refusal(long), LaunchError::Spawn(why.to_owned()));
    scene.refused.clear();
    scene.host.void(long).unwrap();
    assert_eq!(scene.refusal(long), LaunchError::Spawn(why.to_owned()));
}

#[test]
fn a_directory_that_is_gone() {
    let outer = tempfile::tempdir().unwrap();
    let mut scene = Scene::new();
    let mut elsewhere = config(scene.dir.path());
    elsewhere.cwd = outer.path().join("gone");
    scene.host = KeeperHost::open(elsewhere).unwrap();
    let job = scene.start(1, "true");
    assert!(matches!(scene.refusal(job), LaunchError::Spawn(why) if why.starts_with("cannot enter ")));
}

#[test]
fn a_long_path_and_a_relative_one() {
    let dir = tempfile::Builder::new().prefix(&"d".repeat(150)).tempdir().unwrap();
    let mut scene = Scene::in_dir(dir);
    let job = scene.start(1, "true");
    assert_eq!(scene.end(job).0, Exit::Code(0));
}

#[test]
fn two_hundred_quick_jobs_end_once_each() {
    let mut scene = Scene::new();
    for no in 1..=200 {
        scene.start(no, &format!("exit {}", no % 7));
    }
    for no in 1..=200 {
        let (exit, ..) = scene.end(attempt_of(no, 1));
        assert_eq!(exit, Exit::Code(u8::try_from(no % 7).unwrap()));
    }
    let is_end = |presence: &Presence| matches!(presence, Presence::Ended { .. });
    assert_eq!(scene.seen.iter().filter(|sighting| is_end(&sighting.presence)).count(), 200);
    assert_eq!(scene.host.survey().unwrap().len(), 200);
}

#[test]
fn the_log_is_shortened_to_what_is_not_settled() {
    let mut scene = Scene::new();
    for no in [1, 2] {
        let job = scene.start(no, "true");
        scene.end(job);
    }
    let Scene { dir, host, .. } = scene;
    drop(host);
    until("the keeper to end by itself", || !dir.path().join("keeper.sock").exists());
    let log = dir.path().join("keeper.jsonl");
    let settled = attempt_of(1, 1);
    let mut host = KeeperHost::open(config(dir.path())).unwrap();
    host.forget(|attempt| attempt == settled).unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains(&settled.to_string()), "it is small enough");
    // A torn tail makes it large; it is cut off, too.
    let torn = vec![b'x'; 2 << 20];
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(&torn).unwrap();
    host.forget(|attempt| attempt == settled).unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains(&settled.to_string()) && text.contains(&attempt_of(2, 1).to_string()), "{text}");
    drop(host);
    let mut scene = Scene::in_dir(dir);
    assert!(matches!(scene.surveyed(attempt_of(2, 1)), Some(Presence::Ended { .. })));
    assert_eq!(scene.surveyed(settled), None);
}

#[test]
fn a_fresh_start_waits_for_jobs_to_end() {
    let mut scene = Scene::new();
    let (job, _) = scene.running(1, "exec sleep 30");
    assert!(start_fresh(scene.dir.path()).unwrap_err().to_string().starts_with("jobs still run in "));
    scene.host.signal(job, StopSignal::Kill).unwrap();
    scene.end(job);
    let Scene { dir, host, .. } = scene;
    drop(host);
    start_fresh(dir.path()).unwrap();
    let mut scene = Scene::in_dir(dir);
    assert_eq!(scene.host.survey().unwrap(), []);
    scene.start(1, "true");
    assert_eq!(scene.end(job).0, Exit::Code(0));
}
