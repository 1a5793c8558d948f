//! Places at which a test has this process die, to show that nothing is lost
//! there. Without debug assertions all of it comes to nothing.
//!
//! `GPUSCHED_DIE_AT=before-launch:3` kills the process with SIGKILL when it
//! comes to that point for the third time; without a number, for the first. A
//! scheduler hands the variable on to its keeper, and that to its seats, so the
//! points of the three have different names. Where `GPUSCHED_DEATH_NOTE` names a file, the first to die
//! creates it, and while it is there nobody else does.

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place at which a process can be made to die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point),*];

            /// What it is called. Those of the keeper begin with `keeper-`, those of
            /// a seat with `seat-`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// The journal was opened and read, and nothing done yet.
    JournalOpened = "journal-opened",
    /// All attempts are about to be asked for.
    BeforeSurvey = "before-survey",
    /// They were told, and nothing follows yet.
    AfterSurvey = "after-survey",
    /// Records are about to be written.
    BeforePersist = "before-persist",
    /// Half of their bytes are written.
    HalfPersisted = "half-persisted",
    /// They are written, and their sync is not asked for.
    BeforeSync = "before-sync",
    /// They are written, and nothing that follows from them has happened.
    AfterPersist = "after-persist",
    /// They are on the disk, and nobody was told what waited for that.
    AfterSync = "after-sync",
    /// The keeper is about to be asked to start a job.
    BeforeLaunch = "before-launch",
    /// The keeper was asked.
    AfterLaunch = "after-launch",
    /// Something is about to be told.
    BeforeReport = "before-report",
    /// The board is about to be published.
    BeforeBoard = "before-board",
    /// The keeper has opened its log and does not listen yet.
    KeeperOpened = "keeper-opened",
    /// The keeper is about to write that it is about to start jobs.
    KeeperBeforeLaunching = "keeper-before-launching",
    /// Half of the bytes of a record of the keeper's are written.
    KeeperHalfWritten = "keeper-half-written",
    /// It has written that it is about to start jobs, and started none.
    KeeperAfterLaunching = "keeper-after-launching",
    /// A job was started, and that is not written.
    KeeperAfterSpawn = "keeper-after-spawn",
    /// That jobs were started is written, and nobody was told.
    KeeperAfterRunning = "keeper-after-running",
    /// A job has ended, and that is not written.
    KeeperBeforeEnded = "keeper-before-ended",
    /// How jobs have ended is written, and nobody was told.
    KeeperAfterEnded = "keeper-after-ended",
    /// A seat is about to take its order.
    SeatBeforeTaking = "seat-before-taking",
    /// It has taken it, and started nothing.
    SeatAfterTaking = "seat-after-taking",
    /// It has started its job, and that is not written.
    SeatAfterSpawn = "seat-after-spawn",
    /// Its job has ended, and that is not written.
    SeatBeforeEnded = "seat-before-ended",
    /// How its job ended is written, and it is still there.
    SeatAfterEnded = "seat-after-ended",
}

/// Dies here, if this is the time and the place.
#[inline]
pub fn pass(point: Point) {
    pass_with(point, || ());
}

/// Without debug assertions nobody dies anywhere.
#[cfg(not(debug_assertions))]
#[inline]
pub fn pass_with(_: Point, _: impl FnOnce()) {}

/// Does one last thing and dies here, if this is the time and the place.
#[cfg(debug_assertions)]
pub fn pass_with(point: Point, last: impl FnOnce()) {
    if fate::has_come(point) {
        last();
        // It does not return from this.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(debug_assertions)]
mod fate {
    use std::env;
    use std::ffi::OsString;
    use std::fs::File;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Point;

    /// Where this process is to die.
    #[derive(Debug)]
    struct Fate {
        at: String,
        /// How often it comes there, the last time included.
        times_left: AtomicU32,
        note: Option<OsString>,
    }

    static FATE: LazyLock<Option<Fate>> = LazyLock::new(|| {
        let order = env::var("GPUSCHED_DIE_AT").ok()?;
        let (at, times) = order.split_once(':').unwrap_or((&order, "1"));
        let times_left = AtomicU32::new(times.parse().ok()?);
        Some(Fate { at: at.to_owned(), times_left, note: env::var_os("GPUSCHED_DEATH_NOTE") })
    });

    /// Whether this is the time and the place.
    pub(super) fn has_come(point: Point) -> bool {
        let Some(fate) = FATE.as_ref().filter(|fate| fate.at == point.name()) else { return false };
        // Past the last time the number runs over; nobody comes by that often.
        fate.times_left.fetch_sub(1, Ordering::Relaxed) == 1
            && fate.note.as_ref().is_none_or(|note| File::create_new(note).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(names.iter().all(|name| !name.contains(':')));
    }

    #[test]
    fn nobody_dies_unasked() {
        for point in Point::ALL {
            pass(*point);
        }
    }
}
