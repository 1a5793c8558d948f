//! What the session of a job is called.

use model::{GpuIndex, JobNo};

/// The most characters of the value of `--mode`.
const LONGEST_MODE: usize = 20;

/// The most characters of a name.
const LONGEST: usize = 60;

/// `gpujob_0-1_train_4`: the GPUs, the value of `--mode` in the command, the number.
pub(super) fn session_name(gpus: &[GpuIndex], command: &str, no: JobNo) -> String {
    let gpus: Vec<String> = gpus.iter().map(GpuIndex::to_string).collect();
    let mut words = command.split_ascii_whitespace();
    let mut mode = None;
    while let (None, Some(word)) = (mode, words.next()) {
        mode = if word == "--mode" { words.next() } else { word.strip_prefix("--mode=") };
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let mode: String = mode.unwrap_or("unknown").chars().take(LONGEST_MODE).map(plain).collect();
    let tail = format!("_{mode}_{no}");
    let head = format!("gpujob_{}", gpus.join("-"));
    let room = LONGEST.saturating_sub(tail.len());
    format!("{}{tail}", head.get(..room.min(head.len())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gpus: &[u16], command: &str, expect: &str) {
        let gpus: Vec<GpuIndex> = gpus.iter().copied().map(GpuIndex).collect();
        assert_eq!(session_name(&gpus, command, JobNo(4)), expect);
    }

    #[test]
    fn names() {
        check(&[0], "python x.py --mode train", "gpujob_0_train_4");
        check(&[0, 3], "python x.py --mode=a/b.c:d", "gpujob_0-3_a_b_c_d_4");
        check(&[1], "python x.py --model y", "gpujob_1_unknown_4");
        check(&[1], "python x.py --model y --mode z", "gpujob_1_z_4");
        check(&[1], "x --mode abcdefghijklmnopqrstuvwxyz", "gpujob_1_abcdefghijklmnopqrst_4");
        let many: Vec<u16> = (100..130).collect();
        let name = session_name(&many.iter().copied().map(GpuIndex).collect::<Vec<_>>(), "x", JobNo(4));
        assert!(name.len() == 60 && name.ends_with("_unknown_4"), "{name}");
    }
}
