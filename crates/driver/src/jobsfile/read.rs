//! Reading the jobs file whole, and saying what is wrong with it.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobspec::{Format, JobsFile, SyntaxError, parse_jobs_file_as};
use rustix::fs::{Mode, OFlags};

use crate::medium::PathError;

/// The largest jobs file, in bytes: more than anybody writes, and less than would
/// fill the memory of the machine.
const LARGEST: u64 = 256 << 20;

/// The jobs file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JobsFileError {
    /// It can't be read.
    #[error(transparent)]
    File(#[from] PathError),
    /// It is something that can't be read again and again.
    #[error("cannot read {}: it is {what}, not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It has more than 256 MiB.
    #[error("cannot read {}: it is larger than 256 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no text in UTF-8.
    #[error(
        "line {line}, column {column}: the byte 0x{byte:02x} is not UTF-8; save the file as UTF-8, \
         or convert it: iconv -f latin1 -t utf-8"
    )]
    NotUtf8 {
        /// The line of the first bad byte, from 1.
        line: usize,
        /// The characters before it in its line, plus 1.
        column: usize,
        /// That byte.
        byte: u8,
    },
    /// Lines of it are no jobs. The text tells the first error.
    #[error("{}", first_of(errors))]
    Syntax {
        /// The whole file.
        text: Arc<str>,
        /// All errors, in file order; at least one.
        errors: Vec<SyntaxError>,
    },
}

impl JobsFileError {
    /// Whether there is no such file.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::File(error) if error.source.kind() == io::ErrorKind::NotFound)
    }
}

fn first_of(errors: &[SyntaxError]) -> String {
    match errors {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The state of the file.
pub(super) fn stamp(path: &Path) -> Result<Stamp, JobsFileError> {
    let metadata = path.metadata().map_err(PathError::of("read", path))?;
    check(path, &metadata)?;
    Ok(Stamp::from(&metadata))
}

/// The content of the file.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Its state before it was read.
    pub(super) stamp: Stamp,
    /// Its state after it was read, so that it shows whether somebody wrote.
    pub(super) after: Stamp,
}

/// Reads the whole file, but nothing that is no regular file: a pipe would be
/// waited for, and a device may do something on being opened.
pub(super) fn read(path: &Path) -> Result<Content, JobsFileError> {
    stamp(path)?;
    let failed = |error| PathError::of("read", path)(error);
    // It may have become a pipe in between: opening one must not wait either.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?);
    let before = file.metadata().map_err(failed)?;
    check(path, &before)?;
    let mut bytes = Vec::new();
    bytes.reserve_exact(usize::try_from(before.size()).unwrap_or_default());
    (&file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    let after = file.metadata().map_err(failed)?;
    check(path, &after)?;
    Ok(Content { bytes, stamp: Stamp::from(&before), after: Stamp::from(&after) })
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), JobsFileError> {
    if !metadata.is_file() {
        return Err(JobsFileError::NotRegular { path: path.to_owned(), what: kind(metadata.file_type()) });
    }
    if metadata.size() > LARGEST {
        return Err(JobsFileError::TooLarge { path: path.to_owned() });
    }
    Ok(())
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// The jobs in the file, which has this format, or where none is given, the one
/// that its first job looks like.
pub(super) fn parse(bytes: Vec<u8>, format: Option<Format>) -> Result<JobsFile, JobsFileError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        not_utf8(error.as_bytes(), at)
    })?;
    let (file, errors) = parse_jobs_file_as(text, format);
    if errors.is_empty() {
        Ok(file)
    } else {
        Err(JobsFileError::Syntax { text: Arc::clone(file.text()), errors })
    }
}

fn not_utf8(bytes: &[u8], at: usize) -> JobsFileError {
    let (good, bad) = bytes.split_at(at);
    let good = String::from_utf8_lossy(good);
    let line_start = good.rfind('\n').map_or(0, |newline| newline + 1);
    JobsFileError::NotUtf8 {
        line: good.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: good[line_start..].chars().count() + 1,
        byte: bad.first().copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::tempdir;

    fn check(bytes: &[u8], expect: Result<usize, &str>) {
        let got = parse(bytes.to_vec(), None).map(|file| file.len()).map_err(|error| error.to_string());
        assert_eq!(got.as_ref().map_err(String::as_str), expect.as_ref().map_err(|text| *text), "{bytes:?}");
    }

    #[test]
    fn what_is_wrong_with_a_text() {
        const REMEDY: &str = "is not UTF-8; save the file as UTF-8, or convert it: iconv -f latin1 -t utf-8";
        check(b"echo 1\n# remark\n\necho 2", Ok(2));
        check("echo é\n".as_bytes(), Ok(1));
        check(b"echo \xe9\n", Err(&format!("line 1, column 6: the byte 0xe9 {REMEDY}")));
        check(b"a\n\xc3\xa9t\xe9\n", Err(&format!("line 2, column 3: the byte 0xe9 {REMEDY}")));
        check(b"a\n\xc3", Err(&format!("line 2, column 1: the byte 0xc3 {REMEDY}")));
        check(b"0,a.py\n1,b.py,,--x 1,2\n", Ok(2));
        let error = "line 1, column 1: priority must be an integer, got 'echo 1'; a line is \
                     priority,script,conda,arguments,allowed_gpus, such as 0,train.py,,--lr 0.1,0-3";
        assert_eq!(parse(b"echo 1".to_vec(), Some(Format::Csv)).unwrap_err().to_string(), error);
        assert_eq!(parse(b"0,a.py".to_vec(), Some(Format::Lines)).unwrap().command(0), "0,a.py");
        let bad = parse(b"a\n[gpus=0] b\n[vram=x] c\n".to_vec(), None).unwrap_err();
        let text = bad.to_string();
        assert!(text.starts_with("line 2: ") && text.ends_with(" (and 1 more)"), "{text}");
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, what) in
            [(dir.path(), "a directory"), (&pipe, "a pipe"), (Path::new("/dev/zero"), "a device")]
        {
            let error = read(path).err().unwrap().to_string();
            assert_eq!(error, format!("cannot read {}: it is {what}, not a regular file", path.display()));
        }
        let missing = read(&dir.path().join("missing")).err().unwrap();
        assert!(missing.is_absence());
        let large = dir.path().join("large");
        fs::File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read(&large).err().unwrap().to_string().ends_with("it is larger than 256 MiB"));
    }
}
