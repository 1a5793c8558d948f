//! The command line as it was typed. What it means is in [`crate::plan`].

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Run shell commands on the GPUs of this machine as their memory allows.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "gpusched",
    version,
    infer_long_args = true,
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

A jobs file called like a subcommand is written ./simjob or -- simjob.";

/// What can be done besides working through a jobs file.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Pretend to be a GPU job: for --sim and for trying things out
    #[command(name = "simjob")]
    SimJob(SimJobArgs),
    /// Look after the jobs of a log directory; started by the scheduler.
    #[command(name = "__keep", hide = true)]
    Keep {
        /// The log directory.
        dir: PathBuf,
    },
}

/// The flags of the queue, as they were typed.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Args {
    /// The jobs: one shell command per line, with [vram=18G gpus=2 ...] before it where needed, or CSV
    #[arg(value_name = "JOBS_FILE", required = true)]
    pub jobs_file: Option<PathBuf>,

    /// How the jobs are written: lines (shell commands), csv (priority, script, environment, arguments and GPUs of each) or auto (as the first of them looks)
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = JobsFormat::Auto, hide_possible_values = true)]
    pub format: JobsFormat,

    /// Use only these GPUs, such as 0,1,3 or 0-3 [default: all]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    pub gpus: Option<String>,

    /// MiB in use below which a GPU counts as idle, for jobs that declare no memory
    #[arg(long, value_name = "MIB", default_value_t = 200, allow_negative_numbers = true)]
    pub idle_threshold: u32,

    /// MiB added to every declaration when a job is placed
    #[arg(long, value_name = "MIB", default_value_t = 512, allow_negative_numbers = true)]
    pub margin: u32,

    /// How far from its declaration a job's peak may be before that is told, as a fraction
    #[arg(long, value_name = "FRACTION", default_value = "0.10", allow_negative_numbers = true)]
    pub tolerance: String,

    /// What is added to the observed peak of processes that were not declared so, as a fraction
    #[arg(long, value_name = "FRACTION", default_value = "0.10", allow_negative_numbers = true)]
    pub spike_buffer: String,

    /// Time between two looks at the GPUs: seconds, or such as 500ms
    #[arg(long, value_name = "SECONDS", default_value = "5", allow_negative_numbers = true)]
    pub poll: String,

    /// At most one job per GPU, even where declarations fit together
    #[arg(long)]
    pub exclusive: bool,

    /// Do not end when all is done: wait for new lines
    #[arg(long)]
    pub watch: bool,

    /// Run a job that ran out of GPU memory again so often, where its line says no [retries=N]
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub oom_retries: u32,

    /// Keep GPUs free for a job that does not fit once so many later ones went around it
    #[arg(long, value_name = "N", default_value_t = 24, allow_negative_numbers = true)]
    pub overtakes: u32,

    /// The same once it has waited so long and any went around it
    #[arg(long, value_name = "TIME", default_value = "1h", allow_negative_numbers = true)]
    pub overtake_time: String,

    /// Run again what failed in an earlier run
    #[arg(long)]
    pub retry_failed: bool,

    /// What becomes of running jobs when the scheduler is told to end [default: Ctrl-C stops them, SIGTERM and SIGHUP keep them]
    #[arg(long, value_enum, value_name = "keep|stop", hide_possible_values = true)]
    pub on_exit: Option<OnExit>,

    /// Put the journal and the logs of earlier runs aside and run everything again
    #[arg(long)]
    pub fresh: bool,

    /// Where logs, journal and status board go
    #[arg(long, value_name = "DIR", default_value = "gpusched_logs")]
    pub log_dir: PathBuf,

    /// Tell the memory use of each job as it grows
    #[arg(short, long)]
    pub verbose: bool,

    /// Use N simulated GPUs of 24 GiB instead of real ones
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub sim: Option<u16>,

    /// Where the state of the GPUs comes from: auto, nvml or nvidia-smi
    #[arg(long, value_enum, value_name = "SOURCE", default_value_t = GpuSource::Auto, hide_possible_values = true)]
    pub read_gpus: GpuSource,
}

/// How the jobs of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobsFormat {
    /// As the first job looks
    Auto,
    /// Shell commands
    Lines,
    /// Comma-separated fields
    Csv,
}

/// What becomes of running jobs when the scheduler is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// They go on; the same command looks after them again.
    Keep,
    /// They are ended.
    Stop,
}

/// Where the state of the GPUs comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GpuSource {
    /// NVML where it can be loaded, else nvidia-smi
    Auto,
    /// The driver's library
    Nvml,
    /// The driver's program
    NvidiaSmi,
}

/// The flags of `gpusched simjob`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct SimJobArgs {
    /// MiB to occupy on each of its GPUs
    #[arg(long, value_name = "MIB")]
    pub vram: u32,

    /// Seconds until it occupies all of it
    #[arg(long, value_name = "SECONDS", default_value = "0.5")]
    pub ramp: String,

    /// Seconds to go on after that
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    pub hold: String,

    /// The exit code
    #[arg(long, value_name = "CODE", default_value_t = 0)]
    pub exit_code: u8,

    /// Run out of memory if this file does not exist, and create it
    #[arg(long, value_name = "FILE")]
    pub oom_once: Option<PathBuf>,
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
            (a.idle_threshold, a.margin, a.oom_retries) == (200, 512, 0)
                && (a.tolerance.as_str(), a.spike_buffer.as_str(), a.poll.as_str()) == ("0.10", "0.10", "5")
                && a.log_dir.as_os_str() == "gpusched_logs"
                && a.format == JobsFormat::Auto
                && (a.gpus.is_none(), a.sim.is_none(), a.read_gpus) == (true, true, GpuSource::Auto)
                && !(a.exclusive || a.watch || a.fresh || a.verbose)
        });
    }

    #[test]
    fn flags_stand_before_or_after_the_file_and_may_be_short() {
        let file = |a: &Args| a.jobs_file.as_deref() == Some("j".as_ref());
        check(&["--sim", "2", "j"], |a| file(a) && a.sim == Some(2));
        check(&["j", "--sim", "2"], |a| file(a) && a.sim == Some(2));
        check(&["j", "--pol", "0.5", "--idle", "7"], |a| a.poll == "0.5" && a.idle_threshold == 7);
        check(&["--gpus=0,1", "-v", "j"], |a| file(a) && a.verbose && a.gpus.as_deref() == Some("0,1"));
        check(&["j", "--poll", "-1"], |a| a.poll == "-1");
    }

    #[test]
    fn a_first_word_that_is_a_subcommand_is_one() {
        let command = parse(&["simjob", "--vram", "8"]).unwrap().command;
        assert!(matches!(command, Some(Command::SimJob(SimJobArgs { vram: 8, .. }))), "{command:?}");
        let command = parse(&["__keep", "d"]).unwrap().command;
        assert_eq!(command, Some(Command::Keep { dir: "d".into() }));
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
        assert_eq!(parse(&["--version"]), Err(ErrorKind::DisplayVersion));
    }
}
