//! Jobs that wait for GPUs in odd states, and are told why.

use e2e::wait_until;

use crate::place::{LONG, Place};
use crate::smi::gpu;

/// One job that waits on these GPUs, with these words on the board, and runs
/// once they are as `better` says.
#[track_caller]
fn check(job: &str, gpus: &[String], why: &str, better: &[String]) {
    let place = Place::new(&format!("{job}\n"));
    place.set_gpus(gpus, "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let running = place.start(queue);
    wait_until(why, LONG, || place.board().contains("job 1   pending") && place.board().contains(why));
    place.set_gpus(better, "");
    let done = running.wait();
    done.exits(0).says("job 1 finished [OK]");
    assert!(!done.out.contains("INFEASIBLE"), "{}", done.out);
}

#[test]
fn a_gpu_that_vanishes_for_a_while_fails_no_waiting_job() {
    let place = Place::new("[gpus=2] echo $CUDA_VISIBLE_DEVICES\n");
    place.set_gpus(&[gpu(0, 0), gpu(1, 20_000)], "");
    let Some(queue) = place.queue_on_smi(&[]) else { return };
    let running = place.start(queue);
    wait_until("it waits", LONG, || place.board().contains("GPU 1 has 20000 MiB used by other processes"));
    place.set_gpus(&[gpu(0, 0)], "");
    wait_until("its absence is told", LONG, || place.board().contains("GPU 1 is not there at the moment"));
    place.set_gpus(&[gpu(0, 0), gpu(1, 0)], "");
    let done = running.wait();
    done.exits(0).says("job 1 started on gpu [0,1]");
    assert!(!done.out.contains("INFEASIBLE"), "{}", done.out);
}

#[test]
fn a_job_that_just_does_not_fit_is_told_what_it_lacks() {
    check(
        "[vram=24061] true",
        &[gpu(0, 4)],
        "needs 24061 + 512 MiB; GPU 0 comes closest with 24572 MiB free",
        &[gpu(0, 0)],
    );
}

#[test]
fn a_job_that_waits_for_an_idle_gpu_is_told_who_uses_it() {
    check(
        "true",
        &[gpu(0, 300)],
        "needs 1 idle GPU; GPU 0 has 300 MiB used by other processes (idle means below 200 MiB)",
        &[gpu(0, 199)],
    );
}
