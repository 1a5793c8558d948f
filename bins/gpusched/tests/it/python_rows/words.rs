//! Its log, its board and its journal.

use e2e::wait_until;
use serde_json::Value;

use super::uses;
use crate::place::{LONG, Place};

#[test]
fn each_line_of_the_log_begins_with_the_time() {
    let place = Place::new("echo a\n[gpus=3] echo b\nexit 3\n");
    let done = place.run(&[]);
    done.exits(3)
        .says("] 3 jobs queued [live queue (")
        .says(")] (poll every 0.1s; status board: gpusched_logs/status.txt)\n");
    let stamped = |line: &str| {
        let mut shape = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
        "[00:00:00] ".chars().all(|c| shape.next() == Some(c))
    };
    let odd: Vec<_> = done.out.lines().filter(|line| !stamped(line)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    done.says("] WARN  job 2 INFEASIBLE").says("]   failed: job 3 (failed, exit 3) — exit 3\n");
    done.says("] all 3 jobs done — 1 ok, 2 failed, 0 under-declared vram, 0 over-declared vram\n");
}

#[test]
fn the_board_has_a_mark_for_each_state_of_a_job() {
    let place = Place::new(&format!(
        "[vram=20G retries=1] if ! [ -e once ]; then touch once; echo CUDA out of memory; exit 1; fi\n\
         [vram=1G] gpusched simjob --vram 500 --ramp 0 --hold 600\n\
         [vram=1G] {}\n[cancel] echo d\nexit 4\n",
        uses(300, 300)
    ));
    let running = place.start(place.queue(&["--gpus", "0"]));
    let marks = [
        "gpusched status @ ",
        "▶ job 2   gpu[0] ",
        "s  gpu0:500 MiB (peak 500) — gpusched simjob",
        "↻ job 1   pending retry 1, vram→24064 (",
        "· job 5   pending (",
        "✓ job 3   over (exit 0, peak 300 MiB) — gpusched simjob",
        "⊘ job 4   cancelled — echo d",
    ];
    for mark in marks {
        wait_until(mark, LONG, || place.board().contains(mark));
    }
    running.signal("INT");
    running.wait().exits(130);
}

#[test]
fn the_board_says_which_jobs_are_being_ended() {
    let stubborn = "trap '' TERM; echo ran >> runs; while :; do sleep 0.1; done\n";
    let jobs = |block: &str| format!("[vram=1G timeout=0.3s] {stubborn}{block} {stubborn}");
    let place = Place::new(&jobs("[vram=1G]"));
    let running = place.start(place.queue(&[]));
    wait_until("both ignore SIGTERM", LONG, || place.read("runs") == "ran\nran\n");
    place.edit(&jobs("[vram=1G cancel]"));
    for words in ["(timing out…) — trap", "(cancelling…) — trap"] {
        wait_until(words, LONG, || place.board().contains(words));
    }
    for words in ["interrupted — terminating", "interrupted again — killing 2"] {
        running.signal("INT");
        running.wait_for(words);
    }
    running.wait().exits(130);
}

#[test]
fn the_journal_tells_what_was_started_and_how_it_ended() {
    let place =
        Place::new("[vram=1G retries=1] echo CUDA out of memory; exit 1\n[cancel] echo b\n[gpus=3] echo c\n");
    place.run(&[]).exits(1);
    let journal = place.read("gpusched_logs/journal.jsonl");
    let events: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The first twelve digits of the SHA-1 of each command, and which of its equals it is.
    let story = |key: &str| -> Vec<String> {
        let its = events.iter().filter(|event| event["key"] == key && event["event"] != "seen");
        its.map(|event| {
            let more =
                ["attempt", "next_vram", "status"].map(|name| event[name].to_string().replace("null", ""));
            format!("{} {}", event["event"].as_str().unwrap(), more.join(" ")).trim_end().to_owned()
        })
        .collect()
    };
    let retried = ["started 1", "oom 1 1280", "started 2", "done   \"failed_oom\""];
    assert_eq!(story("c7726e0b6b41#0"), retried, "{journal}");
    assert_eq!(story("395128f94f93#0"), ["done   \"cancelled\""], "{journal}");
    assert_eq!(story("5cb96193f2d0#0"), ["done   \"infeasible\""], "{journal}");
}
