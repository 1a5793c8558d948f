//! Running attempts.

use model::{AttemptId, AttemptSighting, Launch, LaunchError, SignalError, StopSignal, SurveyError};

/// Starts attempts, stops them and tells what became of them. It remembers
/// every attempt it was asked for, also across its own end.
pub trait JobHost: Send {
    /// Starts an attempt, once: one that was used before is refused. `Ok` means
    /// that the request was handed over; what comes of it is a sighting.
    ///
    /// # Errors
    /// When the attempt was used before, or can't be started.
    fn launch(&mut self, launch: &Launch) -> Result<(), LaunchError>;

    /// Sends a signal to every process of a running attempt.
    ///
    /// # Errors
    /// When it could not be delivered.
    fn signal(&mut self, attempt: AttemptId, signal: StopSignal) -> Result<(), SignalError>;

    /// Makes sure that an attempt that has not been started never will be. The
    /// answer is a sighting: `Voided`, or what it is if it was started.
    ///
    /// # Errors
    /// When the host can't be asked.
    fn void(&mut self, attempt: AttemptId) -> Result<(), SurveyError>;

    /// Every attempt the host knows of.
    ///
    /// # Errors
    /// When it can't be told; that is no statement about any attempt.
    fn survey(&mut self) -> Result<Vec<AttemptSighting>, SurveyError>;
}
