//! What the command line means: typed, checked, with every default filled in.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use allocation::Rules;
use driver::signals::OnExit;
use engine::queue::{Config, Patience};
use jobspec::Format;
use model::{GpuIndex, Mib, Ratio, SignedDuration};

use crate::cli::{self, Args, GpuSource, JobsFormat};
use crate::failure::Failure;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The jobs.
    pub jobs_file: PathBuf,
    /// How they are written; nothing where the file itself tells it.
    pub format: Option<Format>,
    /// Where logs, journal and status board go.
    pub log_dir: PathBuf,
    /// How the queue shall behave.
    pub config: Config,
    /// Which GPUs there are.
    pub gpus: Gpus,
    /// Whether what earlier runs left is put aside.
    pub fresh: bool,
    /// What becomes of running jobs when we are told to end.
    pub on_exit: OnExit,
}

/// Which GPUs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpus {
    /// Those of the machine, read in this way.
    Real(GpuSource),
    /// So many that exist in files only.
    Simulated(u16),
}

/// How long a job has between SIGTERM and SIGKILL.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// A shorter time between two looks at the GPUs would only heat the machine.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

const LONGEST_POLL: Duration = Duration::from_secs(24 * 3600);

impl Plan {
    /// The meaning of the words.
    ///
    /// # Errors
    /// A usage failure that names the flag and the word.
    pub fn resolve(args: &Args) -> Result<Self, Failure> {
        let gpus = match args.sim {
            Some(0) => return Err(Failure::usage("--sim 0: there is nothing to run on without a GPU")),
            Some(count) => Gpus::Simulated(count),
            None => Gpus::Real(args.read_gpus),
        };
        let rules = Rules {
            idle_threshold: Mib::new(args.idle_threshold),
            margin: Mib::new(args.margin),
            exclusive: args.exclusive,
            spike_buffer: ratio("--spike-buffer", &args.spike_buffer)?,
        };
        let config = Config {
            rules,
            tolerance: ratio("--tolerance", &args.tolerance)?,
            oom_retries: args.oom_retries,
            allowed: args.gpus.as_deref().map(gpu_list).transpose()?.filter(|list| !list.is_empty()),
            watch: args.watch,
            verbose: args.verbose,
            poll: poll(&args.poll)?,
            grace: GRACE,
            patience: Patience { overtakings: args.overtakes, time: overtake_time(&args.overtake_time)? },
            retry_failed: args.retry_failed,
        };
        let jobs_file = args.jobs_file.clone().ok_or_else(|| Failure::usage("no jobs file was given"))?;
        let on_exit = match args.on_exit {
            None => OnExit::BySignal,
            Some(cli::OnExit::Keep) => OnExit::Keep,
            Some(cli::OnExit::Stop) => OnExit::Stop,
        };
        let format = match args.format {
            JobsFormat::Auto => None,
            JobsFormat::Lines => Some(Format::Lines),
            JobsFormat::Csv => Some(Format::Csv),
        };
        Ok(Self {
            jobs_file,
            format,
            log_dir: args.log_dir.clone(),
            config,
            gpus,
            fresh: args.fresh,
            on_exit,
        })
    }
}

/// A time: decimal seconds, or a number with `ms`, `s`, `m` or `h`.
///
/// # Errors
/// A usage failure where it is something else or negative.
pub fn seconds(flag: &str, text: &str) -> Result<Duration, Failure> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    units
        .iter()
        .find_map(|(unit, factor)| Some((text.trim().strip_suffix(unit)?, factor)))
        .and_then(|(number, factor)| Some(number.trim_end().parse::<f64>().ok()? * factor))
        .and_then(|value| Duration::try_from_secs_f64(value).ok())
        .ok_or_else(|| {
            Failure::usage(format!("{flag}: '{text}' is not a time"))
                .hint("write seconds (5, 0.5) or a number with a unit (500ms, 5s, 2m)")
        })
}

fn poll(text: &str) -> Result<SignedDuration, Failure> {
    let time = seconds("--poll", text)?;
    if time < SHORTEST_POLL || time > LONGEST_POLL {
        return Err(Failure::usage(format!("--poll: '{text}' is not between 10 ms and 24 hours"))
            .hint("jobs start as soon as something changes, however long the time between two looks is"));
    }
    SignedDuration::try_from(time).map_err(|e| Failure::usage(format!("--poll: {e}")))
}

fn overtake_time(text: &str) -> Result<SignedDuration, Failure> {
    let time = seconds("--overtake-time", text)?;
    SignedDuration::try_from(time).map_err(|e| Failure::usage(format!("--overtake-time: {e}")))
}

fn ratio(flag: &str, text: &str) -> Result<Ratio, Failure> {
    text.trim().parse().ok().and_then(Ratio::new).ok_or_else(|| {
        Failure::usage(format!("{flag}: '{text}' is not a fraction of 0 or more"))
            .hint("0.10 stands for ten per cent")
    })
}

/// A list of GPUs such as `0,1,4-7`; empty text is an empty list.
fn gpu_list(text: &str) -> Result<BTreeSet<GpuIndex>, Failure> {
    let mut list = BTreeSet::new();
    if text.trim().is_empty() {
        return Ok(list);
    }
    for (at, item) in text.split(',').enumerate() {
        let wrong = |why: &str| {
            Failure::usage(format!("--gpus {text}: item {}, '{item}', {why}", at + 1))
                .hint("write indices and ranges with commas between them: 0,1,3 or 0-3")
        };
        let index = |word: &str| {
            let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
            word.parse().ok().filter(|_| digits).ok_or_else(|| wrong("is not the index of a GPU"))
        };
        let item = item.trim();
        if item.is_empty() {
            return Err(wrong("is empty"));
        }
        let (first, last): (u16, u16) = match item.split_once('-') {
            Some((first, last)) => (index(first)?, index(last)?),
            None => (index(item)?, index(item)?),
        };
        if first > last {
            return Err(wrong("ends before it begins"));
        }
        list.extend((first..=last).map(GpuIndex));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn resolve(words: &[&str]) -> Result<Plan, Failure> {
        let cli = Cli::try_parse_from([&["gpusched", "jobs.txt"], words].concat()).unwrap();
        Plan::resolve(&cli.queue)
    }

    #[track_caller]
    fn check(words: &[&str], expect: Result<(), &str>) {
        let got = resolve(words).map(drop).map_err(|failure| failure.message);
        assert_eq!(got.as_ref().map_err(String::as_str), expect.as_ref().map_err(|e| *e), "{words:?}");
    }

    fn gpus(text: &str) -> Option<Vec<u16>> {
        let plan = resolve(&["--gpus", text]).unwrap();
        plan.config.allowed.map(|list| list.into_iter().map(|gpu| gpu.0).collect())
    }

    #[test]
    fn the_defaults() {
        let plan = resolve(&[]).unwrap();
        assert_eq!(plan.config.poll, SignedDuration::from_secs(5));
        assert_eq!(plan.config.tolerance, Ratio::new(0.1).unwrap());
        assert_eq!(plan.config.allowed, None);
        assert_eq!(plan.format, None);
        assert_eq!(plan.gpus, Gpus::Real(GpuSource::Auto));
    }

    #[test]
    fn formats() {
        let format = |word| resolve(&["--format", word]).map(|plan| plan.format);
        assert_eq!(format("auto"), Ok(None));
        assert_eq!(format("lines"), Ok(Some(Format::Lines)));
        assert_eq!(format("csv"), Ok(Some(Format::Csv)));
    }

    #[test]
    fn lists_of_gpus() {
        assert_eq!(gpus("0,1,3"), Some(vec![0, 1, 3]));
        assert_eq!(gpus("3, 0-2 ,1"), Some(vec![0, 1, 2, 3]));
        assert_eq!(gpus(""), None);
    }

    #[test]
    fn what_is_no_list_of_gpus() {
        check(&["--gpus", "a"], Err("--gpus a: item 1, 'a', is not the index of a GPU"));
        check(&["--gpus", "0,1,"], Err("--gpus 0,1,: item 3, '', is empty"));
        check(&["--gpus", "0,+1"], Err("--gpus 0,+1: item 2, '+1', is not the index of a GPU"));
        check(&["--gpus", "-1"], Err("--gpus -1: item 1, '-1', is not the index of a GPU"));
        check(&["--gpus", "3-1"], Err("--gpus 3-1: item 1, '3-1', ends before it begins"));
        check(&["--gpus", "70000"], Err("--gpus 70000: item 1, '70000', is not the index of a GPU"));
    }

    #[test]
    fn times() {
        let poll = |text| resolve(&["--poll", text]).map(|plan| plan.config.poll.as_millis());
        for (text, expect) in [("5", 5000), ("0.5", 500), ("500ms", 500), ("5s", 5000), ("2m", 120_000)] {
            assert_eq!(poll(text), Ok(expect), "{text}");
        }
        check(&["--poll", "soon"], Err("--poll: 'soon' is not a time"));
        check(&["--poll", "-1"], Err("--poll: '-1' is not a time"));
        check(&["--poll", "nan"], Err("--poll: 'nan' is not a time"));
        check(&["--poll", "0"], Err("--poll: '0' is not between 10 ms and 24 hours"));
    }

    #[test]
    fn fractions() {
        check(&["--tolerance", "0"], Ok(()));
        check(&["--tolerance", "-0.1"], Err("--tolerance: '-0.1' is not a fraction of 0 or more"));
        check(&["--spike-buffer", "nan"], Err("--spike-buffer: 'nan' is not a fraction of 0 or more"));
        check(&["--spike-buffer", "10%"], Err("--spike-buffer: '10%' is not a fraction of 0 or more"));
    }

    #[test]
    fn simulated_gpus() {
        assert_eq!(resolve(&["--sim", "2"]).map(|plan| plan.gpus), Ok(Gpus::Simulated(2)));
        check(&["--sim", "0"], Err("--sim 0: there is nothing to run on without a GPU"));
    }
}
