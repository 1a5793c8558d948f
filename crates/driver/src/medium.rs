//! Files that must survive: the journal's medium, and views that are replaced
//! as a whole.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use journal::{Medium, MediumError};

use crate::point::{self, Point};

/// Something could not be done with a file. The text names both and ends in the
/// system's own words; so the cause is not told a second time as a source.
#[derive(Debug)]
pub struct PathError {
    /// The verb, such as `read`.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.path.display(), words(&self.source))
    }
}

impl Error for PathError {}

impl PathError {
    /// For `map_err`: what was being done with `path`.
    pub(crate) fn of(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { doing, path: path.to_owned(), source }
    }
}

/// The system's words without the number that Rust appends.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// An append-only file with mode 0600.
#[derive(Debug)]
pub struct FileMedium {
    path: PathBuf,
    file: File,
}

impl FileMedium {
    /// Opens the file, or makes an empty one and sees to it that its name
    /// survives a reboot.
    ///
    /// # Errors
    /// When it can be neither opened nor made, or is no regular file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PathError> {
        let path = path.into();
        let mut options = OpenOptions::new();
        options.read(true).append(true).mode(0o600);
        let file = match options.clone().create_new(true).open(&path) {
            Ok(file) => {
                sync_directory_of(&path).map_err(PathError::of("create", &path))?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.open(&path).map_err(PathError::of("open", &path))?
            }
            Err(error) => return Err(PathError::of("create", &path)(error)),
        };
        if !file.metadata().map_err(PathError::of("open", &path))?.is_file() {
            return Err(PathError::of("use", &path)(io::Error::other("it is not a regular file")));
        }
        Ok(Self { path, file })
    }

    /// The same open file, for another thread to sync. It stays with the present
    /// content: take it after the last [`Medium::replace`].
    ///
    /// # Errors
    /// When the system gives no more descriptors.
    pub fn handle(&self) -> Result<File, PathError> {
        self.file.try_clone().map_err(PathError::of("open", &self.path))
    }

    /// The point at which a test has the process die while it writes.
    fn pass_half_way(&self, bytes: &[u8]) {
        if cfg!(debug_assertions) {
            let is_keepers = self.path.ends_with(crate::keeper::LOG);
            let point = if is_keepers { Point::KeeperHalfWritten } else { Point::HalfPersisted };
            point::pass_with(point, || {
                let _ = (&self.file).write_all(&bytes[..bytes.len() / 2]);
            });
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> MediumError {
        let path = self.path.clone();
        move |source| MediumError(PathError { doing, path, source }.to_string())
    }

    /// Writes the new content beside the file and puts it in its place; the old
    /// content stays as `NAME.1`. At every moment one of the two has the name.
    fn replaced(&self, all: &[u8]) -> io::Result<File> {
        let (new, old) = (beside(&self.path, ".new"), beside(&self.path, ".1"));
        remove(&new)?;
        let mut file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(all)?;
        file.sync_all()?;
        remove(&old)?;
        // Some file systems know no hard links.
        fs::hard_link(&self.path, &old).or_else(|_| fs::copy(&self.path, &old).map(drop))?;
        fs::rename(&new, &self.path)?;
        sync_directory_of(&self.path)?;
        Ok(file)
    }
}

impl Medium for FileMedium {
    fn read(&mut self) -> Result<Vec<u8>, MediumError> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(self.failed("read"))?;
        Ok(bytes)
    }

    fn len(&mut self) -> Result<u64, MediumError> {
        Ok(self.file.metadata().map_err(self.failed("measure"))?.len())
    }

    fn truncate(&mut self, to: u64) -> Result<(), MediumError> {
        self.file.set_len(to).map_err(self.failed("truncate"))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), MediumError> {
        self.pass_half_way(bytes);
        self.file.write_all(bytes).map_err(self.failed("write to"))
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn replace(&mut self, all: &[u8]) -> Result<(), MediumError> {
        self.file = self.replaced(all).map_err(self.failed("replace"))?;
        Ok(())
    }
}

/// Replaces the whole file at once, so that nobody reads half of it. For views
/// that are made anew all the time: it is not synced.
///
/// # Errors
/// When it could not be written; the old content then stays.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let new = beside(path, ".tmp");
    let replace = || {
        fs::write(&new, bytes)?;
        // Who may write it still may, where the file system knows of such things.
        let _ = fs::metadata(path).and_then(|old| fs::set_permissions(&new, old.permissions()));
        fs::rename(&new, path)
    };
    replace().map_err(|error| {
        let _ = remove(&new);
        PathError::of("write", path)(error)
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn what_is_appended_is_read_again() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut medium = FileMedium::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(medium.read().unwrap(), b"");
        medium.append(b"one\n").unwrap();
        medium.append(b"two\n").unwrap();
        medium.sync().unwrap();
        assert_eq!((medium.len().unwrap(), medium.read().unwrap()), (8, b"one\ntwo\n".to_vec()));
        medium.truncate(4).unwrap();
        medium.append(b"three\n").unwrap();
        drop(medium);
        assert_eq!(FileMedium::open(&path).unwrap().read().unwrap(), b"one\nthree\n");
    }

    #[test]
    fn a_replaced_file_keeps_its_old_content_beside_it() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let mut medium = FileMedium::open(&path).unwrap();
        fs::write(dir.path().join("journal.jsonl.new"), "left by a crash").unwrap();
        for (old, new) in [("", "first"), ("first+", "second"), ("second+", "third")] {
            medium.replace(new.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("journal.jsonl.1")).unwrap(), old);
            medium.append(b"+").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{new}+"));
        }
        assert!(!dir.path().join("journal.jsonl.new").exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_handle_syncs_the_same_file() {
        let dir = tempdir().unwrap();
        let mut medium = FileMedium::open(dir.path().join("journal.jsonl")).unwrap();
        medium.append(b"one\n").unwrap();
        let handle = medium.handle().unwrap();
        handle.sync_data().unwrap();
        assert_eq!(handle.metadata().unwrap().len(), 4);
    }

    #[test]
    fn errors_name_the_path_and_the_verb() {
        let dir = tempdir().unwrap();
        let missing = dir.path().join("missing/journal.jsonl");
        let error = FileMedium::open(&missing).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot create {}: No such file or directory", missing.display())
        );
        let error = FileMedium::open("/dev/null").unwrap_err();
        assert_eq!(error.to_string(), "cannot use /dev/null: it is not a regular file");
    }

    #[test]
    fn a_view_is_replaced_whole_or_not_at_all() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("status.txt");
        atomic_write(&path, b"one").unwrap();
        atomic_write(&path, b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        atomic_write(&path, b"three").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o664);
        let blocked = dir.path().join("directory");
        fs::create_dir(&blocked).unwrap();
        assert!(atomic_write(&blocked, b"four").is_err());
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
