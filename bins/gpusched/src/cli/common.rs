//! The flags that a queue has however it is started.

use std::path::PathBuf;

use clap::ValueEnum;

/// Flags of a queue in the foreground and of a watched one alike.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[expect(clippy::doc_markdown, reason = "the comments are the text of --help")]
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Common {
    /// How the jobs are written: lines (shell commands), csv, or auto, as the first job looks
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = JobsFormat::Auto, hide_possible_values = true)]
    pub format: JobsFormat,

    /// MiB in use by others below which a GPU counts as idle, for jobs that declare no memory [default: 200; with start, --mem-threshold alone]
    #[arg(long, value_name = "MIB", allow_negative_numbers = true)]
    pub idle_threshold: Option<u32>,

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

    /// Run a job that ran out of GPU memory again so often, where its line says no [retries=N]
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub oom_retries: u32,

    /// Keep GPUs free for a job that does not fit once so many later ones went around it
    #[arg(long, value_name = "N", default_value_t = 24, allow_negative_numbers = true)]
    pub overtakes: u32,

    /// The same once it has waited so long and any went around it
    #[arg(long, value_name = "TIME", default_value = "1h", allow_negative_numbers = true)]
    pub overtake_time: String,

    /// Memory in use above which a GPU takes no new job, as a fraction [default: none; with start, 0.8]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub mem_threshold: Option<String>,

    /// Utilization above which a GPU takes no new job, as a fraction [default: none; with start, 0.8]
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub load_threshold: Option<String>,

    /// What each model needs, for commands with --llm NAME [default: none; with start, llm_config.json]
    #[arg(long, value_name = "FILE")]
    pub llm_config: Option<PathBuf>,

    /// Which numbers --cuda gets: index (of the GPU on this machine) or visible (from 0, as the job sees them)
    #[arg(long, value_enum, value_name = "index|visible", default_value_t = CudaIds::Index, hide_possible_values = true)]
    pub cuda_ids: CudaIds,

    /// How often a job that cannot be started is tried before it has failed [default: 1; with start, 5]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_assign_attempts: Option<u32>,

    /// The pause after the first such attempt; it doubles each time
    #[arg(long, value_name = "SECONDS", default_value = "5", allow_negative_numbers = true)]
    pub assign_retry_wait: String,

    /// Run again what failed in an earlier run
    #[arg(long)]
    pub retry_failed: bool,

    /// What becomes of running jobs when the scheduler is told to end [default: Ctrl-C stops them, SIGTERM and SIGHUP keep them]
    #[arg(long, value_enum, value_name = "keep|stop", hide_possible_values = true)]
    pub on_exit: Option<OnExit>,

    /// Run each job in a session of its own that can be looked into: screen or tmux
    #[arg(long, value_enum, value_name = "screen|tmux", hide_possible_values = true)]
    pub session: Option<Session>,

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

/// What becomes of running jobs when the scheduler is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// They go on; the same command looks after them again.
    Keep,
    /// They are ended.
    Stop,
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

/// Which numbers a command is told its GPUs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CudaIds {
    /// Those of the machine.
    Index,
    /// From 0, as the job sees them.
    Visible,
}

/// What a job's session is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Session {
    /// GNU screen.
    Screen,
    /// tmux.
    Tmux,
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
