//! What is refused at the start, and what earlier runs left.

use std::fs;

use crate::place::{Place, is_there};

#[track_caller]
fn check(place: &Place, flags: &[&str], code: i32, message: &str) {
    let done = place.run(flags);
    done.exits(code);
    assert_eq!(done.err.trim_end(), message);
    assert_eq!(done.out, "", "nothing was to be done");
}

#[test]
fn jobs_files_that_cannot_be_used() {
    let place = Place::new("");
    check(&place, &[], 2, "gpusched: jobs file contains no jobs (use --watch to wait for some)");
    place.write("jobs.txt", "echo a\n[vram=8k] echo b\n[gpus=0] echo c\n");
    check(
        &place,
        &["--watch"],
        2,
        "gpusched: jobs file line 2: cannot parse vram value '8k' (use MiB or a G/GiB suffix)\n    \
         [vram=8k] echo b\n     ^^^^^^^\n\
         gpusched: jobs file line 3: gpus must be positive, got '0'\n    [gpus=0] echo c\n     ^^^^^^",
    );
    fs::write(place.path("jobs.txt"), b"echo \xe9\n").unwrap();
    let done = place.run(&[]);
    assert!(
        done.exits(2).err.starts_with("gpusched: jobs file line 1, column 6: the byte 0xe9"),
        "{}",
        done.err
    );
    fs::remove_file(place.path("jobs.txt")).unwrap();
    check(&place, &[], 2, "gpusched: cannot read jobs file: jobs.txt: No such file or directory");
    fs::create_dir(place.path("jobs.txt")).unwrap();
    check(&place, &[], 2, "gpusched: cannot read jobs file: jobs.txt: it is a directory, not a regular file");
    assert!(!is_there(&place.path("gpusched_logs")), "nothing was to be written");
}

#[test]
fn flags_that_make_no_sense() {
    let place = Place::new("echo a\n");
    check(
        &place,
        &["--gpus", "0,1,"],
        2,
        "gpusched: --gpus 0,1,: item 3, '', is empty\n\
         hint: write indices and ranges with commas between them: 0,1,3 or 0-3",
    );
    check(&place, &["--gpus", "1,7"], 2, "gpusched: --gpus: there is no GPU 7\nhint: the GPUs here are 0, 1");
    check(&place, &["more.txt"], 2, "gpusched: there can be only one jobs file\nhint: see gpusched --help");
    let no_dir = "gpusched: cannot create the log directory jobs.txt: File exists";
    check(&place, &["--log-dir", "jobs.txt"], 74, no_dir);
    assert_eq!(place.run(&["--wrong"]).code, Some(2));
    assert!(!is_there(&place.path("gpusched_logs/journal.jsonl")), "nothing was to be journalled");
}

#[test]
fn without_gpus_nothing_is_called_done() {
    let place = Place::new("echo a\n");
    let mut command = place.program();
    command.args(["jobs.txt", "--read-gpus", "nvidia-smi"]).env("PATH", place.path("empty"));
    let done = place.start(command).wait();
    done.exits(69);
    assert!(
        done.err.starts_with("gpusched: cannot read the GPUs: nvidia-smi is not on PATH"),
        "{}",
        done.err
    );
    assert!(done.err.contains("hint: --sim 2"), "{}", done.err);
}

#[test]
fn the_second_scheduler_of_a_directory_is_refused() {
    let place = Place::new("sleep 20\n");
    let first = place.start(place.queue(&[]));
    first.wait_for("job 1 started");
    let mut command = place.queue(&["--fresh"]);
    let second = command.output().unwrap();
    assert_eq!(second.status.code(), Some(73));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.starts_with("gpusched: another gpusched (pid "), "{message}");
    assert!(message.contains("hint: wait for it"), "{message}");
}

#[test]
fn a_damaged_journal_is_not_guessed_at() {
    let place = Place::new("echo a\necho b\n");
    place.run(&[]).exits(0);
    let journal = place.read("gpusched_logs/journal.jsonl");
    let lines: Vec<&str> = journal.lines().collect();
    let damaged = journal.replacen(lines[1], &lines[1].replacen("\"event\"", "\"evil!\"", 1), 1);
    place.write("gpusched_logs/journal.jsonl", &damaged);
    let done = place.run(&[]);
    done.exits(74);
    assert!(done.err.contains("journal.jsonl: line 2"), "{}", done.err);
    assert_eq!(done.err.matches("hint: ").count(), 2, "{}", done.err);
    place.run(&["--fresh"]).exits(0).says("all 2 jobs done — 2 ok");
    assert_eq!(place.read("gpusched_logs/journal.jsonl.1"), damaged);
}

#[test]
fn a_torn_journal_is_repaired() {
    let place = Place::new("echo a\n");
    place.run(&[]).exits(0);
    let journal = place.read("gpusched_logs/journal.jsonl");
    place.write("gpusched_logs/journal.jsonl", &format!("{journal}{{\"seq\":99,\"at\":\"20"));
    place.run(&[]).exits(0).says("cut off 18 bytes").says("job 1 already completed ok");
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let place = Place::new("echo a\n");
    fs::create_dir(place.path("gpusched_logs")).unwrap();
    place.write("gpusched_logs/journal.jsonl", "my diary\n");
    let done = place.run(&[]);
    assert!(done.exits(74).err.contains("is not a journal of gpusched"), "{}", done.err);
    assert_eq!(place.read("gpusched_logs/journal.jsonl"), "my diary\n");
}

#[test]
fn the_journal_of_the_python_tool_is_taken_over() {
    let place = Place::new("a\necho b >> ran\n");
    fs::create_dir(place.path("gpusched_logs")).unwrap();
    let python = "\
        {\"key\": \"86f7e437faa5#0\", \"event\": \"seen\", \"no\": 4, \"command\": \"a\"}\n\
        not json\n\
        {\"key\": \"86f7e437faa5#0\", \"event\": \"started\", \"pgid\": 30041, \"gpus\": [0]}\n\
        {\"key\": \"86f7e437faa5#0\", \"event\": \"done\", \"status\": \"ok\", \"returncode\": 0, \
         \"peak_mib\": {\"0\": 4000}, \"avg_util\": 37.0}\n";
    place.write("gpusched_logs/journal.jsonl", python);
    place
        .run(&[])
        .exits(0)
        .says("took over the journal of the Python tool")
        .says("job 4 already completed ok — skipping (journal): a")
        .says("job 5 started on gpu [0]");
    assert_eq!(place.read("gpusched_logs/journal.jsonl.1"), python);
    place.run(&[]).exits(0).says("job 5 already completed ok");
    assert_eq!(place.read("ran"), "b\n");
}

#[test]
fn what_is_done_stays_done() {
    let place = Place::new("echo a >> ran\n[vram=1G] exit 3\n");
    place.run(&[]).exits(3).says("job 1 finished [OK]").says("job 2 finished [EXIT 3]");
    place
        .run(&[])
        .exits(3)
        .says("2 jobs queued")
        .says("job 1 already completed ok — skipping (journal): echo a >> ran")
        .says("job 2 already failed in an earlier run")
        .says("  failed: job 2 (failed, exit 3) — exit 3");
    assert_eq!(place.read("ran"), "a\n");
    place.edit("echo a >> ran\necho c >> ran\n");
    place.run(&[]).exits(0).says("job 3 finished [OK]");
    assert_eq!(place.read("ran"), "a\nc\n");
}

#[test]
fn fresh_runs_everything_again_and_keeps_the_old() {
    let place = Place::new("echo a >> ran\n");
    for runs in 1..=3 {
        place.run(&["--fresh"]).exits(0).says("job 1 finished [OK]");
        assert_eq!(place.read("ran"), "a\n".repeat(runs));
    }
    assert!(is_there(&place.path("gpusched_logs/journal.jsonl.1")));
    assert!(is_there(&place.path("gpusched_logs/job001_gpu0.log")));
    assert!(is_there(&place.path("gpusched_logs/previous/job001_gpu0.log")));
    assert!(is_there(&place.path("gpusched_logs/previous/job001_gpu0.log.2")));
}
