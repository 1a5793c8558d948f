//! The jobs in sessions of screen and tmux: each is looked after by its seat, and
//! the keeper looks after the seats.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::keeper::{Fate, KeeperRecord, Kept, Ledger};
use model::{AttemptId, Pid, StopSignal};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::keeper::jobs::Lead;
use crate::proc::{self, Process};
use crate::seat::SeatKind;
use crate::seat::files::{self, Being, End, Files, Occupant};

/// How long after a job was killed its seat may take to tell.
const TELL_WITHIN: Duration = Duration::from_secs(5);

/// How long it may take until somebody sits in a session that was started. Nobody
/// can do so afterwards, so a machine that is slower than that does no harm.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A job in a session.
#[derive(Debug)]
struct Seat {
    files: Files,
    /// What holds the session, while it is our child and not reaped.
    leader: Option<Pid>,
    /// What of the session is; nothing where an earlier keeper started it.
    kind: Option<SeatKind>,
    /// Who was in the session when it was last looked at.
    occupant: Option<Occupant>,
    /// When it was started, or found.
    since: Instant,
    /// Readable when the seat has ended.
    hold: Option<OwnedFd>,
    /// A signal that came before there was a job to take it.
    owed: Option<StopSignal>,
    /// When its job was killed.
    killed: Option<Instant>,
}

/// What has become of a job in a session.
#[derive(Debug)]
pub(super) enum Sight {
    /// Its job has been started; a signal may be owed to it.
    Began(Option<StopSignal>),
    /// It has ended, or could not be started.
    Ended(End),
    /// It was not started and never will be: what of could not start its session.
    /// Nothing where that was interrupted only, with the keeper before this one.
    NeverBegan { why: String, kind: Option<SeatKind> },
    /// Its seat was killed: what is left of it is nobody's any more.
    Abandoned,
    /// What has become of it is not known.
    Lost,
}

/// All jobs in sessions.
#[derive(Debug)]
pub(super) struct Seats {
    log_dir: PathBuf,
    open: BTreeMap<AttemptId, Seat>,
    /// Tells that something has changed among the files of the seats. Nothing
    /// where the system has none to give; then they are looked at by and by.
    notice: Option<OwnedFd>,
    /// Of jobs that are over: what is left to be cleared away once their ends are
    /// in the log.
    over: Vec<Files>,
    /// Where servers of tmux listen that are about to end, by the client that
    /// waits for that.
    sockets: BTreeMap<Pid, PathBuf>,
}

impl Seats {
    /// Finds the jobs that an earlier keeper started.
    pub(super) fn adopt(log_dir: &Path, boot_id: &str, ledger: &Ledger) -> (Self, Vec<KeeperRecord>) {
        let (mut open, mut over, mut begun) = (BTreeMap::new(), Vec::new(), Vec::new());
        let stems = files::stems(log_dir);
        for (attempt, kept) in ledger.iter().filter(|(_, kept)| kept.seat) {
            let files = Files::new(log_dir, attempt);
            if !files.are_among(&stems) {
                continue;
            }
            if !may_go_on(kept, boot_id, &files) {
                over.push(files);
                continue;
            }
            let occupant = files.occupant();
            if !files.is_open() && occupant.is_none() && files.end().is_none() {
                continue;
            }
            if let Some(Occupant { seat: Being { pid, start_time }, .. }) = occupant
                && kept.fate == Fate::Launching
            {
                begun.push(KeeperRecord::Running { attempt, pid, start_time });
            }
            open.insert(attempt, Seat { occupant, ..Seat::new(files, None, None) });
        }
        let log_dir = log_dir.to_owned();
        (Self { log_dir, open, notice: None, over, sockets: BTreeMap::new() }, begun)
    }

    /// Whether an attempt runs in a session.
    pub(super) fn has(&self, attempt: AttemptId) -> bool {
        self.open.contains_key(&attempt)
    }

    /// Whether no job runs in a session.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a job whose session was started this moment.
    pub(super) fn started(&mut self, attempt: AttemptId, leader: Pid, kind: SeatKind) {
        let seat = Seat::new(Files::new(&self.log_dir, attempt), Some(leader), Some(kind));
        self.open.insert(attempt, seat);
        // Each time anew: the directory may be another one since the last.
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let notice = self.notice.take().or_else(|| inotify::init(flags).ok());
        self.notice = notice.filter(|notice| {
            let dir = self.log_dir.join(files::DIR);
            inotify::add_watch(notice, dir, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR).is_ok()
        });
    }

    /// What held a session has ended.
    pub(super) fn leader_ended(&mut self, attempt: AttemptId) {
        if let Some(seat) = self.open.get_mut(&attempt) {
            seat.leader = None;
        }
    }

    /// A child has ended that nobody waits for: it may have been the last that
    /// held a session whose job is over.
    pub(super) fn child_ended(&mut self, pid: Pid) {
        if let Some(socket) = self.sockets.remove(&pid)
            && UnixStream::connect(&socket).is_err()
        {
            // tmux leaves it lying; it does no harm.
            let _ = fs::remove_file(socket);
        }
    }

    /// Descriptors that become readable when there is something to look at.
    pub(super) fn fds(&self) -> impl Iterator<Item = &OwnedFd> {
        self.notice.iter().chain(self.open.values().filter_map(|seat| seat.hold.as_ref()))
    }

    /// How many seats are held.
    pub(super) fn held(&self) -> usize {
        self.open.values().filter(|seat| seat.hold.is_some()).count()
    }

    /// Whether something has to be looked at that tells nothing by itself.
    pub(super) fn must_look(&self) -> bool {
        self.open.values().any(|seat| self.notice.is_none() || seat.hold.is_none() || seat.killed.is_some())
    }

    /// Looks at all of them; `room` is how many more may be held. What has ended
    /// stays here until it is [settled](Self::settle).
    pub(super) fn look(&mut self, mut room: usize) -> Vec<(AttemptId, Sight)> {
        if let Some(notice) = &self.notice {
            // What it says in detail does not matter.
            while rustix::io::read(notice, &mut [0; 4096]).is_ok_and(|count| count > 0) {}
        }
        let mut sights = Vec::new();
        for (attempt, seat) in &mut self.open {
            sights.extend(seat.look(&mut room).map(|sight| (*attempt, sight)));
        }
        sights
    }

    /// Gives a job up that is over, and tells which process led it and whether an
    /// earlier keeper started it. Its leader is to be forgotten, too.
    pub(super) fn settle(&mut self, attempt: AttemptId) -> Option<Over> {
        let Seat { files, leader, kind, occupant, .. } = self.open.remove(&attempt)?;
        self.over.push(files);
        let job = occupant.as_ref().and_then(|occupant| occupant.job).map(|job| job.pid);
        let socket = occupant.and_then(|occupant| occupant.socket);
        if let (Some(leader), Some(socket)) = (leader, socket) {
            self.sockets.insert(leader, PathBuf::from(socket.as_os_str()));
        }
        Some(Over { leader, job, adopted: kind.is_none() })
    }

    /// Clears away what is left of jobs that are over: for when that is in the log.
    pub(super) fn clear(&mut self) {
        // What can't be removed now is, before the name is used again.
        self.over.drain(..).for_each(|files| drop(files.clear()));
    }

    /// The process that leads the job of an attempt, and how it stands.
    pub(super) fn leader(&self, attempt: AttemptId) -> Option<(Pid, Lead)> {
        let job = self.job(attempt)?;
        Some((job.pid, if job.is_there() { Lead::Adopted } else { Lead::Ended }))
    }

    /// What holds the session of an attempt, while it is our child.
    pub(super) fn holder(&self, attempt: AttemptId) -> Option<Process> {
        Process::read(self.open.get(&attempt)?.leader?)
    }

    /// The process that leads the job of an attempt, once there is one.
    pub(super) fn job(&self, attempt: AttemptId) -> Option<Being> {
        self.open.get(&attempt)?.occupant.as_ref()?.job
    }

    /// A job is told to end. What is not started yet is not started any more,
    /// and `true` says so; what is just being started hears of it then.
    pub(super) fn stop(&mut self, attempt: AttemptId, signal: StopSignal) -> bool {
        let Some(seat) = self.open.get_mut(&attempt) else { return false };
        if seat.files.withdraw().unwrap_or(false) {
            return true;
        }
        if seat.occupant.as_ref().is_none_or(|occupant| occupant.job.is_none()) {
            seat.owed = Some(signal);
        }
        if signal == StopSignal::Kill {
            seat.killed.get_or_insert_with(Instant::now);
        }
        false
    }
}

/// What is left of a job in a session that is over.
pub(super) struct Over {
    pub(super) leader: Option<Pid>,
    pub(super) job: Option<Pid>,
    pub(super) adopted: bool,
}

/// Whether there may be news of an attempt. After a reboot only an end that was
/// written down before is.
fn may_go_on(kept: &Kept, boot_id: &str, files: &Files) -> bool {
    let open = matches!(kept.fate, Fate::Launching | Fate::Running { .. });
    open && (*kept.boot_id == *boot_id || files.end().is_some())
}

impl Seat {
    fn new(files: Files, leader: Option<Pid>, kind: Option<SeatKind>) -> Self {
        let (occupant, hold, owed, killed) = (None, None, None, None);
        Self { files, leader, kind, occupant, since: Instant::now(), hold, owed, killed }
    }

    fn look(&mut self, room: &mut usize) -> Option<Sight> {
        if let Some(end) = self.files.end() {
            // Who was there is needed to tell whom it left behind.
            self.occupant = self.files.occupant().or(self.occupant.take());
            return Some(Sight::Ended(end));
        }
        if self.files.is_open() {
            let in_vain = self.leader.is_none() || self.since.elapsed() > START_WITHIN;
            return if in_vain { self.withdraw() } else { None };
        }
        let had_begun = self.has_begun();
        self.occupant = self.files.occupant().or(self.occupant.take());
        let Some(seat) = self.occupant.as_ref().map(|occupant| occupant.seat) else {
            return self.leader.is_none().then_some(Sight::Lost);
        };
        if !seat.is_there() {
            // It may have written that down as its last deed since we looked.
            return Some(self.files.end().map_or(Sight::Abandoned, Sight::Ended));
        }
        self.hold(seat, room);
        self.press();
        (!had_begun && self.has_begun()).then(|| Sight::Began(self.owed.take()))
    }

    /// Nobody will come to take the order any more.
    fn withdraw(&self) -> Option<Sight> {
        // Where it fails or comes too late, the next look tells what is so.
        self.files.withdraw().unwrap_or(false).then(|| Sight::NeverBegan {
            why: self.files.last_words().unwrap_or_else(|| "it said nothing".to_owned()),
            kind: self.kind,
        })
    }

    fn has_begun(&self) -> bool {
        self.occupant.as_ref().is_some_and(|occupant| occupant.job.is_some())
    }

    fn hold(&mut self, seat: Being, room: &mut usize) {
        if self.hold.is_none() && *room > 0 {
            self.hold = proc::hold(seat.pid, seat.start_time).ok();
            *room -= usize::from(self.hold.is_some());
        }
    }

    /// A seat whose job was killed and that does not tell so is killed, too, and
    /// what holds its session.
    fn press(&self) {
        if self.killed.is_none_or(|killed| killed.elapsed() < TELL_WITHIN) {
            return;
        }
        let Some(Occupant { seat, host, .. }) = &self.occupant else { return };
        for process in host.iter().chain([seat]).filter_map(|being| being.find()) {
            Process::signal(&process, StopSignal::Kill);
        }
    }
}
