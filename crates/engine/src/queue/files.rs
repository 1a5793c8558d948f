//! A new version of the jobs file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jobspec::{Duplicate, JobsFile};
use model::Exit;

use crate::Action;
use crate::queue::durable::Phase;
use crate::queue::lines::{Changes, LineState};
use crate::queue::machine::{Queue, Rest, Turn};
use crate::queue::{BoardDone, Record, Report, Status, Unreadable};

/// More finished lines than this are counted at the start, not listed; nor are
/// more lines that are the same jobs as others.
const MAX_DONE_LISTED: usize = 20;

/// Numbers journalled at a time, so that a huge file does not delay the jobs.
const NUMBERS_AT_A_TIME: usize = 1000;

impl Queue {
    pub(super) fn on_jobs_file(&mut self, file: Result<Arc<JobsFile>, Unreadable>, turn: &mut Turn) {
        let file = match file {
            Ok(file) => file,
            Err(Unreadable(why)) => {
                if self.kept_because.as_ref() != Some(&why) {
                    self.kept_because = Some(why.clone());
                    self.board.stale = true;
                    turn.report(Report::QueueKept { why });
                }
                return;
            }
        };
        if self.kept_because.take().is_some() {
            turn.report(Report::QueueGood);
        }
        let live_lines: BTreeSet<u32> = self.live.values().filter_map(|live| live.line).collect();
        let changes = self.lines.replace(&file, &self.durable, &live_lines);
        self.follow_lines(&changes);
        self.tell_changes(changes, turn);
        self.rebuild_waiting();
        self.tell_unknown_models(turn);
        self.tell_same_jobs(turn);
        if !self.file_known {
            self.file_known = true;
            self.tell_first_file(turn);
        }
        self.cancel_marked(turn);
        if self.lines.any_left() {
            self.rest = Rest::Busy;
        }
        self.board.stale = true;
    }

    /// Finds the lines of the running jobs in the new version.
    fn follow_lines(&mut self, changes: &Changes) {
        for live in self.live.values_mut() {
            live.line = live.line.and_then(|line| changes.moved.get(&line).copied());
        }
        let lost: BTreeSet<_> =
            self.live.values().filter(|live| live.line.is_none()).map(|live| live.no).collect();
        if lost.is_empty() {
            return;
        }
        // Jobs of an earlier run, and lines that went and came back.
        for line in 0..self.lines.len() {
            let entry = self.lines.entry(line);
            if entry.state == LineState::Running
                && lost.contains(&entry.no)
                && let Some(mut live) = self.live.remove(&entry.no)
            {
                self.learn_from_line(&mut live, line);
                self.live.insert(entry.no, live);
            }
        }
    }

    fn tell_changes(&mut self, changes: Changes, turn: &mut Turn) {
        for held in changes.held {
            turn.report(Report::EditIgnored {
                no: held.job,
                line: self.lines.file.line_no(held.line).0,
                running: held.running,
                command: self.lines.file.command(held.line).to_owned(),
            });
        }
        for key in changes.left {
            self.commit(Record::Left { key }, turn);
        }
    }

    /// Tells which lines are the same jobs as earlier ones, whenever these are
    /// others than before.
    fn tell_same_jobs(&mut self, turn: &mut Turn) {
        let same = self.lines.file.duplicates();
        if same.len() != self.same_told {
            for Duplicate { line, of } in same.iter().take(MAX_DONE_LISTED) {
                turn.report(Report::SameJob { line: line.0, of: of.0 });
            }
        }
        self.same_told = same.len();
    }

    fn tell_first_file(&mut self, turn: &mut Turn) {
        let done: Vec<(usize, Status, Option<Exit>)> = (0..self.lines.len())
            .filter(|line| self.lines.entry(*line).state == LineState::Done)
            .filter_map(|line| match self.durable.job(self.lines.key(line))?.phase {
                Phase::Done { status, exit, .. } => Some((line, status, exit)),
                Phase::Waiting | Phase::Running(_) => None,
            })
            .collect();
        self.summary.earlier = done.len();
        turn.report(Report::Queued { jobs: self.lines.len(), done: done.len() });
        let list_all = done.len() <= MAX_DONE_LISTED;
        for (line, status, exit) in done {
            let (no, command) = (self.lines.entry(line).no, self.lines.title(line));
            if status.is_failure() {
                self.note_failure(no, status, exit, &command);
            }
            if list_all || status.is_failure() {
                turn.report(Report::AlreadyDone { no, status, command });
            }
        }
    }

    /// Stops what runs and ends what waits, where its line says `cancel`.
    fn cancel_marked(&mut self, turn: &mut Turn) {
        let lines: Vec<usize> = (0..self.lines.len())
            .filter(|line| self.lines.file.attributes(*line).cancel)
            .filter(|line| matches!(self.lines.entry(*line).state, LineState::Waiting | LineState::Running))
            .collect();
        for line in lines {
            let no = self.lines.entry(line).no;
            match self.lines.entry(line).state {
                LineState::Running => self.cancel_running(no, turn),
                LineState::Waiting => self.cancel_waiting(line, turn),
                LineState::Done | LineState::Held => {}
            }
        }
    }

    pub(super) fn cancel_waiting(&mut self, line: usize, turn: &mut Turn) {
        let request = self.request_of(line);
        self.lines.take_waiting(&request, line);
        self.finish_unstarted(line, Status::Cancelled, turn);
        let (no, command) = (self.lines.entry(line).no, self.lines.title(line));
        turn.report(Report::CancelledPending { no, command });
    }

    /// Journals the end of a job that was not running.
    pub(super) fn finish_unstarted(&mut self, line: usize, status: Status, turn: &mut Turn) {
        let (key, no) = (self.lines.key(line), self.lines.entry(line).no);
        self.lines.set_state(line, LineState::Done);
        self.lines.set_journalled(line);
        let (peak_mib, avg_util) = (BTreeMap::new(), None);
        self.commit(Record::Done { key, no, status, exit: None, peak_mib, avg_util, why: None }, turn);
        let command = self.lines.title(line);
        let (assessment, exit, why, peak) = (None, None, None, None);
        self.remember_done(BoardDone { no, command, status, assessment, exit, why, peak });
    }

    /// Journals the numbers of lines that were not started at once.
    pub(super) fn journal_numbers(&mut self, turn: &mut Turn) {
        if !self.file_known {
            return;
        }
        for line in self.lines.take_unjournalled(NUMBERS_AT_A_TIME) {
            let (key, no) = (self.lines.key(line), self.lines.entry(line).no);
            let record = Record::Seen { key, no, command: self.lines.file.command(line).to_owned() };
            self.durable.apply(&record);
            turn.actions.push(Action::Persist(record));
        }
    }
}
