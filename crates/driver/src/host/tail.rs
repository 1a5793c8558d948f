//! The end of a job's log, for telling why it failed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use engine::queue::TAIL_BYTES;

/// The last [`TAIL_BYTES`] of what stands in a log from byte `from` on. What is
/// not UTF-8 is replaced; what can't be read is empty.
pub(super) fn read(log: &Path, from: u64) -> Box<str> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let start = from.max(file.metadata()?.len().saturating_sub(TAIL_BYTES));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[track_caller]
    fn check(content: &[u8], from: u64, expect: &str) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("job001_gpu0.log");
        fs::write(&log, content).unwrap();
        assert_eq!(&*read(&log, from), expect);
    }

    #[test]
    fn only_the_end_and_only_what_is_its_own() {
        check(b"first\nsecond\n", 6, "second\n");
        check(b"caf\xe9", 0, "caf\u{fffd}");
        check(b"short", 10, "");
        let long = [vec![b'a'; 100], vec![b'b'; 16 * 1024]].concat();
        check(&long, 0, &"b".repeat(16 * 1024));
        assert_eq!(&*read(Path::new("/nowhere"), 0), "");
    }
}
