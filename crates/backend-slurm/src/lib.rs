//! Submits, follows and cancels jobs by the commands of Slurm, as the user we are.
//!
//! Each command has a module with what it is asked and how its answer is read. The
//! answers are fields with a separator between them, asked for one by one: Slurm's
//! own JSON is missing in 20.11, and another one in each version since. All was
//! tried on 20.11, 22.05, 24.11 and 26.05; none of it needs `sacct`.
//!
//! An answer that can't be made out as a whole is an error, never a job fewer; a
//! cell that can't be made out is unknown.
//!
//! **Invariant:** programs are run through [`Runner`] alone, and nothing here
//! reads the environment, a file or a clock.

mod ask;
mod error;
mod record;
mod sacct;
mod sbatch;
mod scancel;
mod scontrol;
mod squeue;
mod table;

use std::time::Duration;

use backend::{ClusterBackend, CommandError, CommandOutput, Runner};
use model::slurm::{
    AccountingError, AccountingView, CancelError, ClusterName, ClusterSettings, QueueView, ShownJob,
    SlurmJobId, Submission, SubmitError, Submitted,
};
use model::{SignedDuration, Unavailable};

use ask::{PATIENCE, PATIENCE_PING};
use sacct::Which;

/// A Slurm cluster, through its commands.
#[derive(Debug)]
pub struct Slurm<R> {
    runner: R,
    /// The one to name to the commands; else it is theirs to know.
    cluster: Option<ClusterName>,
    /// Whether `sacct` may know the command lines of submissions.
    submit_line: bool,
}

impl<R: Runner> Slurm<R> {
    /// The cluster of this machine. `runner` finds the commands on PATH.
    pub const fn new(runner: R) -> Self {
        Self { runner, cluster: None, submit_line: true }
    }

    /// Another cluster, by the name that `--clusters` takes: that of a job which
    /// was submitted there. The clusters must share one accounting (sbatch(1)).
    pub const fn of_cluster(runner: R, cluster: ClusterName) -> Self {
        Self { runner, cluster: Some(cluster), submit_line: true }
    }

    fn ask(
        &mut self,
        program: &str,
        arguments: &[String],
        patience: Duration,
    ) -> Result<CommandOutput, CommandError> {
        ask::ask(&mut self.runner, self.cluster.as_ref(), program, arguments, patience)
    }

    fn control(&mut self, arguments: &[String], patience: Duration) -> Result<CommandOutput, Unavailable> {
        self.ask("scontrol", arguments, patience).map_err(|error| Unavailable(error.to_string()))
    }

    /// Asks accounting, for less from now on where it does not know a field.
    fn account(&mut self, which: &Which<'_>) -> Result<AccountingView, AccountingError> {
        loop {
            let columns = sacct::columns(self.submit_line);
            let output = self
                .ask("sacct", &sacct::arguments(which, columns), PATIENCE)
                .map_err(|error| sacct::not_run(&error))?;
            if error::is_unknown_field(&output) && self.submit_line {
                self.submit_line = false;
            } else {
                return sacct::parse(&output, columns);
            }
        }
    }
}

impl<R: Runner> ClusterBackend for Slurm<R> {
    fn submit(&mut self, submission: &Submission) -> Result<Submitted, SubmitError> {
        let cluster = self.cluster.as_ref().map(sbatch::cluster_option);
        let argv = sbatch::argv(cluster.as_deref(), submission);
        match self.runner.run(&sbatch::surroundings(submission), &argv, sbatch::PATIENCE) {
            Ok(output) => sbatch::parse(&output),
            Err(error) => Err(error::submission_not_run(&error)),
        }
    }

    fn queue(&mut self) -> Result<QueueView, Unavailable> {
        let asked = self.ask("squeue", &squeue::arguments(), PATIENCE);
        squeue::parse(&asked.map_err(|error| Unavailable(error.to_string()))?)
    }

    fn accounting(&mut self, jobs: &[SlurmJobId]) -> Result<AccountingView, AccountingError> {
        let mut view = AccountingView::default();
        for jobs in jobs.chunks(sacct::MOST_JOBS) {
            view.runs.extend(self.account(&Which::Jobs(jobs))?.runs);
        }
        Ok(view)
    }

    fn accounting_since(&mut self, back: SignedDuration) -> Result<AccountingView, AccountingError> {
        self.account(&Which::Since(back))
    }

    fn cancel(&mut self, job: &SlurmJobId) -> Result<(), CancelError> {
        match self.ask("scancel", &scancel::arguments(job), PATIENCE) {
            Ok(output) => scancel::parse(&output),
            Err(error) => Err(CancelError::Unavailable(error.to_string())),
        }
    }

    fn show(&mut self, job: &SlurmJobId) -> Result<Vec<ShownJob>, Unavailable> {
        scontrol::parse_show(&self.control(&scontrol::arguments_show(job), PATIENCE)?)
    }

    fn settings(&mut self) -> Result<ClusterSettings, Unavailable> {
        scontrol::parse_config(&self.control(&scontrol::arguments_config(), PATIENCE)?)
    }

    fn ping(&mut self) -> Result<(), Unavailable> {
        scontrol::parse_ping(&self.control(&scontrol::arguments_ping(), PATIENCE_PING)?)
    }
}

#[cfg(test)]
mod tests;
