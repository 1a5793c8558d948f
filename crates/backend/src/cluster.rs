//! Running jobs on a cluster.

use model::slurm::{
    AccountingError, AccountingView, CancelError, ClusterSettings, QueueView, ShownJob, SlurmJobId,
    Submission, SubmitError, Submitted,
};
use model::{SignedDuration, Unavailable};

/// Submits jobs to one Slurm cluster, and tells and changes what becomes of them:
/// as the user we are, and by nothing that only an administrator may do.
///
/// Every call is bounded in time, but may take minutes where a controller hangs.
/// An answer without a job and no answer are different things: the first is `Ok`,
/// the second an error, which says nothing of any job.
pub trait ClusterBackend: Send {
    /// Submits a job, once.
    ///
    /// # Errors
    /// When it was refused, when Slurm could not be asked, and when it is not known
    /// whether there is a job now.
    fn submit(&mut self, submission: &Submission) -> Result<Submitted, SubmitError>;

    /// All jobs of ours that the controller knows, those that have ended a short
    /// while ago too. It costs the controller as much as asking for one of them, so
    /// it is meant to be called every ten seconds or so, and not for each job.
    ///
    /// # Errors
    /// When it can't be told.
    fn queue(&mut self) -> Result<QueueView, Unavailable>;

    /// What accounting has of these jobs, each of their runs. One that is missing
    /// in the answer is not known there, or not yet.
    ///
    /// # Errors
    /// When there is no accounting, or it can't be read now.
    fn accounting(&mut self, jobs: &[SlurmJobId]) -> Result<AccountingView, AccountingError>;

    /// What accounting has of all jobs of ours that waited, ran or ended in the
    /// time of this length up to now. Jobs that were cancelled while they waited
    /// may be missing, other than in [`accounting`](Self::accounting).
    ///
    /// # Errors
    /// As [`accounting`](Self::accounting).
    fn accounting_since(&mut self, back: SignedDuration) -> Result<AccountingView, AccountingError>;

    /// Cancels a job or a part of it. One that has ended, or that nobody knows, is
    /// as good as cancelled.
    ///
    /// # Errors
    /// When it is not ours, or when it is not known whether it was cancelled.
    fn cancel(&mut self, job: &SlurmJobId) -> Result<(), CancelError>;

    /// The controller's records of one job: several for an array or a heterogeneous
    /// job, none for one it does not know.
    ///
    /// # Errors
    /// When it can't be told.
    fn show(&mut self, job: &SlurmJobId) -> Result<Vec<ShownJob>, Unavailable>;

    /// How the cluster is set up.
    ///
    /// # Errors
    /// When it can't be told.
    fn settings(&mut self) -> Result<ClusterSettings, Unavailable>;

    /// Whether a controller answers: much quicker to tell that none does than any
    /// other call.
    ///
    /// # Errors
    /// When none does.
    fn ping(&mut self) -> Result<(), Unavailable>;
}
