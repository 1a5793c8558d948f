//! Which job goes where, and when.

use std::process::Command;

use e2e::wait_until;

use crate::place::{LONG, Place, Running, UNTIL_GO};
use crate::smi::gpu;

/// A GPU of 24 GiB with so many MiB in use, so many per cent busy.
fn busy(index: usize, used: u32, percent: u32) -> String {
    gpu(index, used).replace(r#""util":0"#, &format!(r#""util":{percent}"#))
}

/// `gpusched start` on the GPUs that the fake `nvidia-smi` tells of.
fn started_on_smi(place: &Place, flags: &[&str]) -> Option<Running> {
    let queue = place.queue_on_smi(&[])?;
    let mut command = Command::new(queue.get_program());
    command.args(["start", "--read-gpus", "nvidia-smi", "--poll", "0.1"]).args(flags);
    let mut command = place.in_place(command);
    for (name, value) in queue.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.env(name, value);
    }
    Some(place.start(command))
}

#[test]
fn a_gpu_above_a_threshold_takes_no_new_job() {
    let place = Place::new("echo a > ran\n");
    place.set_gpus(&[busy(0, 22_000, 0), busy(1, 0, 95)], "");
    let Some(running) = started_on_smi(&place, &[]) else { return };
    wait_until("both GPUs are above", LONG, || {
        let board = place.board();
        board.contains("GPU 0 is at 90% memory, above the threshold of 80%")
            || board.contains("GPU 1 is at 95% load, above the threshold of 80%")
    });
    assert_eq!(place.read("ran"), "");
    drop(running);
    // Others use half of it, and it is free all the same.
    place.set_gpus(&[busy(0, 12_000, 70), busy(1, 0, 95)], "");
    let running = started_on_smi(&place, &[]).unwrap();
    running.wait_for("job 1 started on gpu [0]");
    drop(running);
    place.edit("echo b > again\n");
    place.set_gpus(&[busy(0, 22_000, 95), busy(1, 0, 97)], "");
    let running = started_on_smi(&place, &["--mem-threshold", "0.95", "--load-threshold", "0.96"]).unwrap();
    running.wait_for("job 2 started on gpu [0]");
    let refused = place.ask(&["start", "--mem-threshold", "high"]);
    refused.exits(2);
    assert!(refused.err.contains("--mem-threshold: 'high' is not a fraction"), "{}", refused.err);
}

#[test]
fn what_waits_goes_where_the_load_has_fallen() {
    let place = Place::new("[gpus=0.5] echo $CUDA_VISIBLE_DEVICES > ran\n");
    place.set_gpus(&[busy(0, 0, 95), busy(1, 0, 95)], "");
    let Some(running) = started_on_smi(&place, &[]) else { return };
    wait_until("it waits", LONG, || place.board().contains("above the threshold of 80%"));
    place.set_gpus(&[busy(0, 0, 95), busy(1, 0, 10)], "");
    running.wait_for("job 1 started on gpu [1]");
    wait_until("it ran there", LONG, || place.read("ran") == "1\n");
}

#[test]
fn two_halves_share_a_gpu_and_a_third_waits() {
    let half = &format!("[gpus=0.5] {UNTIL_GO}\n");
    let place = Place::new(&format!("{half}{half}{half}"));
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("job 2 started on gpu [0] (2/3 dispatched, 0.5 of it)");
    wait_until("the third waits", LONG, || {
        place.board().contains("needs 0.5 of a GPU; GPU 0 has 0 of it left")
    });
    assert!(!running.out().contains("job 3 started"));
    place.write("go", "");
    running.wait_for("job 3 finished [OK]");
}

#[test]
fn a_part_goes_where_others_are() {
    let place = Place::new(&format!("[gpus=0.25 on=1] {UNTIL_GO}\n[gpus=0.5] {UNTIL_GO}\n"));
    let running = place.started(&[]);
    running.wait_for("job 2 started on gpu [1]");
    place.write("go", "");
    running.wait_for("job 2 finished [OK]");
}

#[test]
fn a_part_and_memory_go_together() {
    // The halves leave no memory for a job that declares some, and the other way round.
    let place = Place::new(&format!(
        "[gpus=0.5] {UNTIL_GO}\n[gpus=0.5 vram=2G] {UNTIL_GO}\n[vram=10G] {UNTIL_GO}\n[vram=1G] {UNTIL_GO}\n"
    ));
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("job 2 started on gpu [0] (2/4 dispatched, 0.5 of it, declared 2048 MiB)");
    running.wait_for("job 4 started on gpu [0]");
    wait_until("the third says what it lacks", LONG, || {
        place.board().contains("needs 10240 + 512 MiB; GPU 0 comes closest with 9216 MiB free")
    });
    place.write("go", "");
    running.wait_for("job 3 finished [OK]");
}

#[test]
fn lower_priorities_go_first_and_equal_ones_in_file_order() {
    let lines: Vec<String> = [(5, "e"), (0, "b"), (0, "c"), (-2, "a"), (1, "d")]
        .iter()
        .map(|(priority, name)| format!("[priority={priority}] echo {name} >> order\n"))
        .collect();
    let place = Place::new(&lines.concat());
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("queue drained");
    assert_eq!(place.read("order"), "a\nb\nc\nd\ne\n");
}

#[test]
fn gpus_is_how_many_gpus_to_use() {
    let place = Place::new("[vram=1G] echo a\n");
    let running = place.started(&["--gpus", "1"]);
    running.wait_for("using GPUs: [0]");
    drop(running);
    let more = place.ask(&["start", "--sim", "2", "--gpus", "3"]);
    more.exits(2);
    assert!(more.err.contains("there is no GPU 2\nhint: the GPUs here are 0, 1"), "{}", more.err);
    place.ask(&["start", "--sim", "2", "--gpus", "0"]).exits(2);
    place.ask(&["start", "--sim", "2", "--gpus", "0,1"]).exits(2);
}

#[test]
fn allowed_gpus_of_a_line_are_kept_to() {
    let place = Place::new("[on=1 vram=1G] echo $CUDA_VISIBLE_DEVICES >> seen\n[on=5] echo never\n");
    let running = place.started(&[]);
    running.wait_for("WARN  job 2 INFEASIBLE — needs 1 GPUs but only 0 of those it may use (5) are usable");
    running.wait_for("job 1 finished [OK]");
    assert_eq!(place.read("seen"), "1\n");
}
