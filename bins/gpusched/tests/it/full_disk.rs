//! Nothing can be written any more.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use e2e::{program, wait_until};

use crate::place::{Done, LONG, Place, Running, is_there};

const PATIENT: &str = "[vram=1G] echo 0 >> runs; until [ -e go ]; do sleep 0.05; done; exit 5\n";

const MANY: u32 = 30;

/// The patient job and many quick ones.
fn many() -> String {
    (1..=MANY).fold(PATIENT.to_owned(), |text, no| text + &format!("[vram=1G] echo {no} >> runs\n"))
}

/// The scheduler has ended for want of room, and says what is to be done.
#[track_caller]
fn check_full(done: &Done, words: &str) {
    done.exits(74);
    let last: Vec<&str> = done.err.lines().collect();
    assert!(last[0].starts_with("gpusched: cannot "), "{}", done.err);
    assert!(last[0].contains("gpusched_logs/") && last[0].ends_with(words), "{}", done.err);
    assert!(last[1].starts_with("hint: "), "{}", done.err);
}

/// With room again the same command goes on, and each body has run once.
#[track_caller]
fn check_goes_on(place: &Place, command: Command) {
    let last = place.start(command);
    last.wait_for("job 1 still runs from an earlier run");
    place.write("go", "");
    last.wait().exits(5).says("job 1 finished [EXIT 5]");
    let mut runs: Vec<u32> = place.read("runs").lines().map(|line| line.parse().unwrap()).collect();
    runs.sort_unstable();
    assert_eq!(runs, (0..=MANY).collect::<Vec<_>>());
}

fn begin(place: &Place, command: Command) -> Running {
    let running = place.start(command);
    wait_until("the job runs", LONG, || is_there(&place.path("runs")));
    running
}

#[test]
fn a_limit_on_the_size_of_files_ends_the_scheduler_in_good_order() {
    let place = Place::new(PATIENT);
    let first = begin(&place, place.queue(&[]));
    first.signal("KILL");
    first.wait();
    place.edit(&many());
    for _ in 0..2 {
        // The keeper that runs has no such limit.
        let mut limited = place.in_place(Command::new("/bin/sh"));
        let words = format!("ulimit -f 8; exec '{}' \"$@\"", env!("CARGO_BIN_EXE_gpusched"));
        limited.arg("-c").arg(words).arg("sh").args(place.queue(&[]).get_args());
        check_full(&place.start(limited).wait(), ": File too large");
        assert!(place.keeper().is_some() && !place.job_processes().is_empty(), "the job goes on");
    }
    check_goes_on(&place, place.queue(&[]));
}

/// A file system of 64 KiB, gone when this is.
struct Small(PathBuf);

impl Small {
    /// Nothing where there is no way to have one.
    fn mount(dir: PathBuf) -> Option<Self> {
        fs::create_dir(&dir).unwrap();
        let mut mount = Command::new(program("mount")?);
        let done = mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&dir).output().unwrap();
        done.status.success().then_some(Self(dir))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 64]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // At once, even where a keeper is about to end there.
        if let Some(mount) = program("mount") {
            let _ = Command::new(mount.with_file_name("umount")).arg("-l").arg(&self.0).status();
        }
    }
}

#[test]
fn a_full_disk_ends_the_scheduler_in_good_order() {
    let place = Place::new(PATIENT);
    let Some(disk) = Small::mount(place.path("disk")) else {
        eprintln!("SKIPPED: no way to mount a small file system (tests/run looks for mount; root may)");
        return;
    };
    let queue = || {
        let mut command = place.queue(&["--log-dir", "disk/gpusched_logs"]);
        command.env("GPUSCHED_SIM_DIR", place.path("sim"));
        command
    };
    let first = begin(&place, queue());
    disk.fill();
    place.edit(&many());
    check_full(&first.wait(), ": No space left on device");
    // Nor can another begin, and it says so too.
    place.start(queue()).wait().exits(74);
    fs::remove_file(place.path("disk/filler")).unwrap();
    check_goes_on(&place, queue());
    let board = place.read("disk/gpusched_logs/status.txt");
    assert!(board.contains(&format!("0 running, 0 pending, {} done", MANY + 1)), "{board}");
}
