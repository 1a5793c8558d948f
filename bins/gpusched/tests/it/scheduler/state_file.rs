//! The state file: what others read there, and what they write.

use std::fs;

use e2e::wait_until;
use serde_json::Value;

use crate::place::{LONG, Place, Running, UNTIL_GO, is_there};

const FILE: &str = "gpu_scheduler_state.json";

fn state(place: &Place) -> Value {
    serde_json::from_str(&place.read(FILE)).unwrap_or_default()
}

/// Changes the list of paused GPUs and leaves the rest, as a script would.
fn set_paused(place: &Place, gpus: &[u32]) {
    let mut document = state(place);
    document["paused_gpus"] = gpus.into();
    place.write("state.new", &document.to_string());
    fs::rename(place.path("state.new"), place.path(FILE)).unwrap();
}

#[test]
fn an_edit_of_the_state_file_pauses_and_resumes() {
    let place = Place::new("");
    let running = place.started(&[]);
    running.wait_for("queue drained");
    wait_until("it is published", LONG, || state(&place)["paused_gpus"] == Value::from(Vec::<u32>::new()));
    set_paused(&place, &[1]);
    running.wait_for("gpu 1 is paused");
    set_paused(&place, &[0]);
    running.wait_for("gpu 0 is paused");
    running.wait_for("gpu 1 takes jobs again");
    // A pause that there can't be is told and put right; the other one holds.
    set_paused(&place, &[0, 7]);
    running.wait_for("WARN  the state file pauses GPUs that there are not: 7");
    wait_until("it is put right", LONG, || state(&place)["paused_gpus"] == Value::from(vec![0]));
    set_paused(&place, &[]);
    running.wait_for("gpu 0 takes jobs again");
}

#[test]
fn a_file_of_the_old_scheduler_is_taken_over() {
    let place = Place::new("echo a\n");
    // It died with all GPUs taken, and one paused.
    place.write(FILE, r#"{"gpu_status": [1.0, 1.0], "paused_gpus": [0]}"#);
    let running = place.started(&[]);
    running.wait_for("gpu 0 is paused");
    running.wait_for("job 1 started on gpu [1]");
    wait_until("nothing is taken any more", LONG, || {
        state(&place)["gpu_status"] == serde_json::json!([0.0, 0.0])
    });
}

#[test]
fn a_broken_edit_keeps_the_last_good_state() {
    let place = Place::new("");
    let running = place.started(&[]);
    running.wait_for("queue drained");
    place.ask(&["pause", "1"]).exits(0);
    wait_until("it is published", LONG, || state(&place)["paused_gpus"] == Value::from(vec![1]));
    place.write(FILE, "{\"paused_gpus\": [0");
    running.wait_for("WARN  state file not taken over, keeping what is in force: gpu_scheduler_state.json: ");
    place.ask(&["status"]).exits(0).says("1      PAUSED").says("0      AVAILABLE");
    // Put right by hand.
    place.write(FILE, "{\"paused_gpus\": [0]}");
    running.wait_for("gpu 0 is paused");
    // What is given away is not theirs to say.
    let mut document = state(&place);
    wait_until("it is published again", LONG, || {
        document = state(&place);
        document["gpusched"]["published"]["paused_gpus"] == Value::from(vec![0])
    });
    document["gpu_status"] = serde_json::json!([1.0, 1.0]);
    place.write(FILE, &document.to_string());
    running.wait_for("gpu_status says what is given away, and can't be set");
    wait_until("it is put right", LONG, || state(&place)["gpu_status"] == serde_json::json!([0.0, 0.0]));
}

fn with_both_paused(place: &Place) -> Running {
    let running = place.started(&[]);
    running.wait_for("queue drained");
    for gpu in ["0", "1"] {
        place.ask(&["pause", gpu]).exits(0);
    }
    wait_until("it is published", LONG, || state(place)["paused_gpus"] == Value::from(vec![0, 1]));
    running
}

#[test]
fn deleting_the_state_file_clears_the_pauses() {
    let place = Place::new("");
    let running = with_both_paused(&place);
    fs::remove_file(place.path(FILE)).unwrap();
    running.wait_for("gpu 0 takes jobs again");
    running.wait_for("gpu 1 takes jobs again");
    wait_until("there is a new one", LONG, || is_there(&place.path(FILE)));
    place.ask(&["pause", "1"]).exits(0);
    drop(running);
    fs::remove_file(place.path(FILE)).unwrap();
    let running = place.started(&[]);
    running.wait_for("gpu 1 takes jobs again");
}

#[test]
fn a_state_file_that_is_being_replaced_is_not_taken_for_a_removed_one() {
    let place = Place::new("");
    let running = with_both_paused(&place);
    place.edit("echo a > ran\n");
    wait_until("the job waits", LONG, || place.board().contains("GPU 0 is paused"));
    // Some editors move the old one away before they write the new one.
    let content = place.read(FILE);
    fs::rename(place.path(FILE), place.path("backup")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    place.write(FILE, &content);
    place.ask(&["resume", "1"]).exits(0);
    running.wait_for("job 1 started on gpu [1]");
    assert!(!running.out().contains("gpu 0 takes jobs again"), "{}", running.out());
}

#[test]
fn the_state_file_shows_what_is_given_away() {
    let place = Place::new(&format!("[gpus=0.25 on=1] {UNTIL_GO}\n[on=0] {UNTIL_GO}\n"));
    let running = place.started(&[]);
    running.wait_for("job 2 started");
    wait_until("it shows", LONG, || state(&place)["gpu_status"] == serde_json::json!([1.0, 0.25]));
    place.write("go", "");
    wait_until("it is given back", LONG, || state(&place)["gpu_status"] == serde_json::json!([0.0, 0.0]));
    drop(running);
}
