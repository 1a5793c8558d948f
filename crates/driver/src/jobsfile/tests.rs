//! The watch, with a clock that the tests move.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;

use tempfile::{TempDir, tempdir};

use super::*;

/// A watched file whose looks happen at moments that the tests choose.
struct Desk {
    dir: TempDir,
    path: PathBuf,
    watch: Watch,
    now: Instant,
}

impl Desk {
    fn with(text: &str) -> Self {
        let dir = tempdir().unwrap();
        let path = dir.path().join("jobs.txt");
        fs::write(&path, text).unwrap();
        let mut watch = Watch::new(&path, None).unwrap();
        watch.first().unwrap();
        let now = watch.looked;
        Self { dir, path, watch, now }
    }

    /// The same on a file system that tells us nothing.
    fn on_nfs(text: &str) -> Self {
        let mut desk = Self::with(text);
        desk.watch.notice = None;
        desk
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.path, text).unwrap();
    }

    fn appender(&self) -> File {
        OpenOptions::new().append(true).open(&self.path).unwrap()
    }

    /// What a look says after so many seconds of looks: the commands, joined by
    /// `;`, or the error.
    fn after(&mut self, seconds: u64) -> Option<String> {
        let end = self.now + Duration::from_secs(seconds);
        let mut said = None;
        loop {
            if let Some(news) = self.watch.look(self.now) {
                assert_eq!(said, None, "two events");
                said = Some(news.map_or_else(|why| why.0, |file| commands(&file)));
            }
            if self.now == end {
                return said;
            }
            self.now = end.min(self.watch.next_look().max(self.now));
        }
    }

    fn expect(&mut self, seconds: u64, expect: Option<&str>) {
        assert_eq!(self.after(seconds).as_deref(), expect, "within {seconds} s");
    }
}

fn commands(file: &JobsFile) -> String {
    (0..file.len()).map(|i| file.command(i)).collect::<Vec<_>>().join(";")
}

#[test]
fn an_append_is_seen_at_once() {
    let mut desk = Desk::with("a\n");
    desk.expect(2, None);
    desk.appender().write_all(b"b\n").unwrap();
    desk.expect(0, Some("a;b"));
    desk.expect(10, None);
}

#[test]
fn a_file_that_is_renamed_into_place_is_seen_at_once() {
    let mut desk = Desk::with("a\n");
    for text in ["b", "c"] {
        let new = desk.dir.path().join("jobs.txt.swp");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &desk.path).unwrap();
        desk.expect(0, Some(text));
    }
}

#[test]
fn the_same_content_again_is_no_news() {
    let mut desk = Desk::with("a\n");
    desk.write("a\n");
    desk.expect(3, None);
    let mut desk = Desk::on_nfs("a\n");
    desk.write("a\n");
    desk.expect(3, None);
}

#[test]
fn without_notice_a_change_is_believed_when_it_stands_still() {
    let mut desk = Desk::on_nfs("a\n");
    desk.write("a\nb\n");
    desk.expect(1, None);
    desk.expect(1, Some("a;b"));
    for line in ["c\n", "d\n", "e\n"] {
        desk.appender().write_all(line.as_bytes()).unwrap();
        desk.expect(1, None);
    }
    desk.expect(1, Some("a;b;c;d;e"));
}

#[test]
fn half_a_line_of_an_open_writer_is_not_believed() {
    let mut desk = Desk::with("a\n");
    let mut writer = desk.appender();
    writer.write_all(b"rm -r dir").unwrap();
    desk.expect(4, None);
    writer.write_all(b"/sub\n").unwrap();
    desk.expect(1, None);
    desk.expect(1, Some("a;rm -r dir/sub"));
    writer.write_all(b"b").unwrap();
    desk.expect(1, None);
    drop(writer);
    desk.expect(0, Some("a;rm -r dir/sub;b"));
}

#[test]
fn a_last_line_without_an_end_is_believed_at_last() {
    let mut desk = Desk::on_nfs("a\n");
    desk.write("a\nb");
    desk.expect(5, None);
    desk.expect(1, Some("a;b"));
}

#[test]
fn an_editor_that_truncates_before_it_writes() {
    let mut desk = Desk::with("a\nb\n");
    desk.write("");
    desk.expect(4, None);
    desk.write("a\nb\nc\n");
    desk.expect(0, Some("a;b;c"));
    desk.write("");
    desk.expect(2, None);
    desk.write("# all done\n");
    desk.expect(2, None);
    desk.expect(1, Some(""));
    desk.expect(10, None);
}

#[test]
fn an_emptied_file_that_comes_back_as_it_was_is_no_news() {
    let mut desk = Desk::with("a\n");
    desk.write("");
    desk.expect(3, None);
    desk.write("a\n");
    desk.expect(3, None);
    desk.write("");
    desk.expect(4, None);
    desk.expect(1, Some(""));
}

#[test]
fn a_file_that_vanishes() {
    let mut desk = Desk::with("a\n");
    fs::remove_file(&desk.path).unwrap();
    desk.expect(4, None);
    let gone = format!("cannot read {}: No such file or directory", desk.path.display());
    desk.expect(1, Some(&gone));
    desk.expect(10, None);
    drop(File::create(&desk.path).unwrap());
    desk.expect(4, None);
    desk.write("a\n");
    desk.expect(0, Some("a"));
    fs::rename(&desk.path, desk.dir.path().join("jobs.txt~")).unwrap();
    desk.expect(0, None);
    desk.write("b\n");
    desk.expect(0, Some("b"));
}

#[test]
fn what_can_not_be_used_is_told_once_until_it_is_good_again() {
    let mut desk = Desk::with("a\n");
    desk.write("a\n[gpus=0] b\n");
    let told = desk.after(0).unwrap();
    assert!(told.starts_with("line 2: "), "{told}");
    desk.expect(3, None);
    desk.write("a\n[gpus=0] c\n");
    desk.expect(3, None);
    desk.write(b"a\nb\xe9\n");
    let told = desk.after(0).unwrap();
    assert!(told.starts_with("line 2, column 2: the byte 0xe9 is not UTF-8"), "{told}");
    desk.write("a\n");
    desk.expect(0, Some("a"));
}

#[test]
fn a_directory_or_a_pipe_in_its_place_is_told_and_never_waited_for() {
    let mut desk = Desk::with("a\n");
    for what in ["a directory", "a pipe"] {
        let other = desk.dir.path().join("other");
        match what {
            "a pipe" => nix::unistd::mkfifo(&other, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(&other).unwrap(),
        }
        fs::remove_file(&desk.path).unwrap();
        fs::rename(&other, &desk.path).unwrap();
        let expect = format!("cannot read {}: it is {what}, not a regular file", desk.path.display());
        desk.expect(0, Some(&expect));
        desk.expect(3, None);
        fs::rename(&desk.path, &other).unwrap();
        desk.write("a\n");
        desk.expect(0, Some("a"));
        fs::remove_file(&other).or_else(|_| fs::remove_dir(&other)).unwrap();
    }
}

#[test]
fn a_link_is_followed_and_may_be_turned() {
    let mut desk = Desk::with("a\n");
    let real = tempdir().unwrap();
    let (one, two) = (real.path().join("one"), real.path().join("two"));
    fs::write(&one, "one\n").unwrap();
    fs::write(&two, "two\n").unwrap();
    fs::remove_file(&desk.path).unwrap();
    symlink(&one, &desk.path).unwrap();
    desk.expect(2, Some("one"));
    fs::write(&one, "one\nmore\n").unwrap();
    desk.expect(0, Some("one;more"));
    fs::remove_file(&desk.path).unwrap();
    symlink(&two, &desk.path).unwrap();
    desk.expect(2, Some("two"));
}

#[test]
fn a_file_that_takes_long_to_read_is_given_a_rest() {
    let mut desk = Desk::with("a\n");
    desk.watch.resting_until = desk.now + Duration::from_secs(3);
    desk.write("b\n");
    desk.expect(2, None);
    desk.expect(1, Some("b"));
}

#[test]
fn at_the_start_there_is_no_patience() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("jobs.txt");
    let missing = Watch::new(&path, None).unwrap_err().to_string();
    assert_eq!(missing, format!("cannot read {}: No such file or directory", path.display()));
    fs::write(&path, "").unwrap();
    assert_eq!(Watch::new(&path, None).unwrap().first().unwrap().len(), 0);
    let directory = Watch::new(dir.path(), None).unwrap().first().unwrap_err();
    assert!(directory.to_string().ends_with("it is a directory, not a regular file"));
    fs::write(&path, "a\n[x\n").unwrap();
    let bad = Watch::new(&path, None).unwrap().first().unwrap_err();
    assert!(matches!(bad, JobsFileError::Syntax { errors, .. } if errors.len() == 1));
}
