//! `gpusched simjob`: a job that pretends to use GPUs.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use backend_sim::simjob::{self, SimEnv, SimJob};
use model::Mib;

use crate::cli::SimJobArgs;
use crate::failure::Failure;
use crate::plan::seconds;

/// Where GPUs that do not exist have their state.
pub const SIM_DIR: &str = "GPUSCHED_SIM_DIR";

/// Is such a job, on the GPUs the environment names.
///
/// # Errors
/// When the words make no sense, or no directory is named.
pub fn run(args: &SimJobArgs) -> Result<ExitCode, Failure> {
    let job = SimJob {
        vram: Mib::new(args.vram),
        ramp: seconds("--ramp", &args.ramp)?,
        hold: seconds("--hold", &args.hold)?,
        exit_code: args.exit_code,
        oom_once: args.oom_once.clone(),
        load: args.load,
    };
    let dir = env::var_os(SIM_DIR).filter(|dir| !dir.is_empty()).map(PathBuf::from).ok_or_else(|| {
        Failure::usage(format!("{SIM_DIR} is not set"))
            .hint("simjob is for lines of a jobs file that runs with --sim")
    })?;
    let env = SimEnv { dir, cuda_visible_devices: env::var("CUDA_VISIBLE_DEVICES").ok() };
    Ok(simjob::run(&job, &env))
}
