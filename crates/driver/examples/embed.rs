//! The job queue inside another program: four lines of work on two made-up GPUs,
//! from start to end, with words of our own.
//!
//! ```text
//! cargo run -p driver --example embed
//! ```

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use allocation::{Rules, Thresholds};
use backend_sim::reported::ReportedGpus;
use driver::clock::Steady;
use driver::host::LogNames;
use driver::jobsfile::Watch;
use driver::mailbox::Mailbox;
use driver::signals::{OnExit, Signals};
use driver::{DirLock, FileMedium, KeeperConfig, KeeperHost, Parts, Reporter, Shell};
use engine::queue::{Answer, Board, Config, LaunchAttempts, Outcome, Patience, Queue, Record, Report};
use journal::Journal;
use model::{Mib, Ratio, SignedDuration};

const JOBS: &str = "\
# these two share a GPU, the third needs two of them
[vram=10G] sleep 0.5
[vram=10G] sleep 0.5
[gpus=2 vram=20G] echo on GPUs $CUDA_VISIBLE_DEVICES
[retries=0 timeout=1s] sleep 60
";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    // The keeper of the jobs is this very program, called once more.
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if let [word, dir] = arguments.as_slice()
        && word == "__keep"
    {
        driver::keeper::keep(Path::new(dir))?;
        return Ok(ExitCode::SUCCESS);
    }
    let dir = tempfile::tempdir()?;
    let outcome = run(dir.path())?;
    writeln!(io::stdout(), "the largest exit code of a failed job: {}", outcome.worst)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the jobs to their end, with all state in `dir`.
fn run(dir: &Path) -> Result<Outcome, Box<dyn Error>> {
    let jobs_path = dir.join("jobs.txt");
    fs::write(&jobs_path, JOBS)?;
    let _lock = DirLock::take(dir)?;
    let clock = Steady::start();

    // What is in the journal is done, or to be taken up again: here, nothing.
    let medium = FileMedium::open(dir.join("journal.jsonl"))?;
    let (journal, scan) = Journal::open::<Record>(medium, "gpusched")?;
    let records = scan.records.into_iter().map(|stamped| stamped.record);
    let mut queue = Queue::new(config(), records, clock.now());

    let mut watch = Watch::new(&jobs_path, None)?;
    let jobs = watch.first()?;
    let host = KeeperHost::open(KeeperConfig {
        dir: dir.to_owned(),
        program: env::current_exe()?,
        environment: env::vars_os().collect(),
        cwd: env::current_dir()?,
        logs: LogNames::ByGpu,
        seat: None,
    })?;
    let mut shell = Shell::open(Parts {
        clock,
        watch,
        jobs,
        journal,
        host,
        gpus: Box::new(ReportedGpus::new(2, dir.join("sim"))),
        gpu_source: "the made-up GPUs".into(),
        signals: Signals::catch(OnExit::BySignal)?,
        reporter: Box::new(Plain),
        board: dir.join("status.txt"),
        status: dir.join("status.json"),
        mailbox: Mailbox::open(dir)?,
        state: None,
        models: None,
    })?;
    Ok(engine::drive(&mut queue, &mut shell)?)
}

fn config() -> Config {
    Config {
        rules: Rules {
            idle_threshold: Mib::new(200),
            margin: Mib::new(512),
            exclusive: false,
            spike_buffer: Ratio::ZERO,
            thresholds: Thresholds::default(),
        },
        tolerance: Ratio::ZERO,
        oom_retries: 0,
        allowed: None,
        watch: false,
        verbose: false,
        poll: SignedDuration::from_millis(500),
        grace: SignedDuration::from_secs(10),
        patience: Patience { overtakings: 24, time: SignedDuration::from_hours(1) },
        retry_failed: false,
        launch_attempts: LaunchAttempts::ONCE,
        cuda_ids: jobspec::CudaIds::Index,
    }
}

/// Says what the queue says, the way a program sees it.
struct Plain;

impl Reporter for Plain {
    fn report(&mut self, report: &Report) {
        // Nobody may be listening.
        let _ = writeln!(io::stdout(), "{report:?}");
    }

    fn board(&mut self, board: &Board) -> String {
        format!("{} run, {} have ended\n", board.running.len(), board.done_count)
    }

    fn status(&mut self, board: &Board) -> String {
        format!("{{\"running\": {}, \"done\": {}}}\n", board.running.len(), board.done_count)
    }

    fn answer(&mut self, answer: &Answer) -> String {
        format!("{answer:?}")
    }
}
