//! The words that follow a subcommand.

use std::path::PathBuf;

use crate::cli::Common;

/// Which scheduler is meant.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Where {
    /// The log directory of the scheduler
    #[arg(long, value_name = "DIR", default_value = "gpusched_logs")]
    pub log_dir: PathBuf,

    /// The state file of the scheduler, which tells its log directory
    #[arg(long, value_name = "FILE")]
    pub state_file: Option<PathBuf>,
}

/// The flags of `gpusched start`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct StartArgs {
    /// Use the first NUM GPUs [default: all]
    #[arg(long, value_name = "NUM", allow_negative_numbers = true)]
    pub gpus: Option<u16>,

    /// The jobs file to watch; made if it is not there
    #[arg(long, value_name = "FILE", default_value = "jobs.txt")]
    pub jobs_file: PathBuf,

    /// Where the state of the GPUs is published; editing it pauses GPUs
    #[arg(long, value_name = "FILE", default_value = "gpu_scheduler_state.json")]
    pub state_file: PathBuf,

    /// Run each job in a GNU screen session of its own
    #[arg(long)]
    pub screen: bool,

    /// Look at the jobs file at least so often; changes on this machine are seen at once
    #[arg(long, value_name = "SECONDS", default_value = "30", allow_negative_numbers = true)]
    pub monitor_interval: String,

    /// Look at the state file at least so often; changes on this machine are seen at once
    #[arg(long, value_name = "SECONDS", default_value = "20", allow_negative_numbers = true)]
    pub state_interval: String,

    /// Go on in the background
    #[arg(long)]
    pub detach: bool,

    /// What a queue in the foreground has as well.
    #[command(flatten)]
    pub common: Common,

    /// Set for the process that goes on in the background.
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// The flags of `gpusched add`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct AddArgs {
    /// The Python script to run
    pub script: String,

    /// The conda environment, by name or prefix, or a venv
    #[arg(long, value_name = "ENV")]
    pub conda: Option<String>,

    /// The arguments of the script, as one word: --args "--llm NAME --epochs 3"
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub args: String,

    /// The priority: the lower, the earlier
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,

    /// The only GPUs it may have, such as 0,1 or 0-3 [default: any]
    #[arg(long, value_name = "LIST")]
    pub gpus: Option<String>,

    /// The jobs file to append to; - is standard output
    #[arg(long, value_name = "FILE", default_value = "jobs.txt")]
    pub output_file: PathBuf,
}

/// The flags of `gpusched status`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,

    /// Which scheduler.
    #[command(flatten)]
    pub place: Where,
}

/// The words of `gpusched pause` and `gpusched resume`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct GpuArgs {
    /// The index of the GPU, as nvidia-smi counts
    #[arg(value_name = "GPU", allow_negative_numbers = true)]
    pub gpu: String,

    /// Which scheduler.
    #[command(flatten)]
    pub place: Where,
}

/// The words of `gpusched cancel` and `gpusched retry`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct JobArgs {
    /// The number of the job, as the log and the board call it
    #[arg(value_name = "N", allow_negative_numbers = true)]
    pub job: String,

    /// Which scheduler.
    #[command(flatten)]
    pub place: Where,
}

/// The words of `gpusched logs`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct LogsArgs {
    /// The number of the job, as the log and the board call it
    #[arg(value_name = "N", allow_negative_numbers = true)]
    pub job: String,

    /// Go on as it is written, until the job has ended
    #[arg(short, long)]
    pub follow: bool,

    /// Which scheduler.
    #[command(flatten)]
    pub place: Where,
}

/// The flags of `gpusched stop`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct StopArgs {
    /// End the running jobs as well
    #[arg(long)]
    pub jobs: bool,

    /// Which scheduler.
    #[command(flatten)]
    pub place: Where,
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

    /// How busy to keep its GPUs, in per cent [default: 90]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub load: Option<u8>,

    /// Run out of memory if this file does not exist, and create it
    #[arg(long, value_name = "FILE")]
    pub oom_once: Option<PathBuf>,
}
