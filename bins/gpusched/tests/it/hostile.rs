//! Jobs files that nobody would write on purpose.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::place::{Place, is_there};

/// The program refuses a jobs file with these words, and leaves no trace.
#[track_caller]
fn check_refused(place: &Place, words: &str) {
    let done = place.run(&[]);
    done.exits(2);
    assert!(done.err.starts_with(&format!("gpusched: {words}")), "{}", start_of(&done.err));
    assert!(done.err.len() < 4096, "{} bytes of complaint: {}", done.err.len(), start_of(&done.err));
    assert!(done.err.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", start_of(&done.err));
    assert_eq!(done.out, "");
    assert!(!is_there(&place.path("gpusched_logs")), "nothing was to be written");
}

fn start_of(text: &str) -> String {
    text.chars().take(2000).collect()
}

#[track_caller]
fn check(content: impl AsRef<[u8]>, words: &str) {
    let place = Place::new("");
    fs::write(place.path("jobs.txt"), content).unwrap();
    check_refused(&place, words);
}

#[test]
fn bytes_that_are_no_text() {
    const REMEDY: &str = "is not UTF-8; save the file as UTF-8, or convert it: iconv -f latin1 -t utf-8";
    check(b"echo a\necho caf\xe9\n", &format!("jobs file line 2, column 9: the byte 0xe9 {REMEDY}"));
    check(b"\xff\xfee\0c\0", &format!("jobs file line 1, column 1: the byte 0xff {REMEDY}"));
    check(
        b"echo a\necho \0b\n",
        "jobs file line 2: the command contains a NUL byte; remove it: it can't be passed to a shell\n",
    );
    check([0; 4096], "jobs file line 1: the command contains a NUL byte; remove it");
}

#[test]
fn lines_that_are_too_long() {
    const LENGTH: usize = 10_000_000;
    let long = "x".repeat(LENGTH);
    let why = format!("the command is too long: {LENGTH} bytes, and the system takes 131071");
    let remedy = "put it into a script and run that\n";
    check(format!("echo a\n{long}\necho b\n"), &format!("jobs file line 2: {why}; {remedy}"));
    check(&long, &format!("jobs file line 1: {why}; {remedy}"));
    check(format!("[{long}"), "jobs file line 1: unterminated '[...]' attribute block\n");
    check(format!("[{long}] echo"), "jobs file line 1: malformed attribute 'xxx");
    check(format!("[vram={long}] echo"), "jobs file line 1: cannot parse vram value 'xxx");
    check(format!("[gpus={}] echo", "9".repeat(LENGTH)), "jobs file line 1: gpus must be <= 65535, got 999");
    check(format!("[{}] echo", "x ".repeat(LENGTH / 2)), "jobs file line 1: malformed attribute 'x'");
}

#[test]
fn two_hundred_thousand_lines() {
    const LINES: usize = 200_000;
    let good = "[vram=1G] echo a\n".repeat(LINES);
    check(
        format!("{good}[gpus=0] echo b\n"),
        "jobs file line 200001: gpus must be positive, got '0'\n    [gpus=0] echo b\n     ^^^^^^\n",
    );
    let place = Place::new(&"[gpus=0] echo a\n".repeat(LINES));
    let done = place.run(&[]);
    let last = done.exits(2).err.lines().last().unwrap();
    assert_eq!(last, "gpusched: 199990 more errors in the jobs file");
    place.write("jobs.txt", &format!("{}echo a >> ran\n", "# nothing\n".repeat(LINES)));
    place.run(&[]).exits(0).says("all 1 jobs done — 1 ok");
    assert_eq!(place.read("ran"), "a\n");
}

#[test]
fn what_is_no_file() {
    let place = Place::new("");
    let sh = |words: &str| {
        let mut command = place.in_place(Command::new("/bin/sh"));
        assert!(command.arg("-c").arg(words).status().unwrap().success(), "{words}");
    };
    let refused = |what: &str| {
        check_refused(&place, &format!("cannot read jobs file: jobs.txt: {what}"));
    };
    sh("rm jobs.txt; mkfifo jobs.txt");
    refused("it is a pipe, not a regular file");
    sh("rm jobs.txt; mkdir jobs.txt");
    refused("it is a directory, not a regular file");
    sh("rmdir jobs.txt; ln -s /dev/zero jobs.txt");
    refused("it is a device, not a regular file");
    sh("ln -sf jobs.txt jobs.txt");
    refused("Too many levels of symbolic links");
    sh("ln -sf nowhere jobs.txt");
    refused("No such file or directory");
    // A regular file by its looks; reading from its start is an error.
    sh("ln -sf /proc/self/mem jobs.txt");
    refused("Input/output error");
    sh("rm jobs.txt");
    File::create(place.path("jobs.txt")).unwrap().set_len(5 << 30).unwrap();
    refused("it is larger than 256 MiB");
}

#[test]
fn a_file_that_may_not_be_read() {
    const NOBODY: u32 = 65_534;
    let place = Place::new("echo a\n");
    fs::set_permissions(place.path("jobs.txt"), Permissions::from_mode(0o000)).unwrap();
    let mut command = place.queue(&[]);
    if File::open(place.path("jobs.txt")).is_ok() {
        // Root may read everything, so somebody else must try, who may not look
        // into the directory where the program was built.
        let program = place.path("gpusched");
        let copy = format!("cp '{}' '{}'", env!("CARGO_BIN_EXE_gpusched"), program.display());
        assert!(Command::new("/bin/sh").arg("-c").arg(copy).status().unwrap().success());
        chown(place.path("jobs.txt"), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
        let flags: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = place.in_place(Command::new(program));
        command.args(flags).uid(NOBODY).gid(NOBODY);
    }
    let done = place.start(command).wait();
    done.exits(2);
    assert!(
        done.err.starts_with("gpusched: cannot read jobs file: jobs.txt: Permission denied"),
        "{}",
        done.err
    );
}
