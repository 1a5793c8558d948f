//! A job in a session of screen or tmux, which somebody can look in on.
//!
//! The keeper starts screen or tmux, and inside it a *seat*: this program again,
//! as `PROGRAM __seat DIR ATTEMPT`. The seat is the keeper of one job. It gives
//! the job a terminal of its own, shows in the session what the job prints there
//! and hands on what is typed, writes the same to the job's log, and waits for
//! the job. Neither screen nor tmux tells how a command ended, so that is what
//! the seat writes down, in a file, before anything else can come to know.
//!
//! Keeper and seat speak through files in `seats/` in the log directory; see
//! `files`. A job is started only by a seat that has taken its order, and an order
//! can be taken once, by the seat that carries it out or by the keeper that
//! withdraws it.
//!
//! Screen, tmux and the seat itself do not carry the marks of the job's attempt
//! in their environment: what stops a job must not take away the one who tells
//! how it ended.

pub(crate) mod files;
mod output;
pub(crate) mod session;
mod terminal;
mod work;

use std::path::Path;

use model::{AttemptId, JobNo, Pid};
use serde::{Deserialize, Serialize};

use crate::seat::files::Occupant;

pub use work::{SeatError, sit};

/// What a session is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeatKind {
    /// GNU screen.
    Screen,
    /// tmux, with a server for each session.
    Tmux,
}

impl SeatKind {
    /// The name of its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Screen => "screen",
            Self::Tmux => "tmux",
        }
    }
}

/// A session in which a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatInfo {
    /// The job's number.
    pub no: JobNo,
    /// Which execution of it.
    pub attempt: AttemptId,
    /// The name of the session.
    pub session: String,
    /// What it is one of.
    pub kind: SeatKind,
    /// The process that leads the job, once there is one.
    pub pid: Option<Pid>,
    /// The command that shows the session.
    pub attach: String,
}

/// The sessions in which jobs of a log directory run, by number.
pub fn seats(dir: &Path) -> Vec<SeatInfo> {
    let alive = files::occupants(dir).into_iter().filter(|occupant| occupant.seat.is_there());
    let mut seats: Vec<SeatInfo> = alive.map(SeatInfo::from).collect();
    seats.sort_by_key(|seat| (seat.no, seat.attempt));
    seats
}

impl From<Occupant> for SeatInfo {
    fn from(occupant: Occupant) -> Self {
        let Occupant { attempt, no, kind, session, job, .. } = occupant;
        let attach = session::attach_command(kind, &session);
        Self { no, attempt, session, kind, pid: job.map(|job| job.pid), attach }
    }
}
