//! Asking `nvidia-smi`.

use std::collections::BTreeMap;
use std::time::Duration;

use backend::{CommandOutput, GpuBackend, Runner, Surroundings};
use model::{ComputeApp, Gpu, GpuIndex, GpuSnapshot, Unavailable};

use crate::is_idle;
use crate::parse::{self, AnswerError, FIELD_SETS};
use crate::refusal;

/// How long a call may take until one was answered: without persistence mode
/// the driver starts up first.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(60);

/// How long a later call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads GPU state from `nvidia-smi`.
///
/// A snapshot takes one call for the GPUs, and a second one for the processes,
/// since `nvidia-smi` does not answer both in one; it is left out while every
/// GPU is known to be idle (at most 16 MiB used), when no process can hold
/// anything worth counting. Nothing else would be safe to leave out: with equal
/// device totals, memory may still have passed from one process to another,
/// and the peaks of both would be wrong.
///
/// A driver that does not know one of the fields is asked for fewer from then
/// on: first without MIG and sensors, at last without the utilization.
#[derive(Debug)]
pub struct NvidiaSmi<R> {
    runner: R,
    /// Which of [`FIELD_SETS`] the driver knows.
    fields: usize,
    answered: bool,
}

impl<R: Runner> NvidiaSmi<R> {
    /// Asks by `runner`, which finds `nvidia-smi` on PATH.
    pub const fn new(runner: R) -> Self {
        Self { runner, fields: 0, answered: false }
    }

    fn gpus(&mut self) -> Result<BTreeMap<GpuIndex, Gpu>, Unavailable> {
        loop {
            let fields = FIELD_SETS[self.fields];
            let output = self.call(&format!("--query-gpu={}", fields.join(",")))?;
            if refusal::is_unknown_field(&output) && self.fields + 1 < FIELD_SETS.len() {
                self.fields += 1;
            } else {
                return read(&output, |text| parse::gpus(text, fields));
            }
        }
    }

    fn apps(&mut self, gpus: &BTreeMap<GpuIndex, Gpu>) -> Result<Vec<ComputeApp>, Unavailable> {
        let output = self.call(&format!("--query-compute-apps={}", parse::APP_FIELDS.join(",")))?;
        read(&output, |text| parse::apps(text, gpus))
    }

    fn call(&mut self, query: &str) -> Result<CommandOutput, Unavailable> {
        let patience = if self.answered { PATIENCE } else { PATIENCE_AT_FIRST };
        let argv = ["nvidia-smi", query, "--format=csv,noheader,nounits"];
        let output = self
            .runner
            .run(&Surroundings::plain(), &argv, patience)
            .map_err(|error| Unavailable(format!("{error}{}", refusal::advice(&error.to_string()))))?;
        self.answered = true;
        Ok(output)
    }
}

impl<R: Runner> GpuBackend for NvidiaSmi<R> {
    fn snapshot(&mut self) -> Result<GpuSnapshot, Unavailable> {
        let gpus = self.gpus()?;
        let idle = gpus.values().all(|gpu| is_idle(gpu.used));
        let apps = if idle { Vec::new() } else { self.apps(&gpus)? };
        Ok(GpuSnapshot { gpus, apps })
    }
}

fn read<T>(
    output: &CommandOutput,
    parse: impl FnOnce(&str) -> Result<T, AnswerError>,
) -> Result<T, Unavailable> {
    if !refusal::is_answer(output) {
        return Err(Unavailable(refusal::explain(output)));
    }
    parse(&output.stdout)
        .map_err(|error| Unavailable(format!("nvidia-smi: {error}{}", refusal::advice(&output.stdout))))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use backend::CommandError;

    use super::*;

    /// Answers in turn and remembers what was asked: the first letters of the
    /// query, its number of fields, and the patience in seconds.
    struct Script {
        answers: VecDeque<Answer>,
        asked: Vec<String>,
    }

    /// Exit code and standard output; nothing where it does not answer in time.
    type Answer = Option<(i32, &'static str)>;

    impl Runner for Script {
        fn run(
            &mut self,
            _: &Surroundings,
            argv: &[&str],
            timeout: Duration,
        ) -> Result<CommandOutput, CommandError> {
            assert_eq!((argv[0], argv[2]), ("nvidia-smi", "--format=csv,noheader,nounits"));
            let (query, fields) = argv[1].split_once('=').expect("a query with fields");
            let count = fields.split(',').count();
            self.asked.push(format!("{query} {count} {}s", timeout.as_secs()));
            let answer = self.answers.pop_front().expect("no more calls than answers");
            let output = |(code, stdout): (i32, &str)| CommandOutput {
                code: Some(code),
                stdout: stdout.to_owned(),
                stderr: String::new(),
            };
            let program = argv[0].to_owned();
            answer.map(output).ok_or(CommandError::TimedOut { program, seconds: timeout.as_secs() })
        }
    }

    fn nvidia_smi<const N: usize>(answers: [Answer; N]) -> NvidiaSmi<Script> {
        NvidiaSmi::new(Script { answers: answers.into(), asked: Vec::new() })
    }

    const IDLE_GPU: &str = "0, GPU-0, 24576, 16, 24210, 0, Disabled, P8, 33, 14.1\n";
    const BUSY_GPU: &str = "0, GPU-0, 24576, 17, 24209, 9, Disabled, P0, 33, 14.1\n";
    const UNTOLD_GPU: &str = "0, GPU-0, [N/A], [N/A], [N/A], 0, [N/A], P0, 33, 14.1\n";
    const REFUSED: &str = "Field \"x\" is not a valid field to query.\n\n";

    #[test]
    fn idle_gpus_take_one_call() {
        let mut smi = nvidia_smi([Some((0, IDLE_GPU)), Some((0, IDLE_GPU))]);
        assert_eq!(smi.snapshot().unwrap().apps, []);
        assert_eq!(smi.snapshot().unwrap().gpus.len(), 1);
        assert_eq!(smi.runner.asked, ["--query-gpu 10 60s", "--query-gpu 10 10s"]);
    }

    #[test]
    fn processes_are_asked_for_where_memory_is_used_or_unknown() {
        for gpu in [BUSY_GPU, UNTOLD_GPU] {
            let mut smi = nvidia_smi([Some((0, gpu)), Some((0, "GPU-0, 12, 13\n"))]);
            let app = ComputeApp {
                gpu: GpuIndex(0),
                pid: model::Pid(12),
                used: Some(model::Mib::new(13)),
                owner: None,
            };
            assert_eq!(smi.snapshot().unwrap().apps, [app]);
            assert_eq!(smi.runner.asked, ["--query-gpu 10 60s", "--query-compute-apps 3 10s"]);
        }
    }

    #[test]
    fn refused_fields_are_given_up_for_good() {
        let mut smi = nvidia_smi([
            Some((2, REFUSED)),
            Some((2, REFUSED)),
            Some((0, "0, GPU-0, 24576, 4, 24210\n")),
            Some((0, "0, GPU-0, 24576, 4, 24210\n")),
        ]);
        assert_eq!(smi.snapshot().unwrap(), smi.snapshot().unwrap());
        let expect = ["--query-gpu 10 60s", "--query-gpu 6 10s", "--query-gpu 5 10s", "--query-gpu 5 10s"];
        assert_eq!(smi.runner.asked, expect);
    }

    /// What the snapshot fails with.
    #[track_caller]
    fn check_unavailable<const N: usize>(answers: [Answer; N], expect: &str) {
        let mut smi = nvidia_smi(answers);
        assert_eq!(smi.snapshot(), Err(Unavailable(expect.to_owned())));
        assert!(smi.runner.answers.is_empty());
    }

    #[test]
    fn what_is_no_answer() {
        check_unavailable(
            [None],
            "nvidia-smi did not answer within 60 s; the driver hangs or is busy: see the Xid lines in the kernel log",
        );
        check_unavailable(
            [Some((2, REFUSED)), Some((2, REFUSED)), Some((2, REFUSED))],
            "nvidia-smi failed with code 2 (an argument is not valid): Field \"x\" is not a valid field to query.",
        );
        check_unavailable(
            [Some((6, "No devices were found\n"))],
            "nvidia-smi failed with code 6 (nothing was found): No devices were found; \
             the driver sees no GPU: see the kernel log",
        );
        check_unavailable([Some((0, ""))], "nvidia-smi: the driver lists no GPU");
        check_unavailable(
            [Some((0, BUSY_GPU)), Some((4, ""))],
            "nvidia-smi failed with code 4 (no permission)",
        );
    }

    #[test]
    fn complaints_among_the_rows_are_passed_on() {
        let unavailable = nvidia_smi([Some((0, include_str!("../fixtures/rows-and-complaint.csv")))])
            .snapshot()
            .unwrap_err()
            .0;
        assert!(unavailable.contains("GPU0000:07:00.0: Unknown Error"), "{unavailable}");
        assert!(unavailable.contains("Xid"), "{unavailable}");
    }

    #[test]
    fn a_corrupt_inforom_is_only_a_warning() {
        let text = concat!(
            "0, GPU-0, 24576, 16, 24210, 0, Disabled, P8, 33, 14.1\n",
            "WARNING: infoROM is corrupted at gpu 0000:89:00.0\n"
        );
        assert_eq!(nvidia_smi([Some((14, text))]).snapshot().unwrap().gpus.len(), 1);
    }

    #[test]
    fn patience_lasts_until_the_first_answer() {
        let mut smi = nvidia_smi([None, Some((0, IDLE_GPU)), None]);
        let told: Vec<_> = (0..3).map(|_| smi.snapshot().is_ok()).collect();
        assert_eq!(told, [false, true, false]);
        assert_eq!(smi.runner.asked, ["--query-gpu 10 60s", "--query-gpu 10 60s", "--query-gpu 10 10s"]);
    }
}
