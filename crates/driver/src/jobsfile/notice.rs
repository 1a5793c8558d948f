//! The kernel's word that something happened to a file: inotify on the
//! directory it lies in, because editors replace files as a whole.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What happened to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stir {
    /// Nothing that we were told of.
    Nothing,
    /// Something.
    Touched,
    /// A writer has closed it, or moved it to its place: it is complete.
    Complete,
}

/// Watches one file by the name it has in its directory.
#[derive(Debug)]
pub(crate) struct Notice {
    inotify: OwnedFd,
    watched: Option<(i32, CString)>,
    /// Whether everything in the directory counts.
    all: bool,
}

impl Notice {
    pub(crate) fn new() -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify, watched: None, all: false })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Watches the file that `path` leads to now. Where it leads nowhere, the
    /// place it led to before stays watched: it may come back.
    pub(crate) fn follow(&mut self, path: &Path) {
        let Ok(path) = path.canonicalize() else { return };
        self.follow_name(&path);
    }

    /// Watches everything in a directory.
    pub(crate) fn follow_all(&mut self, dir: &Path) {
        self.all = true;
        self.follow_name(&dir.join("any"));
    }

    /// Watches the file of this name, whether it is there or not.
    pub(crate) fn follow_name(&mut self, path: &Path) {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return };
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let Ok(name) = CString::new(name.as_bytes()) else { return };
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        // The same directory gives the same number. Without one, the look each
        // second finds out.
        let new = inotify::add_watch(&self.inotify, dir, flags).ok().map(|number| (number, name));
        let old = std::mem::replace(&mut self.watched, new);
        if let (Some((old, _)), Some((new, _))) = (&old, &self.watched)
            && old != new
        {
            // The directory itself may be gone, and its number with it.
            let _ = inotify::remove_watch(&self.inotify, *old);
        }
    }

    /// The most that happened since the last call.
    pub(crate) fn take(&mut self) -> Stir {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        let name = self.watched.as_ref().map(|(_, name)| name.as_c_str());
        let mut most = Stir::Nothing;
        while let Ok(event) = events.next() {
            let stir = match event.file_name() {
                Some(other) if !self.all && Some(other) != name => Stir::Nothing,
                Some(_) if event.events().intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) => {
                    Stir::Complete
                }
                // Without a name it is about the directory, or events were lost.
                Some(_) | None => Stir::Touched,
            };
            most = most.max(stir);
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, OpenOptions};
    use std::io::Write;
    use tempfile::tempdir;

    #[test]
    fn what_happens_to_a_file() {
        let dir = tempdir().unwrap();
        let (path, other) = (dir.path().join("jobs.txt"), dir.path().join("other"));
        fs::write(&path, "a").unwrap();
        let mut notice = Notice::new().unwrap();
        notice.follow(&path);
        assert_eq!(notice.take(), Stir::Nothing);
        fs::write(&other, "b").unwrap();
        assert_eq!(notice.take(), Stir::Nothing);
        fs::write(&path, "b").unwrap();
        assert_eq!(notice.take(), Stir::Complete);
        assert_eq!(notice.take(), Stir::Nothing);
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        writer.write_all(b"c").unwrap();
        assert_eq!(notice.take(), Stir::Nothing);
        drop(writer);
        assert_eq!(notice.take(), Stir::Complete);
        fs::remove_file(&path).unwrap();
        assert_eq!(notice.take(), Stir::Touched);
        let _open = File::create(&path).unwrap();
        assert_eq!(notice.take(), Stir::Touched);
        fs::rename(&other, &path).unwrap();
        assert_eq!(notice.take(), Stir::Complete);
    }

    #[test]
    fn a_link_is_followed_to_where_it_leads() {
        let (here, there, elsewhere) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
        let link = here.path().join("link");
        for dir in [&there, &elsewhere] {
            fs::write(dir.path().join("jobs.txt"), "a").unwrap();
        }
        std::os::unix::fs::symlink(there.path().join("jobs.txt"), &link).unwrap();
        let mut notice = Notice::new().unwrap();
        notice.follow(&link);
        fs::write(there.path().join("jobs.txt"), "b").unwrap();
        assert_eq!(notice.take(), Stir::Complete);
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("jobs.txt"), &link).unwrap();
        notice.follow(&link);
        notice.take();
        fs::write(there.path().join("jobs.txt"), "c").unwrap();
        assert_eq!(notice.take(), Stir::Nothing);
        fs::write(elsewhere.path().join("jobs.txt"), "c").unwrap();
        assert_eq!(notice.take(), Stir::Complete);
    }
}
