//! The real world of the queue: one thread that waits for everything at once.
//!
//! It polls the keeper's sockets, the jobs file's inotify, the signal pipes and
//! the bell of the other threads, and no longer than until the next deadline.
//! What came in is handed out one event at a time.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{GpuBackend, JobHost};
use engine::queue::{Board, Effect, Event, Queue, Record, Report};
use engine::{Seq, Woken, World, WorldLost};
use jobspec::JobsFile;
use journal::Journal;
use model::{AttemptSighting, Launch, SurveyError, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Steady;
use crate::gpus::{GpuReader, Sample};
use crate::host::{HostNews, KeeperHost};
use crate::jobsfile::Watch;
use crate::mailbox::{Mailbox, Reply};
use crate::medium::{FileMedium, PathError, atomic_write, words};
use crate::models::ModelsFile;
use crate::point::{self, Point};
use crate::publish::Reporter;
use crate::signals::Signals;
use crate::statefile::StateFile;
use crate::syncer::Syncer;
use crate::waker::{Inbox, waker};

/// How long to wait before a job host that could not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a shell is made of.
pub struct Parts {
    /// The clock.
    pub clock: Steady,
    /// The watch over the jobs file.
    pub watch: Watch,
    /// What the watch read first.
    pub jobs: Arc<JobsFile>,
    /// The journal, read and ready for more records.
    pub journal: Journal<FileMedium>,
    /// Who runs the jobs.
    pub host: KeeperHost,
    /// Who reads the GPUs.
    pub gpus: Box<dyn GpuBackend>,
    /// What is asked about the GPUs, in words: `nvidia-smi`.
    pub gpu_source: String,
    /// The signals that end us.
    pub signals: Signals,
    /// Who finds the words.
    pub reporter: Box<dyn Reporter>,
    /// Where the status board is published.
    pub board: PathBuf,
    /// The same for programs.
    pub status: PathBuf,
    /// What commands ask for.
    pub mailbox: Mailbox,
    /// The state file, where one is kept.
    pub state: Option<StateFile>,
    /// What each model needs, where commands are asked which they run.
    pub models: Option<ModelsFile>,
}

/// A shell could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// The journal can't be synced.
    #[error(transparent)]
    Journal(#[from] PathError),
    /// The system gives no more threads or descriptors.
    #[error("cannot start the threads of the scheduler: {}", words(_0))]
    System(io::Error),
    /// The jobs of an earlier run can't be told.
    #[error(transparent)]
    Survey(#[from] SurveyError),
}

/// The real world of the queue.
pub struct Shell {
    clock: Steady,
    watch: Watch,
    journal: Journal<FileMedium>,
    host: KeeperHost,
    gpus: GpuReader,
    signals: Signals,
    reporter: Box<dyn Reporter>,
    board: PathBuf,
    status: PathBuf,
    mailbox: Mailbox,
    state: Option<StateFile>,
    models: Option<ModelsFile>,
    syncer: Syncer,
    inbox: Inbox<News>,
    /// What came in and was not handed out yet.
    ready: VecDeque<Woken<Event>>,
    /// Whether the job host has something to say that no descriptor tells of.
    host_has_news: bool,
    /// When to ask the job host for all attempts again.
    survey_at: Option<Instant>,
    /// Why it can't go on, once it can't.
    lost: Option<WorldLost>,
}

/// What other threads tell this one.
#[derive(Debug)]
enum News {
    Synced(Result<Seq, String>),
    Gpus(Sample),
}

/// What can end a wait before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Inbox,
    Host,
    File,
    Mailbox,
    State,
    Models,
}

impl Shell {
    /// Puts the parts together. The first events are the jobs file and a survey
    /// of the attempts of earlier runs.
    ///
    /// # Errors
    /// When those attempts can't be told, or the system lacks the means.
    pub fn open(parts: Parts) -> Result<Self, ShellError> {
        let Parts { clock, watch, jobs, journal, mut host, gpus, gpu_source, signals, reporter, .. } = parts;
        let Parts { board, status, mut mailbox, mut state, mut models, .. } = parts;
        let (waker, inbox) = waker().map_err(ShellError::System)?;
        let file = journal.medium().handle()?;
        let bell = waker.clone();
        let syncer = Syncer::start(file, move |answer| bell.send(News::Synced(answer)));
        let gpus = GpuReader::start(gpus, gpu_source, move |sample| waker.send(News::Gpus(sample)));
        let (syncer, gpus) = (syncer.map_err(ShellError::System)?, gpus.map_err(ShellError::System)?);
        // What people have asked for meanwhile comes before anything is started:
        // that waits for the GPUs to be read.
        let now = Instant::now();
        let needs = models.as_mut().and_then(|models| models.look(now)).map(Event::Models);
        let edited = state.as_mut().and_then(|state| state.look(now)).map(Event::State);
        let first = [Event::JobsFile(Ok(jobs)), Event::Survey(survey(&mut host)?)];
        let asked = mailbox.take(now).into_iter().map(Event::Control);
        let ready = needs.into_iter().chain(edited).chain(first).chain(asked).map(Woken::Event).collect();
        Ok(Self {
            clock,
            watch,
            journal,
            host,
            gpus,
            signals,
            reporter,
            board,
            status,
            mailbox,
            state,
            models,
            syncer,
            inbox,
            ready,
            host_has_news: true,
            survey_at: None,
            lost: None,
        })
    }

    /// The signal that was the first to ask for the end.
    pub fn ended_by(&self) -> Option<u8> {
        self.signals.first()
    }

    fn tell(&mut self, event: Event) {
        self.ready.push_back(Woken::Event(event));
    }

    /// Waits until something is there or one of the times has come, and takes
    /// in all that is there.
    fn wait(&mut self, until: Option<Timestamp>) -> Result<(), WorldLost> {
        let stirred = self.poll(until)?;
        let now = Instant::now();
        if stirred.contains(&Source::Signals) {
            let asked = self.signals.take().into_iter().map(Event::Interrupt);
            self.ready.extend(asked.map(Woken::Event));
        }
        if stirred.contains(&Source::Inbox) {
            for news in self.inbox.take().collect::<Vec<_>>() {
                self.hear(news);
            }
        }
        // Whatever woke us: what the keeper's socket had no room for goes out too.
        self.hear_host(now);
        if (stirred.contains(&Source::File) || now >= self.watch.next_look())
            && let Some(file) = self.watch.look(now)
        {
            self.tell(Event::JobsFile(file));
        }
        self.hear_people(&stirred, now);
        if let Some(sample) = self.gpus.overdue(now) {
            self.tell_gpus(sample);
        }
        if self.survey_at.is_some_and(|at| now >= at) {
            self.survey(now);
        }
        Ok(())
    }

    /// Takes in what commands and editors have written.
    fn hear_people(&mut self, stirred: &[Source], now: Instant) {
        if stirred.contains(&Source::Mailbox) || now >= self.mailbox.next_look() {
            let asked = self.mailbox.take(now).into_iter().map(Event::Control);
            self.ready.extend(asked.map(Woken::Event));
        }
        if let Some(edit) = self.state.as_mut().and_then(|state| state.look(now)) {
            self.tell(Event::State(edit));
        }
        if let Some(models) = self.models.as_mut().and_then(|models| models.look(now)) {
            self.tell(Event::Models(models));
        }
    }

    /// Waits, and tells what is there.
    fn poll(&self, until: Option<Timestamp>) -> Result<Vec<Source>, WorldLost> {
        let signals = self.signals.fds().map(|fd| (Source::Signals, fd));
        let file = self.watch.fd().map(|fd| (Source::File, fd));
        let host = self.host.fds().into_iter().map(|fd| (Source::Host, fd));
        let mailbox = self.mailbox.fd().map(|fd| (Source::Mailbox, fd));
        let state = self.state.as_ref().and_then(StateFile::fd).map(|fd| (Source::State, fd));
        let mut watched: Vec<_> = signals.into_iter().chain([(Source::Inbox, self.inbox.fd())]).collect();
        let models = self.models.as_ref().and_then(ModelsFile::fd).map(|fd| (Source::Models, fd));
        watched.extend(file.into_iter().chain(host).chain(mailbox).chain(state).chain(models));
        let mut fds: Vec<_> =
            watched.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(self.patience(until)).ok();
        match poll(&mut fds, timeout.as_ref()) {
            // A signal that we catch is in its pipe by now.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(WorldLost(format!("cannot wait for events: {}", words(&error.into())))),
        }
        let stirred = watched.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(stirred.map(|((source, _), _)| *source).collect())
    }

    /// How long to wait for events at most.
    fn patience(&self, until: Option<Timestamp>) -> Duration {
        if self.host_has_news {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let ours = [
            Some(self.watch.next_look()),
            Some(self.mailbox.next_look()),
            self.state.as_ref().map(StateFile::next_look),
            self.models.as_ref().map(ModelsFile::next_look),
            self.gpus.deadline(),
            self.survey_at,
        ];
        let ours = ours.into_iter().flatten().map(|at| at.saturating_duration_since(now)).min();
        let theirs = until.map(|at| {
            // A negative time is one that has come.
            Duration::try_from(at.duration_since(self.clock.now())).unwrap_or_default()
        });
        ours.into_iter().chain(theirs).min().unwrap_or_default()
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Synced(Ok(seq)) => {
                point::pass(Point::AfterSync);
                self.ready.push_back(Woken::Synced(seq));
            }
            News::Synced(Err(why)) => {
                let why = format!("cannot sync the journal: {why}");
                self.journal.poison(why.clone());
                self.lost = Some(WorldLost(why));
            }
            News::Gpus(sample) => {
                if let Some(sample) = self.gpus.delivered(sample) {
                    self.tell_gpus(sample);
                }
            }
        }
    }

    fn tell_gpus(&mut self, mut sample: Sample) {
        if let Ok(snapshot) = &mut sample {
            for app in &mut snapshot.apps {
                app.owner = self.host.owner_of(app.pid);
            }
        }
        self.tell(Event::Gpus(sample));
    }

    fn hear_host(&mut self, now: Instant) {
        self.host_has_news = false;
        let mut sightings = Vec::new();
        for news in self.host.news() {
            match news {
                HostNews::Sightings(more) => sightings.extend(more),
                HostNews::Refused { attempt, why } => self.tell(Event::Refused { attempt, why }),
                // What was on its way to it is lost, so it is asked for again.
                HostNews::KeeperGone(_) => self.survey_at = Some(now),
            }
        }
        if !sightings.is_empty() {
            self.tell(Event::Attempts(sightings));
        }
    }

    fn survey(&mut self, now: Instant) {
        self.host_has_news = true;
        self.survey_at = match survey(&mut self.host) {
            Ok(sightings) => {
                self.tell(Event::Survey(sightings));
                None
            }
            Err(SurveyError(_)) => Some(now + ASK_AGAIN),
        };
    }

    fn launch(&mut self, launch: &Launch) {
        point::pass(Point::BeforeLaunch);
        if let Err(why) = self.host.launch(launch) {
            self.host_has_news = true;
            self.tell(Event::Refused { attempt: launch.attempt, why });
        }
        point::pass(Point::AfterLaunch);
    }

    fn publish(&mut self, board: &Board) {
        point::pass(Point::BeforeBoard);
        let text = self.reporter.board(board);
        // A view is published as well as can be: on a full disk the old one
        // stays, and the journal tells of it.
        let _ = atomic_write(&self.board, text.as_bytes());
        let status = self.reporter.status(board);
        let _ = atomic_write(&self.status, status.as_bytes());
        if let Some(edit) = self.state.as_mut().and_then(|state| state.publish(board, Instant::now())) {
            self.tell(Event::State(edit));
        }
    }
}

/// All attempts, as the job host tells them.
fn survey(host: &mut KeeperHost) -> Result<Vec<AttemptSighting>, SurveyError> {
    point::pass(Point::BeforeSurvey);
    let all = host.survey();
    point::pass(Point::AfterSurvey);
    all
}

impl World<Queue> for Shell {
    fn now(&mut self) -> Timestamp {
        self.clock.now()
    }

    fn next(&mut self, until: Option<Timestamp>) -> Result<Woken<Event>, WorldLost> {
        // What has happened goes before a deadline, even one long past.
        let mut has_looked = false;
        loop {
            if let Some(lost) = &self.lost {
                return Err(lost.clone());
            }
            if let Some(woken) = self.ready.pop_front() {
                return Ok(woken);
            }
            if has_looked && until.is_some_and(|at| at <= self.clock.now()) {
                return Ok(Woken::Deadline);
            }
            self.wait(until)?;
            has_looked = true;
        }
    }

    fn persist(&mut self, records: &[Record]) -> Result<Seq, WorldLost> {
        point::pass(Point::BeforePersist);
        let at = self.clock.now();
        let seq = self.journal.append(records, at).map_err(|error| WorldLost(error.to_string()))?;
        point::pass(Point::BeforeSync);
        self.syncer.request(seq);
        point::pass(Point::AfterPersist);
        Ok(seq)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(launch) => self.launch(&launch),
            // Where the host could not be asked, the queue asks again; and what
            // that says about the host, its news tell.
            Effect::Signal { attempt, signal } => {
                self.host_has_news |= self.host.signal(attempt, signal).is_err();
            }
            Effect::Void(attempt) => self.host_has_news |= self.host.void(attempt).is_err(),
            Effect::SampleGpus => {
                if let Some(sample) = self.gpus.request(Instant::now()) {
                    self.tell_gpus(sample);
                }
            }
            Effect::Answer { id, answer } => {
                let text = self.reporter.answer(&answer);
                self.mailbox.answer(&id, &Reply { done: !answer.is_refusal(), text });
            }
            Effect::PublishBoard(board) => self.publish(&board),
        }
    }

    fn report(&mut self, report: Report) {
        point::pass(Point::BeforeReport);
        self.reporter.report(&report);
    }
}

#[cfg(test)]
mod tests;
