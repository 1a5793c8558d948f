//! The command line as it was typed. What it means is in [`crate::plan`].

mod commands;
mod common;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use commands::{AddArgs, GpuArgs, JobArgs, LogsArgs, SimJobArgs, StartArgs, StatusArgs, StopArgs, Where};
pub use common::{Common, CudaIds, GpuSource, JobsFormat, OnExit, Session};

/// Run shell commands on the GPUs of this machine as their memory allows.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "gpusched",
    version,
    infer_long_args = true,
    args_override_self = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// Something else than working through a jobs file.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of the queue.
    #[command(flatten)]
    pub queue: Args,
}

const AFTER_HELP: &str = "\
Exit code: 0 when no job failed, else the largest exit code of a failed job (at least 1);
130 after Ctrl-C; 143 after SIGTERM or SIGHUP, which leave running jobs running;
2 usage, 69 GPUs cannot be read, 73 log directory in use, 74 file damaged or not writable.

A jobs file called like a subcommand is written ./status or -- status.";

/// What can be done besides working through a jobs file.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Watch a jobs file and run its jobs as they come, in the foreground or with --detach
    Start(Box<StartArgs>),
    /// Append a job to a CSV jobs file
    Add(AddArgs),
    /// Show the GPUs and the queue
    Status(StatusArgs),
    /// Have a GPU take no new jobs
    Pause(GpuArgs),
    /// Have a paused GPU take jobs again
    Resume(GpuArgs),
    /// End a running job, or drop a waiting one
    Cancel(JobArgs),
    /// Run a job again that is over
    Retry(JobArgs),
    /// List the sessions of running jobs, and how to look into them
    Screens(Where),
    /// Print what a job has printed
    Logs(LogsArgs),
    /// End the scheduler; running jobs go on
    Stop(StopArgs),
    /// Pretend to be a GPU job: for --sim and for trying things out
    #[command(name = "simjob")]
    SimJob(SimJobArgs),
    /// Say what this machine has, and what follows for a queue; exits with 69 where GPUs cannot be read
    Doctor(DoctorArgs),
    /// Look after the jobs of a log directory; started by the scheduler.
    #[command(name = "__keep", hide = true)]
    Keep {
        /// The log directory.
        dir: PathBuf,
    },
    /// Look after one job in a session of screen or tmux; started by the keeper.
    #[command(name = "__seat", hide = true)]
    Seat {
        /// The log directory.
        dir: PathBuf,
        /// The attempt, as the keeper's log names it.
        attempt: String,
    },
}

/// The flags of the queue, as they were typed.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// The jobs: one shell command per line, with [vram=18G gpus=2 ...] before it where needed, or CSV
    #[arg(value_name = "JOBS_FILE", required = true)]
    pub jobs_file: Option<PathBuf>,

    /// Use only these GPUs, such as 0,1,3 or 0-3 [default: all]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    pub gpus: Option<String>,

    /// Do not end when all is done: wait for new lines
    #[arg(long)]
    pub watch: bool,

    /// What `start` has as well.
    #[command(flatten)]
    pub common: Common,
}

/// The flags of `gpusched doctor`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct DoctorArgs {
    /// Write JSON, for programs
    #[arg(long)]
    pub json: bool,

    /// Look at N simulated GPUs instead of real ones
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub sim: Option<u16>,

    /// Where the state of the GPUs comes from: auto, nvml or nvidia-smi
    #[arg(long, value_enum, value_name = "SOURCE", default_value_t = GpuSource::Auto, hide_possible_values = true)]
    pub read_gpus: GpuSource,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Cli, clap::error::ErrorKind> {
        Cli::try_parse_from([&["gpusched"], words].concat()).map_err(|e| e.kind())
    }

    #[track_caller]
    fn check(words: &[&str], expect: impl FnOnce(&Args) -> bool) {
        let cli = parse(words).unwrap();
        assert_eq!(cli.command, None, "{words:?}");
        assert!(expect(&cli.queue), "{words:?}: {:?}", cli.queue);
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_python_tool() {
        check(&["j"], |a| {
            let c = &a.common;
            (c.idle_threshold, c.margin, c.oom_retries) == (None, 512, 0)
                && (c.tolerance.as_str(), c.spike_buffer.as_str(), c.poll.as_str()) == ("0.10", "0.10", "5")
                && c.log_dir.as_os_str() == "gpusched_logs"
                && (a.gpus.is_none(), c.sim.is_none(), c.read_gpus) == (true, true, GpuSource::Auto)
                && !(c.exclusive || a.watch || c.fresh || c.verbose)
        });
    }

    #[test]
    fn flags_stand_before_or_after_the_file_and_may_be_short() {
        let file = |a: &Args| a.jobs_file.as_deref() == Some("j".as_ref());
        check(&["--sim", "2", "j"], |a| file(a) && a.common.sim == Some(2));
        check(&["j", "--sim", "2"], |a| file(a) && a.common.sim == Some(2));
        check(&["j", "--pol", "0.5", "--idle", "7"], |a| {
            a.common.poll == "0.5" && a.common.idle_threshold == Some(7)
        });
        check(&["--gpus=0,1", "-v", "j"], |a| {
            file(a) && a.common.verbose && a.gpus.as_deref() == Some("0,1")
        });
        check(&["j", "--poll", "-1"], |a| a.common.poll == "-1");
    }

    #[test]
    fn of_a_flag_given_twice_the_last_one_counts() {
        check(
            &["--poll", "1", "--sim=2", "j", "--sim", "3", "--poll=2", "-v", "--watch", "--watch", "-v"],
            |a| a.common.poll == "2" && a.common.sim == Some(3) && a.watch && a.common.verbose,
        );
    }

    #[test]
    fn a_first_word_that_is_a_subcommand_is_one() {
        let command = parse(&["simjob", "--vram", "8"]).unwrap().command;
        assert!(matches!(command, Some(Command::SimJob(SimJobArgs { vram: 8, .. }))), "{command:?}");
        let command = parse(&["__keep", "d"]).unwrap().command;
        assert_eq!(command, Some(Command::Keep { dir: "d".into() }));
        let command = parse(&["__seat", "d", "a#0/1"]).unwrap().command;
        assert_eq!(command, Some(Command::Seat { dir: "d".into(), attempt: "a#0/1".to_owned() }));
        let command = parse(&["doctor", "--json", "--sim", "2"]).unwrap().command;
        assert!(
            matches!(command, Some(Command::Doctor(DoctorArgs { json: true, sim: Some(2), .. }))),
            "{command:?}"
        );
        check(&["./simjob"], |a| a.jobs_file.as_deref() == Some("./simjob".as_ref()));
        check(&["--", "simjob"], |a| a.jobs_file.as_deref() == Some("simjob".as_ref()));
        check(&["--watch", "simjob"], |a| a.jobs_file.as_deref() == Some("simjob".as_ref()));
    }

    #[test]
    fn what_is_refused() {
        use clap::error::ErrorKind;
        assert_eq!(parse(&[]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse(&["j", "--wrong"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(parse(&["j", "k"]), Err(ErrorKind::ArgumentConflict));
        assert_eq!(parse(&["j", "--margin", "-5"]), Err(ErrorKind::ValueValidation));
        assert_eq!(parse(&["j", "--sim", "x"]), Err(ErrorKind::ValueValidation));
        assert_eq!(parse(&["j", "--format", "json"]), Err(ErrorKind::InvalidValue));
        assert_eq!(parse(&["j", "--read-gpus", "x"]), Err(ErrorKind::InvalidValue));
        assert_eq!(parse(&["j", "--session", "x"]), Err(ErrorKind::InvalidValue));
        assert_eq!(parse(&["--version"]), Err(ErrorKind::DisplayVersion));
    }
}
