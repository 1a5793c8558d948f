//! What is asked of a queue at work: by commands, and by edits of its state file.

use model::{GpuIndex, GpuSet, JobNo};
use serde::{Deserialize, Serialize};

use crate::queue::lines::LineState;
use crate::queue::machine::{Queue, Rest, Turn};
use crate::queue::{Effect, Phase, Record, Report, Status, Urgency};

/// Something asked for, under the name by which its answer is waited for. It may
/// be told more than once, after a crash: it is done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its name; no two have the same.
    pub id: Box<str>,
    /// What is asked for.
    pub ask: Ask,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// That a GPU takes no new jobs.
    Pause(GpuIndex),
    /// That it takes them again.
    Resume(GpuIndex),
    /// That a job ends, or is not started.
    Cancel(JobNo),
    /// That a job that is over runs again.
    Retry(JobNo),
    /// That the scheduler ends.
    Stop(Ending),
}

/// What becomes of running jobs when the scheduler is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// They go on.
    KeepJobs,
    /// They are ended as well.
    EndJobs,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The GPU takes no new jobs.
    Paused(GpuIndex),
    /// The GPU takes jobs.
    Resumed(GpuIndex),
    /// There is no such GPU among those in use; these are.
    NoSuchGpu(GpuIndex, Vec<GpuIndex>),
    /// The job runs and gets SIGTERM.
    Cancelling(JobNo),
    /// The job waited and will not be started.
    Cancelled(JobNo),
    /// The job is over; what came of it.
    IsOver(JobNo, Status),
    /// The job waits to be run again.
    WaitsAgain(JobNo),
    /// The job waits anyway.
    Waits(JobNo),
    /// The job still runs.
    Runs(JobNo),
    /// The job's line says that it is cancelled.
    LineCancels(JobNo),
    /// The job's line is not in the jobs file any more.
    LineGone(JobNo),
    /// There is no such job.
    NoSuchJob(JobNo),
    /// The scheduler ends; so many jobs run.
    Ends(Ending, usize),
}

/// What an edit of the state file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateEdit {
    /// These GPUs shall take no new jobs, and all others shall.
    Paused(Vec<u32>),
    /// It was removed: nothing is paused.
    Removed,
    /// It makes no sense; why, in words. What was in force stays so.
    Unreadable(String),
}

impl Answer {
    /// Whether what was asked for is not done.
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::Paused(_)
            | Self::Resumed(_)
            | Self::Cancelling(_)
            | Self::Cancelled(_)
            | Self::WaitsAgain(_)
            | Self::Waits(_)
            | Self::Ends(..) => false,
            Self::NoSuchGpu(..)
            | Self::IsOver(..)
            | Self::Runs(_)
            | Self::LineCancels(_)
            | Self::LineGone(_)
            | Self::NoSuchJob(_) => true,
        }
    }
}

impl Queue {
    pub(super) fn on_control(&mut self, control: Control, turn: &mut Turn) {
        let Control { id, ask } = control;
        let answer = match ask {
            Ask::Pause(gpu) => self.ask_pause(gpu, true, turn),
            Ask::Resume(gpu) => self.ask_pause(gpu, false, turn),
            Ask::Cancel(no) => self.ask_cancel(no, turn),
            Ask::Retry(no) => self.ask_retry(no, &id, turn),
            Ask::Stop(ending) => {
                let running = self.live.len();
                self.on_interrupt(
                    match ending {
                        Ending::KeepJobs => Urgency::Leave,
                        Ending::EndJobs => Urgency::Stop,
                    },
                    turn,
                );
                Answer::Ends(ending, running)
            }
        };
        // Who asks looks at once: the board is published before the answer.
        self.board.last = None;
        self.board.stale = true;
        turn.perform(Effect::Answer { id, answer });
    }

    pub(super) fn on_state_edit(&mut self, edit: StateEdit, turn: &mut Turn) {
        match edit {
            StateEdit::Removed => {
                self.set_paused(GpuSet::default(), turn);
                // It is to be there again.
                self.board.stale = true;
            }
            StateEdit::Unreadable(why) => turn.report(Report::StateKept { why }),
            StateEdit::Paused(listed) => {
                let mut gpus = GpuSet::default();
                let mut unknown = Vec::new();
                for number in listed {
                    match u16::try_from(number).map(GpuIndex) {
                        Ok(gpu) if self.may_know(gpu) => gpus.insert(gpu),
                        Ok(_) | Err(_) => unknown.push(number),
                    }
                }
                if !unknown.is_empty() {
                    turn.report(Report::StateUnknownGpus { unknown });
                }
                self.set_paused(gpus, turn);
                // What we refused of it is put right in the file.
                self.board.stale = true;
            }
        }
    }

    fn ask_pause(&mut self, gpu: GpuIndex, pause: bool, turn: &mut Turn) -> Answer {
        if !self.may_know(gpu) {
            return Answer::NoSuchGpu(gpu, self.node.known().collect());
        }
        let mut paused = self.durable.paused();
        if pause {
            paused.insert(gpu);
        } else {
            paused.remove(gpu);
        }
        self.set_paused(paused, turn);
        if pause { Answer::Paused(gpu) } else { Answer::Resumed(gpu) }
    }

    /// Whether there may be such a GPU: before the first look nobody knows.
    fn may_know(&self, gpu: GpuIndex) -> bool {
        gpu.0 < GpuSet::END && (self.sampling.known_at.is_none() || self.node.knows(gpu))
    }

    fn set_paused(&mut self, gpus: GpuSet, turn: &mut Turn) {
        let before = self.durable.paused();
        if before == gpus {
            return;
        }
        self.commit(Record::Paused { gpus: gpus.iter().collect() }, turn);
        self.node.pause(gpus);
        self.blocked.clear();
        for gpu in gpus.iter().filter(|gpu| !before.contains(*gpu)) {
            turn.report(Report::Paused { gpu });
        }
        for gpu in before.iter().filter(|gpu| !gpus.contains(*gpu)) {
            turn.report(Report::GpuBack { gpu });
        }
    }

    fn ask_cancel(&mut self, no: JobNo, turn: &mut Turn) -> Answer {
        if self.live.contains_key(&no) {
            self.cancel_running(no, turn);
            return Answer::Cancelling(no);
        }
        match self.lines.find(no) {
            Some(line) if self.lines.entry(line).state == LineState::Waiting => {
                self.cancel_waiting(line, turn);
                Answer::Cancelled(no)
            }
            Some(_) | None => self.no_longer_there(no),
        }
    }

    fn ask_retry(&mut self, no: JobNo, request: &str, turn: &mut Turn) -> Answer {
        if self.live.contains_key(&no) {
            return Answer::Runs(no);
        }
        let Some(line) = self.lines.find(no) else {
            let is_known = self.durable.jobs().any(|(_, job)| job.no == no);
            return if is_known { Answer::LineGone(no) } else { Answer::NoSuchJob(no) };
        };
        if self.lines.file.attributes(line).cancel {
            return Answer::LineCancels(no);
        }
        let key = self.lines.key(line);
        let granted = self.durable.job(key).and_then(|job| job.past().retried.as_deref()) == Some(request);
        if self.lines.entry(line).state == LineState::Waiting {
            // Whoever asks does not want to wait for the next try.
            if let Some(line) = self.lines.deferred.remove(no) {
                self.await_room(line);
            }
            return Answer::Waits(no);
        }
        if !granted {
            self.commit(Record::Retried { key, request: request.to_owned() }, turn);
            self.forget_done(no);
            self.await_room(line);
            self.rest = Rest::Busy;
        }
        Answer::WaitsAgain(no)
    }

    /// What is to be said of a job that neither runs nor waits.
    fn no_longer_there(&self, no: JobNo) -> Answer {
        match self.durable.jobs().find(|(_, job)| job.no == no).map(|(_, job)| &job.phase) {
            Some(Phase::Done { status, .. }) => Answer::IsOver(no, *status),
            Some(Phase::Waiting | Phase::Running(_)) => Answer::LineGone(no),
            None => Answer::NoSuchJob(no),
        }
    }
}
