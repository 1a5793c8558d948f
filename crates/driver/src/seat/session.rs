//! How screen and tmux are started, and how their sessions are called.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use model::AttemptId;
use rustix::process::getuid;

use crate::medium::PathError;
use crate::seat::SeatKind;
use crate::seat::files::DIR;

/// What a terminal says of itself, and what screen and tmux say of themselves:
/// not true any more in a session of its own.
pub(crate) const OF_TERMINALS: [&str; 8] =
    ["TERM", "TERMCAP", "COLUMNS", "LINES", "STY", "WINDOW", "TMUX", "TMUX_PANE"];

/// What screen is to do, and not what its user or the system has set: no log
/// beside ours, no window that stays, nobody whose slow terminal holds it up, no
/// line in the system's list of logins.
const SCREENRC: &str = "\
startup_message off
deflog off
deflogin off
defutf8 on
defscrollback 50000
defnonblock on
defflow off
autodetach on
altscreen on
vbell off
zombie
";

/// The same for tmux, which ends with the only session it has.
const TMUX_CONF: &str = "\
set -g exit-empty on
set -g exit-unattached off
set -g destroy-unattached off
set -g remain-on-exit off
set -g history-limit 50000
set -g default-terminal screen-256color
";

/// What tmux's client waits for: nobody ever says it, so it waits until the
/// server ends.
const NEVER: &str = "gpusched-never";

/// The command that shows a session.
pub(crate) fn attach_command(kind: SeatKind, session: &str) -> String {
    match kind {
        SeatKind::Screen => format!("screen -r {session}"),
        SeatKind::Tmux => format!("tmux -L {session} attach"),
    }
}

/// Writes the settings of screen and tmux.
pub(crate) fn write_settings(log_dir: &Path) -> Result<(), PathError> {
    for (kind, text) in [(SeatKind::Screen, SCREENRC), (SeatKind::Tmux, TMUX_CONF)] {
        let path = settings(log_dir, kind);
        if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        fs::write(&path, text).map_err(PathError::of("write", &path))?;
    }
    Ok(())
}

fn settings(log_dir: &Path, kind: SeatKind) -> PathBuf {
    log_dir.join(DIR).join(match kind {
        SeatKind::Screen => "screenrc",
        SeatKind::Tmux => "tmux.conf",
    })
}

/// A session to start, and what to start in it.
pub(crate) struct Session<'a> {
    pub(crate) kind: SeatKind,
    /// Where its program lies.
    pub(crate) program: &'a Path,
    pub(crate) name: &'a str,
    /// This program, which will be the seat.
    pub(crate) seat: &'a Path,
    pub(crate) log_dir: &'a Path,
    pub(crate) attempt: AttemptId,
}

impl Session<'_> {
    /// The words that start it, detached. What they start lives as long as the
    /// session: screen itself, and of tmux a client that waits for its server.
    pub(crate) fn words(&self) -> Result<Vec<CString>, NulError> {
        let settings = settings(self.log_dir, self.kind);
        let attempt = self.attempt.to_string();
        let seat = [self.seat.as_os_str(), "__seat".as_ref(), self.log_dir.as_os_str(), attempt.as_ref()];
        let mut words: Vec<OsString> = vec![self.program.into()];
        match self.kind {
            SeatKind::Screen => {
                words.extend(["-D", "-m", "-S", self.name, "-c"].map(OsString::from));
                words.push(settings.into());
                words.extend(seat.map(OsString::from));
            }
            SeatKind::Tmux => {
                words.extend(["-L", self.name, "-f"].map(OsString::from));
                words.push(settings.into());
                words.extend(["new-session", "-d", "-s", self.name].map(OsString::from));
                words.extend(seat.map(no_separator));
                words.extend([";", "wait-for", NEVER].map(OsString::from));
            }
        }
        words.iter().map(|word| CString::new(word.as_bytes())).collect()
    }
}

/// A word that tmux does not take for the end of a command.
fn no_separator(word: &OsStr) -> OsString {
    match word.as_bytes().strip_suffix(b";") {
        Some(rest) => OsStr::from_bytes(&[rest, b"\\;"].concat()).to_owned(),
        None => word.to_owned(),
    }
}

/// A name that no living session has: `wanted`, or `wanted_2` and so on.
/// `variables` are those of whoever will look for it.
pub(crate) fn free_name(kind: SeatKind, wanted: &str, variables: &BTreeMap<OsString, OsString>) -> String {
    let screens = match kind {
        SeatKind::Screen => screen_dirs(variables).iter().flat_map(|dir| sessions(dir)).collect(),
        SeatKind::Tmux => Vec::new(),
    };
    let is_free = |name: &String| match kind {
        SeatKind::Screen => !screens.contains(name),
        // tmux leaves its sockets lying, so their names alone say nothing.
        SeatKind::Tmux => UnixStream::connect(tmux_dir(variables).join(name)).is_err(),
    };
    let others = (2_u32..).map(|n| format!("{wanted}_{n}"));
    let mut all = std::iter::once(wanted.to_owned()).chain(others);
    all.find(is_free).unwrap_or_else(|| wanted.to_owned())
}

/// The names of the sessions of screen whose sockets lie in a directory, as
/// `1234.name`.
fn sessions(dir: &Path) -> Vec<String> {
    let sockets = fs::read_dir(dir).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| Some(entry.file_name().to_str()?.split_once('.')?.1.to_owned());
    sockets.filter_map(name).collect()
}

/// Where screen may keep this user's sockets: that was decided when it was built.
fn screen_dirs(variables: &BTreeMap<OsString, OsString>) -> Vec<PathBuf> {
    let own = variables.get(OsStr::new("SCREENDIR")).map(PathBuf::from);
    let home = variables.get(OsStr::new("HOME")).map(|home| Path::new(home).join(".screen"));
    let shared = ["/run/screen", "/tmp/screens", "/tmp/uscreens"].into_iter().flat_map(|dir| {
        let dirs = fs::read_dir(dir).into_iter().flatten().flatten();
        dirs.filter(|entry| entry.metadata().is_ok_and(|dir| dir.uid() == getuid().as_raw()))
            .map(|entry| entry.path())
    });
    own.into_iter().chain(home).chain(shared).collect()
}

fn tmux_dir(variables: &BTreeMap<OsString, OsString>) -> PathBuf {
    let dir = variables.get(OsStr::new("TMUX_TMPDIR")).filter(|dir| !dir.is_empty());
    Path::new(dir.map_or(OsStr::new("/tmp"), OsString::as_os_str)).join(format!("tmux-{}", getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[track_caller]
    fn check(kind: SeatKind, expect: &[&str]) {
        let session = Session {
            kind,
            program: Path::new("/usr/bin/x"),
            name: "gpujob_0_train_4",
            seat: Path::new("/opt/gpusched"),
            log_dir: Path::new("/logs;"),
            attempt: "3f9a1c20b7de#0/2".parse().unwrap(),
        };
        let words = session.words().unwrap();
        assert_eq!(words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_words_that_start_a_session() {
        let name = "gpujob_0_train_4";
        let attempt = "3f9a1c20b7de#0/2";
        let before = ["/usr/bin/x", "-D", "-m", "-S", name, "-c", "/logs;/seats/screenrc"];
        check(SeatKind::Screen, &[&before[..], &["/opt/gpusched", "__seat", "/logs;", attempt]].concat());
        let before =
            ["/usr/bin/x", "-L", name, "-f", "/logs;/seats/tmux.conf", "new-session", "-d", "-s", name];
        let seat = ["/opt/gpusched", "__seat", "/logs\\;", attempt];
        check(SeatKind::Tmux, &[&before[..], &seat, &[";", "wait-for", NEVER]].concat());
    }

    #[test]
    fn a_name_that_is_taken_by_the_living_gets_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let variable = |name: &str| BTreeMap::from([(name.into(), dir.path().into())]);
        fs::write(dir.path().join("123.a"), "").unwrap();
        fs::write(dir.path().join("124.a_2"), "").unwrap();
        fs::write(dir.path().join("125.abc"), "").unwrap();
        assert_eq!(free_name(SeatKind::Screen, "a", &variable("SCREENDIR")), "a_3");
        assert_eq!(free_name(SeatKind::Screen, "ab", &variable("SCREENDIR")), "ab");
        let variables = variable("TMUX_TMPDIR");
        fs::create_dir(tmux_dir(&variables)).unwrap();
        let _server = UnixListener::bind(tmux_dir(&variables).join("a")).unwrap();
        drop(UnixListener::bind(tmux_dir(&variables).join("b")).unwrap());
        assert_eq!(free_name(SeatKind::Tmux, "a", &variables), "a_2");
        assert_eq!(free_name(SeatKind::Tmux, "b", &variables), "b");
    }
}
