//! Whether jobs of the Python tool still run.
//!
//! Its journal has nothing but their process group, a number that may have been
//! given to somebody else since. Every job of it has `CUDA_VISIBLE_DEVICES`,
//! though, which hardly anyone else has.

use std::fs;
use std::path::Path;

/// Of these process groups, those in which a job seems to run.
pub fn alive(groups: &[u32]) -> Vec<u32> {
    alive_in(Path::new("/proc"), groups)
}

fn alive_in(proc: &Path, groups: &[u32]) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let mut found: Vec<u32> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|process| {
            let group = running_group(&fs::read_to_string(process.join("stat")).ok()?)?;
            let is_job = groups.contains(&group) && sees_gpus(&fs::read(process.join("environ")).ok()?);
            is_job.then_some(group)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The process group of a process that is not a zombie, from `/proc/PID/stat`.
fn running_group(stat: &str) -> Option<u32> {
    // The name in parentheses may hold anything, parentheses included.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(group)
}

fn sees_gpus(environ: &[u8]) -> bool {
    environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"CUDA_VISIBLE_DEVICES="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_alive_if_its_group_has_a_process_with_gpus() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, stat: &str, environ: &str| {
            let dir = proc.path().join(pid);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("stat"), stat).unwrap();
            fs::write(dir.join("environ"), environ).unwrap();
        };
        process("10", "10 (sh) S 1 7 7 0 -1", "A=1\0CUDA_VISIBLE_DEVICES=0\0");
        process("11", "11 (a) b) (c) R 10 7 7 0 -1", "CUDA_VISIBLE_DEVICES=0\0");
        process("12", "12 (sleep) S 1 8 8 0 -1", "A=1\0");
        process("13", "13 (sh) Z 1 9 9 0 -1", "CUDA_VISIBLE_DEVICES=0\0");
        process("self", "nonsense", "CUDA_VISIBLE_DEVICES=0\0");
        assert_eq!(alive_in(proc.path(), &[7, 8, 9, 10]), [7]);
        assert_eq!(alive_in(proc.path(), &[8]), [0; 0]);
    }
}
