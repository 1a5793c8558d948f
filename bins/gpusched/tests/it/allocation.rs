//! Inside an allocation only some of the GPUs that can be seen are ours.

use std::process::Command;

use crate::place::Place;
use crate::smi::gpu;

/// Two GPUs, and an environment that speaks of some.
fn within(visible: &str, flags: &[&str]) -> Option<(Place, Command)> {
    let place = Place::new("echo on $CUDA_VISIBLE_DEVICES > out1\necho on $CUDA_VISIBLE_DEVICES > out2\n");
    let mut command = place.queue_on_smi(flags)?;
    place.set_gpus(&[gpu(0, 4), gpu(1, 4)], "");
    command.env("CUDA_VISIBLE_DEVICES", visible);
    Some((place, command))
}

#[test]
fn the_gpus_of_the_environment_are_the_ones_to_use() {
    let Some((place, command)) = within("1", &[]) else { return };
    place.start(command).wait().exits(0).says("CUDA_VISIBLE_DEVICES is '1': using gpu [1] and no others");
    assert_eq!((place.read("out1"), place.read("out2")), ("on 1\n".to_owned(), "on 1\n".to_owned()));
}

#[test]
fn the_command_line_has_the_last_word() {
    let Some((place, command)) = within("1", &["--gpus", "0"]) else { return };
    place.start(command).wait().exits(0);
    assert_eq!((place.read("out1"), place.read("out2")), ("on 0\n".to_owned(), "on 0\n".to_owned()));
}

#[test]
fn an_environment_that_leaves_no_gpu_is_an_error() {
    let Some((place, command)) = within("", &[]) else { return };
    let done = place.start(command).wait();
    done.exits(69);
    assert!(done.err.contains("leaves none of the GPUs to us") && done.err.contains("--gpus 0,1"));
    assert!(!place.path("gpusched_logs/journal.jsonl").exists());
}
