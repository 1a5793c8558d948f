//! What the job of a line needs: by its line, by the model it runs, and by what
//! was learnt when it ran out of GPU memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use allocation::Request;
use jobspec::{Format, Models, Need, model_in};

use crate::queue::durable::Durable;
use crate::queue::lines::{LineState, Lines};
use crate::queue::machine::{Queue, Turn};
use crate::queue::{Report, Unreadable};

/// What each model needs, where that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    models: Option<Arc<Models>>,
    /// Why they could not be read last, so that it is told once.
    unreadable: Option<String>,
    /// Models that were told to be unknown.
    told: BTreeSet<String>,
}

impl Needs {
    /// What the job of a line needs.
    fn request(&self, lines: &Lines, durable: &Durable, line: usize) -> Request {
        let attributes = lines.file.attributes(line);
        let need = self.by_model(lines, line);
        let gpus = attributes.gpus.or(need.and_then(|need| need.gpus)).unwrap_or(attributes.gpu_need());
        let vram = attributes.vram.or(need.and_then(|need| need.vram));
        match durable.next_vram(lines.entry(line).no, || lines.key(line)) {
            Some(next) => Request { vram: next.vram, gpus, alone: next.alone, on: attributes.on },
            None => Request::new(vram, gpus, attributes.on),
        }
    }

    /// What the model needs that a line runs. A line that says itself what it
    /// needs is believed. One of a CSV file that names no model gets the default,
    /// as in the scheduler whose files these are.
    fn by_model(&self, lines: &Lines, line: usize) -> Option<&Need> {
        let models = self.models.as_ref()?;
        let attributes = lines.file.attributes(line);
        if attributes.gpus.is_some() || attributes.vram.is_some() {
            return None;
        }
        match model_in(lines.file.command(line)) {
            Some(model) => Some(models.for_model(&model).unwrap_or(models.default_need())),
            None => (lines.file.format() == Format::Csv).then(|| models.default_need()),
        }
    }
}

impl Queue {
    pub(super) fn on_models(&mut self, models: Result<Option<Arc<Models>>, Unreadable>, turn: &mut Turn) {
        match models {
            Ok(models) => {
                let count = models.as_ref().map(|models| models.len());
                if count.is_some() || self.needs.models.is_some() {
                    turn.report(Report::Models { count });
                }
                self.needs = Needs { models, ..Needs::default() };
                self.rebuild_waiting();
                self.tell_unknown_models(turn);
                self.board.stale = true;
            }
            Err(Unreadable(why)) => {
                if self.needs.unreadable.as_ref() != Some(&why) {
                    self.needs.unreadable = Some(why.clone());
                    turn.report(Report::ModelsKept { why });
                }
            }
        }
    }

    /// What the job of a line needs.
    pub(super) fn request_of(&self, line: usize) -> Request {
        self.needs.request(&self.lines, &self.durable, line)
    }

    /// Has a line wait among the others, from now on.
    pub(super) fn await_room(&mut self, line: usize) {
        let request = self.request_of(line);
        self.lines.push_waiting(request, line);
        self.blocked.remove(&request);
    }

    /// Makes the list of waiting lines anew.
    pub(super) fn rebuild_waiting(&mut self) {
        let Self { lines, durable, needs, .. } = self;
        lines.rebuild_waiting(|lines, line| needs.request(lines, durable, line));
        self.blocked.clear();
    }

    /// Tells each model once that waiting lines name and nobody knows.
    pub(super) fn tell_unknown_models(&mut self, turn: &mut Turn) {
        let Some(models) = self.needs.models.clone() else { return };
        for line in 0..self.lines.len() {
            let entry = self.lines.entry(line);
            if entry.state != LineState::Waiting {
                continue;
            }
            let Some(model) = model_in(self.lines.file.command(line)) else { continue };
            if models.for_model(&model).is_none() && self.needs.told.insert(model.to_string()) {
                turn.report(Report::UnknownModel { model: model.into_owned(), no: entry.no });
            }
        }
    }
}
