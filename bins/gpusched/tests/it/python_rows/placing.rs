//! Its rules of placement.

use e2e::wait_until;

use crate::place::{LONG, Place};
use crate::smi::gpu;

const UNTIL_GO: &str = "until [ -e go ]; do sleep 0.05; done\n";

#[test]
fn a_job_without_declaration_has_an_idle_gpu_to_itself() {
    let place = Place::new(&format!("[vram=1G] {UNTIL_GO}{UNTIL_GO}[vram=1G] echo c\necho d\n"));
    let running = place.start(place.queue(&[]));
    running.wait_for("job 1 started on gpu [0] (1/4 dispatched, declared 1024 MiB/gpu)");
    running.wait_for("job 2 started on gpu [1] (2/4 dispatched, undeclared (exclusive idle GPU))");
    running.wait_for("job 3 started on gpu [0]");
    running.wait_for("job 3 finished [OK]");
    wait_until("the fourth waits", LONG, || place.board().contains("· job 4   pending (needs 1 idle GPU"));
    place.write("go", "");
    running.wait().exits(0).says("all 4 jobs done — 4 ok");
}

#[test]
fn several_gpus_without_declaration_are_idle_ones() {
    let place = Place::new("[gpus=2] echo $CUDA_VISIBLE_DEVICES\n");
    place.set_gpus(&[gpu(0, 300), gpu(1, 0), gpu(2, 199)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    place.start(queue).wait().exits(0).says("job 1 started on gpu [1,2]");
    assert_eq!(place.log("job001_gpu1-2"), "1,2\n");
}

#[test]
fn what_a_job_declared_is_kept_for_it_before_it_uses_it() {
    let place = Place::new(&format!("[vram=14G] {UNTIL_GO}").repeat(3));
    let running = place.start(place.queue(&[]));
    running.wait_for("job 1 started on gpu [0]");
    running.wait_for("job 2 started on gpu [1]");
    let why = "· job 3   pending vram 14336 (needs 14336 + 512 MiB; GPU 0 comes closest with 10240 MiB free)";
    wait_until(why, LONG, || place.board().contains(why));
    place.write("go", "");
    running.wait().exits(0);
}

#[test]
fn of_the_gpus_with_room_the_fullest_are_taken() {
    let place = Place::new(&format!("[vram=4G] {UNTIL_GO}[vram=4G gpus=2] true\n[vram=23G] true\n"));
    place.set_gpus(&[gpu(0, 0), gpu(1, 15_000), gpu(2, 10_000), gpu(3, 21_000)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let running = place.start(queue);
    running.wait_for("job 1 started on gpu [1]");
    running.wait_for("job 2 started on gpu [1,2]");
    running.wait_for("job 3 started on gpu [0]");
    place.write("go", "");
    running.wait().exits(0);
}

#[test]
fn lines_are_started_in_the_order_of_the_file() {
    let lines: Vec<String> = (1..=6).map(|no| format!("echo {no} >> order\n")).collect();
    let place = Place::new(&lines.concat());
    place.run(&["--gpus", "0"]).exits(0);
    assert_eq!(place.read("order"), "1\n2\n3\n4\n5\n6\n");
}
