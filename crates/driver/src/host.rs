//! The scheduler's side of the keeper: a [`JobHost`] that starts a keeper when
//! it needs one and finds the one that is there.

mod birth;
mod forget;
mod link;
mod logs;
mod owner;
mod tail;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use backend::JobHost;
use model::{
    AttemptId, AttemptSighting, GpuIndex, Launch, LaunchError, LogPart, Pid, Presence, SignalError,
    SignedDuration, StopSignal, SurveyError,
};

pub use birth::own_program;
pub use forget::start_fresh;
pub use logs::LogNames;

use crate::host::link::Connection;
use crate::host::owner::Owners;
use crate::keeper::LOG;
use crate::medium::PathError;
use crate::proc::{Mark, Process};
use crate::seat::SeatKind;
use crate::wire::{News, Request, SeatOrder, Standing};

/// How long a survey may take.
const SURVEY_TIMEOUT: Duration = Duration::from_secs(60);

/// What a [`KeeperHost`] works with.
#[derive(Clone)]
pub struct KeeperConfig {
    /// The log directory. It must exist.
    pub dir: PathBuf,
    /// The absolute path of the program that becomes the keeper when called as
    /// `PROGRAM __keep DIR`: it calls [`keep`](crate::keeper::keep); and a seat
    /// when called as `PROGRAM __seat DIR ATTEMPT`: it calls
    /// [`sit`](crate::seat::sit). Where it is
    /// this very program ([`own_program`]), it need not be there any more.
    pub program: PathBuf,
    /// What jobs inherit: as a rule this process's own environment. Of a variable
    /// that is there twice, the later one counts.
    pub environment: Vec<(OsString, OsString)>,
    /// Where jobs start: an absolute path.
    pub cwd: PathBuf,
    /// What their logs are called.
    pub logs: LogNames,
    /// Where each is to run in a session of its own, of what.
    pub seat: Option<SeatKind>,
}

impl fmt::Debug for KeeperConfig {
    /// Without the environment, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dir, program, cwd, logs, seat, .. } = self;
        f.debug_struct("KeeperConfig")
            .field("dir", dir)
            .field("program", program)
            .field("cwd", cwd)
            .field("logs", logs)
            .field("seat", seat)
            .finish_non_exhaustive()
    }
}

/// What a job host has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostNews {
    /// What has become of some attempts.
    Sightings(Vec<AttemptSighting>),
    /// An attempt was not started.
    Refused {
        /// The attempt.
        attempt: AttemptId,
        /// Why not.
        why: LaunchError,
    },
    /// The keeper has ended under our hands; the reason. Its jobs live on: a
    /// survey finds them, by a new keeper.
    KeeperGone(String),
}

/// The keeper can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The keeper could not be started.
    #[error("cannot start the keeper {}: {}", program.display(), crate::medium::words(source))]
    Start {
        /// Its program.
        program: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The keeper has ended at once; its last words.
    #[error("the keeper has ended at once: {0}")]
    Ended(String),
    /// There is a keeper, and it says nothing.
    #[error("the keeper of {} does not answer within {seconds} s", dir.display())]
    Silent {
        /// The log directory.
        dir: PathBuf,
        /// How long we waited.
        seconds: u64,
    },
    /// There is a keeper of another version.
    #[error(
        "the keeper of {} (pid {pid}) is of another version ({theirs}, not {ours}); it ends when its jobs have ended",
        dir.display()
    )]
    Version {
        /// The log directory.
        dir: PathBuf,
        /// The keeper.
        pid: Pid,
        /// The version it speaks.
        theirs: u32,
        /// The version we speak.
        ours: u32,
    },
    /// Talking to the keeper failed.
    #[error("cannot talk to the keeper: {0}")]
    Talk(String),
    /// The keeper's log could not be read or rewritten.
    #[error("{0}")]
    Log(String),
    /// Jobs run in the directory.
    #[error("jobs still run in {}", dir.display())]
    Busy {
        /// The log directory.
        dir: PathBuf,
    },
}

/// The job host of this machine. What runs is run by a keeper, a process that
/// outlives this one.
#[derive(Debug)]
pub struct KeeperHost {
    config: KeeperConfig,
    connection: Option<Connection>,
    /// The keeper, if it is our child and must be reaped one day.
    child: Option<Pid>,
    waiting: VecDeque<HostNews>,
    owners: Owners,
}

impl KeeperHost {
    /// The job host of a log directory. Connects to its keeper if one lives;
    /// else one is started as soon as it is needed.
    ///
    /// # Errors
    /// When the directory can't be used, or its keeper can't be talked to.
    pub fn open(mut config: KeeperConfig) -> Result<Self, HostError> {
        config.dir = fs::canonicalize(&config.dir).map_err(PathError::of("open", &config.dir))?;
        let connection = Connection::to_living(&config)?;
        let owners = Owners::new(Mark::new(&config.dir));
        Ok(Self { config, connection, child: None, waiting: VecDeque::new(), owners })
    }

    /// Shortens the keeper's log to the attempts that are not settled, if it has
    /// grown beyond 1 MiB and no keeper lives. Settled are those that will never
    /// be launched or asked about again.
    ///
    /// # Errors
    /// When the log can't be read or rewritten.
    pub fn forget(&mut self, settled: impl Fn(AttemptId) -> bool) -> Result<(), HostError> {
        match &self.connection {
            Some(_) => Ok(()),
            None => forget::shorten(&self.config.dir, settled),
        }
    }

    /// Readable when there is news. They change when a keeper is started, so
    /// ask before each wait; and call [`KeeperHost::news`] once after a survey or
    /// a request that failed, for what came with it.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.connection.iter().map(AsFd::as_fd).collect()
    }

    /// What has come since the last call. Never waits.
    pub fn news(&mut self) -> Vec<HostNews> {
        let heard = match &mut self.connection {
            Some(connection) => connection.hear(),
            None => Ok(Vec::new()),
        };
        match heard {
            Ok(news) => news.into_iter().for_each(|news| self.take_in(news)),
            Err(error) => self.lose(&error.to_string()),
        }
        self.waiting.drain(..).collect()
    }

    /// The attempt a process belongs to: by its own and its ancestors' sessions,
    /// and by the mark in its environment. Cheap for a process seen before.
    pub fn owner_of(&mut self, pid: Pid) -> Option<AttemptId> {
        self.owners.owner_of(pid)
    }

    /// The connection, to a new keeper if there is none.
    fn connect(&mut self) -> Result<&mut Connection, HostError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::to_any(&self.config, &mut self.child)?,
        };
        Ok(self.connection.insert(connection))
    }

    fn ask(&mut self, request: &Request) -> Result<(), HostError> {
        self.connect()?.ask(request).inspect_err(|error| self.lose(&error.to_string()))
    }

    fn lose(&mut self, why: &str) {
        if self.connection.take().is_some() {
            self.waiting.push_back(HostNews::KeeperGone(why.to_owned()));
        }
        birth::reap(&mut self.child);
    }

    fn take_in(&mut self, news: News) {
        match news {
            News::Hello { .. } | News::Surveyed => {}
            News::Refused { attempt, why } => self.waiting.push_back(HostNews::Refused { attempt, why }),
            News::Attempt { attempt, is } => match self.sighting(attempt, is) {
                Ok(sighting) => match self.waiting.back_mut() {
                    Some(HostNews::Sightings(sightings)) => sightings.push(sighting),
                    Some(HostNews::Refused { .. } | HostNews::KeeperGone(_)) | None => {
                        self.waiting.push_back(HostNews::Sightings(vec![sighting]));
                    }
                },
                Err(why) => self.waiting.push_back(HostNews::Refused { attempt, why }),
            },
        }
    }

    /// What the keeper says of an attempt, as a sighting. One whose process
    /// could not be created is none: it is refused.
    fn sighting(&mut self, attempt: AttemptId, is: Standing) -> Result<AttemptSighting, LaunchError> {
        let presence = match is {
            Standing::Running { pid, start_time, log, log_from } => {
                self.owners.began(attempt, pid, start_time);
                let elapsed = Process::age(start_time).unwrap_or_default();
                Presence::Running { pid, elapsed, log: LogPart { name: log, from: log_from } }
            }
            Standing::Ended { exit, elapsed_ms, survivors, log, log_from } => {
                if !survivors {
                    self.owners.ended(attempt);
                }
                let tail = if exit.is_success() {
                    Box::default()
                } else {
                    tail::read(&self.config.dir.join(&*log), log_from)
                };
                Presence::Ended { exit, elapsed: SignedDuration::from_millis(elapsed_ms), tail, survivors }
            }
            Standing::Failed(why) => return Err(LaunchError::Spawn(why)),
            Standing::Lost(why) => {
                self.owners.ended(attempt);
                Presence::Lost(why)
            }
            Standing::Interrupted => Presence::Interrupted,
            Standing::Voided => Presence::Voided,
        };
        Ok(AttemptSighting { attempt, presence })
    }

    /// Every attempt, from a keeper.
    fn ask_all(&mut self) -> Result<Vec<AttemptSighting>, HostError> {
        let never_used = fs::metadata(self.config.dir.join(LOG)).map_or(0, |log| log.len()) == 0;
        if self.connection.is_none() && never_used {
            return Ok(Vec::new());
        }
        let asked = self.connect()?.survey(SURVEY_TIMEOUT);
        let news = asked.inspect_err(|error| self.lose(&error.to_string()))?;
        let mut sightings = Vec::with_capacity(news.len());
        for (attempt, is) in news {
            match self.sighting(attempt, is) {
                Ok(sighting) => sightings.push(sighting),
                Err(why) => self.waiting.push_back(HostNews::Refused { attempt, why }),
            }
        }
        Ok(sightings)
    }
}

impl JobHost for KeeperHost {
    fn launch(&mut self, launch: &Launch) -> Result<(), LaunchError> {
        let log = self.config.logs.name(&self.config.dir, launch);
        let seat = self.config.seat.map(|kind| {
            let gpus: Vec<GpuIndex> = launch.gpus.iter().map(|(index, _)| *index).collect();
            SeatOrder { kind, session: jobspec::session_name(&gpus, &launch.command, launch.no) }
        });
        let Launch { attempt, no, command, gpus, setting } = launch.clone();
        self.ask(&Request::Launch { attempt, no, command, gpus, setting, log, seat })
            .map_err(|error| LaunchError::NoKeeper(error.to_string()))
    }

    fn signal(&mut self, attempt: AttemptId, signal: StopSignal) -> Result<(), SignalError> {
        self.ask(&Request::Signal { attempt, signal }).map_err(|error| SignalError(error.to_string()))
    }

    fn void(&mut self, attempt: AttemptId) -> Result<(), SurveyError> {
        self.ask(&Request::Void { attempt }).map_err(|error| SurveyError(error.to_string()))
    }

    fn survey(&mut self) -> Result<Vec<AttemptSighting>, SurveyError> {
        self.ask_all().map_err(|error| SurveyError(error.to_string()))
    }
}
