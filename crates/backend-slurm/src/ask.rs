//! Running a command of Slurm that asks something.

use std::time::Duration;

use backend::{CommandError, CommandOutput, Runner, Surroundings};
use model::slurm::ClusterName;

/// How long a command may take. With a controller that hangs it gives up by itself
/// after two `MessageTimeout`s, 20 seconds by default (seen); sites set up to a
/// minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The same for `scontrol ping`, which was seen to answer at once.
pub(crate) const PATIENCE_PING: Duration = Duration::from_secs(30);

/// Variables that change what a command lists, how, or whom it asks back. All of
/// them are inputs by the manuals; none of them is for us.
const UNWANTED: [&str; 46] = [
    "SACCT_FEDERATION",
    "SACCT_FORMAT",
    "SACCT_LOCAL",
    "SCANCEL_ACCOUNT",
    "SCANCEL_BATCH",
    "SCANCEL_CTLD",
    "SCANCEL_FULL",
    "SCANCEL_HURRY",
    "SCANCEL_INTERACTIVE",
    "SCANCEL_NAME",
    "SCANCEL_NODELIST",
    "SCANCEL_PARTITION",
    "SCANCEL_QOS",
    "SCANCEL_RESERVATION",
    "SCANCEL_STATE",
    "SCANCEL_USER",
    "SCANCEL_VERBOSE",
    "SCANCEL_WCKEY",
    "SCONTROL_ALL",
    "SCONTROL_DETAIL",
    "SCONTROL_FEDERATION",
    "SCONTROL_FUTURE",
    "SCONTROL_LOCAL",
    "SCONTROL_SIBLING",
    "SLURM_DEBUG_FLAGS",
    "SLURM_EXIT_ERROR",
    "SLURM_JSON",
    "SLURM_YAML",
    "SQUEUE_ACCOUNT",
    "SQUEUE_ALL",
    "SQUEUE_ARRAY",
    "SQUEUE_ARRAY_UNIQUE",
    "SQUEUE_FEDERATION",
    "SQUEUE_FORMAT",
    "SQUEUE_FORMAT2",
    "SQUEUE_LICENSES",
    "SQUEUE_LOCAL",
    "SQUEUE_NAMES",
    "SQUEUE_PARTITION",
    "SQUEUE_PRIORITY",
    "SQUEUE_QOS",
    "SQUEUE_RESERVATION",
    "SQUEUE_SIBLING",
    "SQUEUE_SORT",
    "SQUEUE_STATES",
    "SQUEUE_USERS",
];

/// Points in time are seconds since 1970, and lists of array tasks are not cut.
const WANTED: [(&str, &str); 3] = [("LC_ALL", "C"), ("SLURM_TIME_FORMAT", "%s"), ("SLURM_BITSTR_LEN", "0")];

/// The surroundings of a command that asks something.
pub(crate) fn surroundings() -> Surroundings {
    let unwanted = UNWANTED.iter().map(|name| ((*name).into(), None));
    let wanted = WANTED.iter().map(|(name, value)| ((*name).into(), Some((*value).into())));
    Surroundings { variables: unwanted.chain(wanted).collect(), ..Surroundings::default() }
}

/// Runs a command of Slurm. `arguments` come after that for the cluster.
pub(crate) fn ask(
    runner: &mut impl Runner,
    cluster: Option<&ClusterName>,
    program: &str,
    arguments: &[String],
    patience: Duration,
) -> Result<CommandOutput, CommandError> {
    let option = cluster.map(|cluster| format!("--clusters={cluster}"));
    let mut argv = vec![program];
    argv.extend(option.as_deref());
    argv.extend(arguments.iter().map(String::as_str));
    runner.run(&surroundings(), &argv, patience)
}
