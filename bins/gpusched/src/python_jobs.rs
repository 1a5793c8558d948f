//! Whether jobs of the Python tool still run.
//!
//! Its journal has nothing but their process group, a number that may have been
//! given to somebody else since. Every job of it has `CUDA_VISIBLE_DEVICES`,
//! though, which hardly anyone else has.

use std::collections::BTreeSet;
use std::fs;

use driver::proc::{Census, Process};

/// Of these process groups, those in which a job seems to run.
pub fn alive(groups: &[u32]) -> BTreeSet<u32> {
    let is_job =
        |process: &&Process| groups.contains(&process.group.0) && process.is_alive() && sees_gpus(process);
    Census::take().iter().filter(is_job).map(|process| process.group.0).collect()
}

fn sees_gpus(process: &Process) -> bool {
    let environ = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"CUDA_VISIBLE_DEVICES="))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_job_is_alive_if_its_group_has_a_process_with_gpus() {
        let sleep = |with_gpus: bool| {
            let mut command = Command::new("sleep");
            command.arg("60").process_group(0).env_remove("CUDA_VISIBLE_DEVICES");
            if with_gpus {
                command.env("CUDA_VISIBLE_DEVICES", "0");
            }
            command.spawn().unwrap()
        };
        let mut children = [sleep(true), sleep(true), sleep(false)];
        let groups = children.each_ref().map(std::process::Child::id);
        let [job, other_job, stranger] = groups;
        let (all, without_job) = (alive(&groups), alive(&[other_job, stranger]));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!((all, without_job), ([job, other_job].into(), [other_job].into()));
        assert_eq!(alive(&groups), BTreeSet::new());
    }
}
