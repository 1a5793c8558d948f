//! Why `nvidia-smi` gave no answer, in words, and what helps.

use backend::CommandOutput;

/// What the driver says when a field of a query is unknown to it.
const UNKNOWN_FIELD: &str = "is not a valid field to query";

/// The most of the driver's own words that are repeated, in characters.
const MOST_WORDS: usize = 300;

/// Whether the driver refused a query for a field it does not know.
pub(crate) fn is_unknown_field(output: &CommandOutput) -> bool {
    output.stdout.contains(UNKNOWN_FIELD) || output.stderr.contains(UNKNOWN_FIELD)
}

/// Whether standard output is an answer. Code 14 comes with all the rows and a
/// warning that some infoROM is corrupt, which keeps no GPU from computing.
pub(crate) fn is_answer(output: &CommandOutput) -> bool {
    matches!(output.code, Some(0 | 14))
}

/// Tells of a call that was no answer: how it ended, the driver's own words,
/// and what helps where that is known.
pub(crate) fn explain(output: &CommandOutput) -> String {
    let end = match output.code.map(|code| (code, meaning(code))) {
        None => "was ended by a signal".to_owned(),
        Some((code, Some(meaning))) => format!("failed with code {code} ({meaning})"),
        Some((code, None)) => format!("failed with code {code}"),
    };
    let words = words(output);
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    format!("nvidia-smi {end}{said}{}", advice(&words))
}

/// `; ` and what helps against a complaint of the driver; empty where nothing
/// is known to.
pub(crate) fn advice(words: &str) -> String {
    let known = ADVICE.iter().find(|(complaint, _)| words.contains(complaint));
    known.map(|(_, advice)| format!("; {advice}")).unwrap_or_default()
}

/// Parts of complaints, the more special first, and what helps.
const ADVICE: [(&str, &str); 7] = [
    ("GPU is lost", "the GPU fell off the bus: reboot the machine (the kernel log has an Xid line about it)"),
    (
        "Unable to determine the device handle",
        "a GPU does not answer: see the Xid lines in the kernel log; a reset or a reboot brings it back",
    ),
    (
        "Driver/library version mismatch",
        "the driver was updated under the running kernel module: reboot, or reload the module; \
         jobs that run are not harmed",
    ),
    ("couldn't communicate with the NVIDIA driver", "load the driver (modprobe nvidia) or reinstall it"),
    ("No devices were found", "the driver sees no GPU: see the kernel log"),
    ("is not on PATH", "it comes with the NVIDIA driver"),
    ("did not answer within", "the driver hangs or is busy: see the Xid lines in the kernel log"),
];

/// What an exit code means, by the manual of `nvidia-smi`.
fn meaning(code: i32) -> Option<&'static str> {
    Some(match code {
        2 => "an argument is not valid",
        3 => "not available on the device",
        4 => "no permission",
        6 => "nothing was found",
        8 => "a power cable is not attached",
        9 => "the driver is not loaded",
        10 => "the kernel saw an interrupt problem of a GPU",
        12 => "the NVML library is missing",
        13 => "the NVML library lacks a function",
        14 => "the infoROM is corrupted",
        15 => "a GPU fell off the bus",
        255 => "an error of another kind",
        _ => return None,
    })
}

/// What was said on both streams, in one line.
fn words(output: &CommandOutput) -> String {
    let lines = output.stdout.lines().chain(output.stderr.lines());
    let said: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    said.join(" ").chars().take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: impl Into<Option<i32>>, stdout: &str, stderr: &str, expect: &str) {
        let output =
            CommandOutput { code: code.into(), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(explain(&output), expect);
    }

    #[test]
    fn complaints_with_a_remedy() {
        check(
            255,
            include_str!("../fixtures/no-handle.txt"),
            "",
            "nvidia-smi failed with code 255 (an error of another kind): Unable to determine the device handle for \
             GPU0000:07:00.0: Unknown Error; a GPU does not answer: see the Xid lines in the kernel log; a reset or \
             a reboot brings it back",
        );
        check(
            15,
            include_str!("../fixtures/lost.txt"),
            "",
            "nvidia-smi failed with code 15 (a GPU fell off the bus): Unable to determine the device handle for \
             GPU 0000:02:00.0: GPU is lost. Reboot the system to recover this GPU; the GPU fell off the bus: reboot \
             the machine (the kernel log has an Xid line about it)",
        );
        check(
            18,
            include_str!("../fixtures/mismatch.txt"),
            "",
            "nvidia-smi failed with code 18: Failed to initialize NVML: Driver/library version mismatch NVML library \
             version: 570.124; the driver was updated under the running kernel module: reboot, or reload the module; \
             jobs that run are not harmed",
        );
        check(
            9,
            include_str!("../fixtures/no-driver.txt"),
            "",
            "nvidia-smi failed with code 9 (the driver is not loaded): NVIDIA-SMI has failed because it couldn't \
             communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.; \
             load the driver (modprobe nvidia) or reinstall it",
        );
    }

    #[test]
    fn complaints_without_one() {
        check(4, "", "", "nvidia-smi failed with code 4 (no permission)");
        check(77, "", " what\n now ", "nvidia-smi failed with code 77: what now");
        check(None, "", "", "nvidia-smi was ended by a signal");
        let long = "é".repeat(1000);
        check(1, &long, "", &format!("nvidia-smi failed with code 1: {}", "é".repeat(300)));
    }
}
