//! What the command line means: typed, checked, with every default filled in.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use allocation::{Rules, Thresholds};
use driver::SeatKind;
use driver::signals::OnExit;
use engine::queue::{Backoff, Config, LaunchAttempts, Patience};
use jobspec::{CudaIds, Format};
use model::{GpuIndex, GpuSet, Mib, Ratio, SignedDuration};

use crate::cli::{self, Args, Common, GpuSource, JobsFormat, StartArgs};
use crate::failure::Failure;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The jobs.
    pub jobs: Jobs,
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
    /// Where each job is to run in a session of its own, of what.
    pub session: Option<SeatKind>,
    /// What each model needs, where commands are asked which they run.
    pub models: Option<Looked>,
    /// What a watched queue does besides.
    pub watched: Option<Watched>,
}

/// The jobs file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    /// The file, and how often it is looked at.
    pub file: Looked,
    /// How they are written; nothing where the file itself tells it.
    pub format: Option<Format>,
    /// Whether one that is not there is made.
    pub make: bool,
}

/// A file that is looked at again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The file.
    pub path: PathBuf,
    /// At least so often, where the system tells of no change.
    pub every: Duration,
}

/// What a watched queue does besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Where it publishes the state of its GPUs, and takes in edits of it.
    pub state: Looked,
    /// Where its words go besides standard output.
    pub log: PathBuf,
    /// Whether it goes on in the background.
    pub detach: bool,
    /// Whether it is the process in the background.
    pub detached: bool,
}

/// Which GPUs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpus {
    /// Those of the machine, read in this way.
    Real(GpuSource),
    /// So many that exist in files only.
    Simulated(u16),
}

/// Where the words of a watched queue go, beside its state file.
const SCHEDULER_LOG: &str = "gpu_scheduler.log";

/// What each model needs, with `start`.
const LLM_CONFIG: &str = "llm_config.json";

/// Above how much memory and load a GPU takes no new job, with `start`.
const THRESHOLD: &str = "0.8";

/// How often a job that cannot be started is tried, with `start`.
const START_ATTEMPTS: u32 = 5;

/// No pause before such a job is tried again is longer.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// How often files are looked at, besides when the system tells of a change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a job has between SIGTERM and SIGKILL.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// A shorter time between two looks at the GPUs would only heat the machine.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

const LONGEST_POLL: Duration = Duration::from_secs(24 * 3600);

impl Plan {
    /// The meaning of the words for a queue in the foreground.
    ///
    /// # Errors
    /// A usage failure that names the flag and the word.
    pub fn resolve(args: &Args) -> Result<Self, Failure> {
        let path = args.jobs_file.clone().ok_or_else(|| Failure::usage("no jobs file was given"))?;
        let common = &args.common;
        let rules =
            Rules { idle_threshold: Mib::new(common.idle_threshold.unwrap_or(200)), ..rules(common, None)? };
        let attempts = common.max_assign_attempts.unwrap_or(1);
        let config = Config {
            allowed: args.gpus.as_deref().map(gpu_list).transpose()?.flatten(),
            watch: args.watch,
            ..config(common, rules, attempts)?
        };
        Ok(Self {
            jobs: Jobs { file: Looked { path, every: LOOK_EVERY }, format: format(common), make: false },
            log_dir: common.log_dir.clone(),
            config,
            gpus: gpus(common)?,
            fresh: common.fresh,
            on_exit: on_exit(common),
            session: session(common),
            models: common.llm_config.clone().map(|path| Looked { path, every: LOOK_EVERY }),
            watched: None,
        })
    }

    /// The meaning of the words for a watched queue, `gpusched start`.
    ///
    /// # Errors
    /// A usage failure that names the flag and the word.
    pub fn start(args: &StartArgs) -> Result<Self, Failure> {
        let common = &args.common;
        let rules = Rules {
            // A GPU counts as free below its thresholds, whoever uses some of it.
            idle_threshold: Mib::new(common.idle_threshold.unwrap_or(u32::MAX)),
            ..rules(common, Some(THRESHOLD))?
        };
        let attempts = common.max_assign_attempts.unwrap_or(START_ATTEMPTS);
        let config = Config {
            allowed: args.gpus.map(first_gpus).transpose()?,
            watch: true,
            ..config(common, rules, attempts)?
        };
        let jobs_every = interval("--monitor-interval", &args.monitor_interval)?;
        let state_every = interval("--state-interval", &args.state_interval)?;
        Ok(Self {
            jobs: Jobs {
                file: Looked { path: args.jobs_file.clone(), every: jobs_every },
                format: format(common),
                make: true,
            },
            log_dir: common.log_dir.clone(),
            config,
            gpus: gpus(common)?,
            fresh: common.fresh,
            on_exit: on_exit(common),
            session: session(common).or(args.screen.then_some(SeatKind::Screen)),
            models: Some(Looked {
                path: common.llm_config.clone().unwrap_or_else(|| LLM_CONFIG.into()),
                every: LOOK_EVERY,
            }),
            watched: Some(Watched {
                log: args.state_file.with_file_name(SCHEDULER_LOG),
                state: Looked { path: args.state_file.clone(), every: state_every },
                detach: args.detach && !args.detached,
                detached: args.detached,
            }),
        })
    }
}

fn gpus(common: &Common) -> Result<Gpus, Failure> {
    match common.sim {
        Some(0) => Err(Failure::usage("--sim 0: there is nothing to run on without a GPU")),
        Some(count) => Ok(Gpus::Simulated(count)),
        None => Ok(Gpus::Real(common.read_gpus)),
    }
}

fn on_exit(common: &Common) -> OnExit {
    match common.on_exit {
        None => OnExit::BySignal,
        Some(cli::OnExit::Keep) => OnExit::Keep,
        Some(cli::OnExit::Stop) => OnExit::Stop,
    }
}

fn format(common: &Common) -> Option<Format> {
    match common.format {
        JobsFormat::Auto => None,
        JobsFormat::Lines => Some(Format::Lines),
        JobsFormat::Csv => Some(Format::Csv),
    }
}

fn session(common: &Common) -> Option<SeatKind> {
    common.session.map(|session| match session {
        cli::Session::Screen => SeatKind::Screen,
        cli::Session::Tmux => SeatKind::Tmux,
    })
}

/// The rules of placement, without what makes a GPU idle.
fn rules(common: &Common, threshold: Option<&str>) -> Result<Rules, Failure> {
    let limit = |flag, given: &Option<String>| {
        given.as_deref().or(threshold).map(|text| ratio(flag, text)).transpose()
    };
    Ok(Rules {
        idle_threshold: Mib::ZERO,
        margin: Mib::new(common.margin),
        exclusive: common.exclusive,
        spike_buffer: ratio("--spike-buffer", &common.spike_buffer)?,
        thresholds: Thresholds {
            memory: limit("--mem-threshold", &common.mem_threshold)?,
            load: limit("--load-threshold", &common.load_threshold)?,
        },
    })
}

/// How the queue shall behave, without its GPUs and how long it lives.
fn config(common: &Common, rules: Rules, attempts: u32) -> Result<Config, Failure> {
    if attempts == 0 {
        return Err(Failure::usage("--max-assign-attempts 0: a job is tried at least once"));
    }
    let wait = seconds("--assign-retry-wait", &common.assign_retry_wait)?;
    let base = SignedDuration::try_from(wait)
        .map_err(|error| Failure::usage(format!("--assign-retry-wait: {error}")))?;
    Ok(Config {
        rules,
        tolerance: ratio("--tolerance", &common.tolerance)?,
        oom_retries: common.oom_retries,
        allowed: None,
        watch: false,
        verbose: common.verbose,
        poll: poll(&common.poll)?,
        grace: GRACE,
        patience: Patience { overtakings: common.overtakes, time: overtake_time(&common.overtake_time)? },
        retry_failed: common.retry_failed,
        launch_attempts: LaunchAttempts { most: attempts, pauses: Backoff { base, cap: LONGEST_PAUSE } },
        cuda_ids: match common.cuda_ids {
            cli::CudaIds::Index => CudaIds::Index,
            cli::CudaIds::Visible => CudaIds::Visible,
        },
    })
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

/// How often a file is looked at.
fn interval(flag: &str, text: &str) -> Result<Duration, Failure> {
    let time = seconds(flag, text)?;
    if time < SHORTEST_POLL || time > LONGEST_POLL {
        return Err(Failure::usage(format!("{flag}: '{text}' is not between 10 ms and 24 hours")));
    }
    Ok(time)
}

/// A list of GPUs such as `0,1,4-7`; empty text is no list.
fn gpu_list(text: &str) -> Result<Option<BTreeSet<GpuIndex>>, Failure> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let gpus = GpuSet::parse(text).map_err(|error| {
        Failure::usage(format!("--gpus {text}: {error}"))
            .hint("write indices and ranges with commas between them: 0,1,3 or 0-3")
    })?;
    Ok(Some(gpus.iter().collect()))
}

/// The first GPUs of the machine.
fn first_gpus(count: u16) -> Result<BTreeSet<GpuIndex>, Failure> {
    if count == 0 {
        return Err(Failure::usage("--gpus 0: there is nothing to run on without a GPU")
            .hint("with start, --gpus is how many GPUs to use"));
    }
    Ok((0..count).map(GpuIndex).collect())
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
        assert_eq!(plan.gpus, Gpus::Real(GpuSource::Auto));
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
