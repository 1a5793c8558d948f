//! A command and its GPUs: how it is told which it got, and what it is called.

use std::ops::Range;

use model::{GpuIndex, JobNo};

use crate::CudaIds;
use crate::shell::{self, Given, Kind, Value};

/// What stands for the indices of the GPUs.
const GPUS: &str = "{gpus}";

/// The option that has the GPUs as its value.
const CUDA: &str = "--cuda";

/// The longest name of a session, in characters.
const LONGEST_SESSION: usize = 60;

/// The longest mode, in characters.
const LONGEST_MODE: usize = 20;

/// The command with its GPUs in it.
///
/// `{gpus}` becomes their indices, such as `0,3`, also between quotes, but not
/// `${gpus}` and `{{gpus}}`, which mean something to others. Where the command
/// is to have `--cuda`, each such option gets them as its value, in place of any
/// it has; if there is none, it is put at the end. A `--cuda` that is only a part
/// of a quoted text is left alone.
pub fn with_gpus(command: &str, cuda: Option<CudaIds>, gpus: &[GpuIndex]) -> String {
    let indices = joined(gpus.iter().map(|gpu| gpu.0), ",");
    let command = with_indices(command, &indices);
    match cuda {
        None => command,
        Some(CudaIds::Index) => with_cuda(&command, &indices),
        Some(CudaIds::Visible) => with_cuda(&command, &joined(0..gpus.len(), ",")),
    }
}

fn joined<T: ToString>(items: impl Iterator<Item = T>, between: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(between)
}

fn with_indices(command: &str, indices: &str) -> String {
    let mut text = String::with_capacity(command.len());
    let mut rest = command;
    while let Some(at) = rest.find(GPUS) {
        let (before, behind) = (&rest[..at], &rest[at + GPUS.len()..]);
        text.push_str(before);
        // What was replaced before ends with a digit, so this is the text's own.
        let is_other = text.ends_with('$') || (text.ends_with('{') && behind.starts_with('}'));
        text.push_str(if is_other { GPUS } else { indices });
        rest = behind;
    }
    text + rest
}

fn with_cuda(command: &str, ids: &str) -> String {
    let given = shell::options(command, CUDA);
    if given.is_empty() {
        return format!("{command} {CUDA} {ids}");
    }
    let mut text = String::with_capacity(command.len() + ids.len());
    let mut next = 0;
    for Given { word, value } in given {
        let (span, new) = match value {
            Value::Next(value) => (value, ids.to_owned()),
            Value::Joined => (word, format!("{CUDA}={ids}")),
            Value::Missing => (word.end..word.end, format!(" {ids}")),
        };
        text.push_str(&command[next..span.start]);
        text.push_str(&new);
        next = span.end;
    }
    text + &command[next..]
}

/// What makes it unclear where `--cuda` belongs in a command that has none: the
/// end of its line is not that of one program's arguments.
pub(crate) fn hides_end(command: &str) -> Option<Range<usize>> {
    if !shell::options(command, CUDA).is_empty() {
        return None;
    }
    // A backslash at the end would take the blank that is put behind it.
    let is_hiding = |token: &shell::Token| {
        token.kind != Kind::Word || (token.span.end == command.len() && ends_escaping(command))
    };
    shell::tokens(command).into_iter().find(is_hiding).map(|token| token.span)
}

fn ends_escaping(command: &str) -> bool {
    command.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// What a command calls its mode, by `--mode NAME` or `--mode=NAME`, of which the
/// first counts: its letters of ASCII, digits, `_` and `-`, at most 20; `unknown`
/// where there are none.
pub fn mode_in(command: &str) -> String {
    let value = shell::first_value(command, "--mode").unwrap_or_default();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mode: String = value.chars().filter(is_plain).take(LONGEST_MODE).collect();
    if mode.is_empty() { "unknown".to_owned() } else { mode }
}

/// The name of the session that a job runs in: `gpujob_`, its GPUs, its mode and
/// its number, such as `gpujob_0-3_train_7`. It has at most 60 characters, and
/// always the whole number.
pub fn session_name(gpus: &[GpuIndex], command: &str, no: JobNo) -> String {
    let mut name = format!("gpujob_{}_{}", joined(gpus.iter().map(|gpu| gpu.0), "-"), mode_in(command));
    let end = format!("_{no}");
    // All of it is ASCII.
    name.truncate(LONGEST_SESSION - end.len());
    name + &end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(indices: &[u16]) -> Vec<GpuIndex> {
        indices.iter().copied().map(GpuIndex).collect()
    }

    /// The command with GPUs 3 and 5, told by these numbers.
    #[track_caller]
    fn check(command: &str, cuda: Option<CudaIds>, expect: &str) {
        assert_eq!(with_gpus(command, cuda, &gpus(&[3, 5])), expect, "{command}");
    }

    #[test]
    fn indices() {
        check("echo a", None, "echo a");
        check("run --gpus {gpus} '{gpus}'", None, "run --gpus 3,5 '3,5'");
        check("${gpus} {{gpus}} {gpus}{gpus}", None, "${gpus} {{gpus}} 3,53,5");
        check("{{gpus} {gpus}} $ {gpus}", None, "{3,5 3,5} $ 3,5");
        check("echo --cuda 1", None, "echo --cuda 1");
    }

    #[test]
    fn the_option() {
        let index = Some(CudaIds::Index);
        check("python a.py", index, "python a.py --cuda 3,5");
        check("python a.py", Some(CudaIds::Visible), "python a.py --cuda 0,1");
        check("a --cuda 0 -x", index, "a --cuda 3,5 -x");
        check("a --cuda -1 -x", index, "a --cuda 3,5 -x");
        check("a --cuda='0 1' -x", index, "a --cuda=3,5 -x");
        check("a '--cuda=0' -x", index, "a --cuda=3,5 -x");
        check("a --cuda \"0, 1\" b --cuda 2", index, "a --cuda 3,5 b --cuda 3,5");
        check("a --cuda $(pick 1) b", index, "a --cuda 3,5 b");
        check("a --cuda", index, "a --cuda 3,5");
        check("a --cuda --mode x", index, "a --cuda 3,5 --mode x");
        check("a --cuda|tee x", index, "a --cuda 3,5|tee x");
        check("a --cuda {gpus} | tee x", index, "a --cuda 3,5 | tee x");
        check("a --cuda {gpus} | tee x", Some(CudaIds::Visible), "a --cuda 0,1 | tee x");
        check("a '{gpus}'", index, "a '3,5' --cuda 3,5");
    }

    #[test]
    fn what_is_not_the_option() {
        let index = Some(CudaIds::Index);
        check("bash -c 'a --cuda 0'", index, "bash -c 'a --cuda 0' --cuda 3,5");
        check("a \"--cuda 0\"", index, "a \"--cuda 0\" --cuda 3,5");
        check("a --cuda-x 0 x--cuda", index, "a --cuda-x 0 x--cuda --cuda 3,5");
        check("a \\--cuda\\ 0", index, "a \\--cuda\\ 0 --cuda 3,5");
    }

    #[track_caller]
    fn check_end(command: &str, expect: Option<&str>) {
        assert_eq!(hides_end(command).map(|span| &command[span]), expect, "{command}");
    }

    #[test]
    fn what_hides_the_end() {
        check_end("python a.py 'x | y' $(date; date) \\; ${x:-(y)} a#b", None);
        check_end("python a.py > log", Some(">"));
        check_end("a | b", Some("|"));
        check_end("(a)", Some("("));
        check_end("a # b", Some("# b"));
        check_end("a 'b", Some("'b"));
        check_end("a b\\", Some("b\\"));
        check_end("a b\\\\", None);
        check_end("a --cuda {gpus} | b", None);
        check_end("a '--cuda | b'; c", Some(";"));
    }

    #[test]
    fn modes() {
        for (command, mode) in [
            ("a --mode train", "train"),
            ("a --mode='eval/fast (2)'", "evalfast2"),
            ("a --mode train --mode eval", "train"),
            ("a --mode a_b-cdefghijklmnopqrstuvwxyz", "a_b-cdefghijklmnopqr"),
            ("a --mode é", "unknown"),
            ("a --mode --x", "unknown"),
            ("a", "unknown"),
        ] {
            assert_eq!(mode_in(command), mode, "{command}");
        }
    }

    #[test]
    fn names_of_sessions() {
        let name = |indices: &[u16], no| session_name(&gpus(indices), "a --mode train", JobNo(no));
        assert_eq!(name(&[0], 7), "gpujob_0_train_7");
        assert_eq!(name(&[0, 3], 12), "gpujob_0-3_train_12");
        let many: Vec<u16> = (0..40).collect();
        let long = name(&many, u32::MAX);
        assert!(
            long.len() == 60 && long.starts_with("gpujob_0-1-") && long.ends_with("_4294967295"),
            "{long}"
        );
    }
}
