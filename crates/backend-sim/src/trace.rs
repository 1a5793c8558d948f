//! The story of a run: a digest of all of it, and its last lines.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept for a failure's report.
const KEPT: usize = 60;

/// What happened, in order.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    last: VecDeque<String>,
    digest: u64,
    steps: u64,
    aloud: bool,
}

impl Trace {
    pub(crate) fn new(aloud: bool) -> Self {
        Self { aloud, digest: 0xcbf2_9ce4_8422_2325, ..Self::default() }
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = what.to_string();
        for byte in line.bytes() {
            // FNV-1a.
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        #[expect(clippy::print_stderr, reason = "asked for by SIM_SEED")]
        if self.aloud {
            eprintln!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(crate) fn count_step(&mut self) {
        self.steps += 1;
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn tail(&self) -> String {
        self.last.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
