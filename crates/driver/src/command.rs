//! Runs outside programs for their output, bounded in time and size.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use backend::{CommandError, CommandOutput, MOST_OUTPUT, Runner, Surroundings};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use crate::medium::words;

/// How often a program whose output is silent is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// How long the output may stay open after the program has ended: something it
/// started then holds the other end, and may for ever.
const LINGER: Duration = Duration::from_millis(300);

/// How long a killed program may take to go. One that hangs in a driver goes
/// when the driver lets it.
const DYING: Duration = Duration::from_millis(700);

/// Runs programs as processes of this machine.
///
/// Each runs in a process group of its own, with empty input; when its time is
/// up, the whole group is killed. Of each stream 16 MiB are
/// kept. A call takes at most a second longer than its timeout, even when a
/// process the program started keeps the output open.
///
/// A program that can't even be killed (it hangs in a driver) is not piled up:
/// until it is gone, running it again fails at once.
#[derive(Debug, Default)]
pub struct Commands {
    unkillable: Vec<(String, Child)>,
}

impl Runner for Commands {
    fn run(
        &mut self,
        surroundings: &Surroundings,
        argv: &[&str],
        timeout: Duration,
    ) -> Result<CommandOutput, CommandError> {
        let (program, arguments) = argv.split_first().ok_or_else(|| CommandError::NotStarted {
            program: String::new(),
            why: "no program was named".to_owned(),
        })?;
        self.refuse_to_pile_up(program)?;
        let deadline = Instant::now() + timeout;
        let mut child = spawn(program, arguments, surroundings)
            .map_err(|error| not_started(program, surroundings, &error))?;
        match watch(&mut child, deadline) {
            Ok(Some(output)) => Ok(output),
            Ok(None) => {
                self.kill(program, child);
                let seconds = timeout.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
                Err(CommandError::TimedOut { program: (*program).to_owned(), seconds })
            }
            Err(error) => {
                self.kill(program, child);
                Err(CommandError::Failed { program: (*program).to_owned(), why: words(&error) })
            }
        }
    }
}

impl Commands {
    fn refuse_to_pile_up(&mut self, program: &str) -> Result<(), CommandError> {
        self.unkillable.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        match self.unkillable.iter().find(|(name, _)| name == program) {
            None => Ok(()),
            Some((_, child)) => Err(CommandError::NotStarted {
                program: program.to_owned(),
                why: format!("process {} of an earlier call hangs and cannot be killed", child.id()),
            }),
        }
    }

    /// Kills the program and all of its group, and waits for its end.
    fn kill(&mut self, program: &str, mut child: Child) {
        // The child was not waited for, so the id is still its own.
        if let Some(group) = pid(&child) {
            // That all of them are gone already is the aim.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let deadline = Instant::now() + DYING;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                self.unkillable.push((program.to_owned(), child));
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn spawn(program: &str, arguments: &[&str], surroundings: &Surroundings) -> io::Result<Child> {
    let mut command = Command::new(program);
    if surroundings.bare {
        command.env_clear();
    }
    for (name, value) in &surroundings.variables {
        match value {
            Some(value) => command.env(&**name, &**value),
            None => command.env_remove(&**name),
        };
    }
    if let Some(cwd) = &surroundings.cwd {
        command.current_dir(&**cwd);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// The system says the same of a program and of a directory that is not there.
fn not_started(program: &str, surroundings: &Surroundings, error: &io::Error) -> CommandError {
    let program = program.to_owned();
    match &surroundings.cwd {
        Some(cwd) if !Path::new(&**cwd).is_dir() => {
            CommandError::NotStarted { program, why: format!("{cwd} is not a directory") }
        }
        _ if error.kind() == io::ErrorKind::NotFound => CommandError::NotFound { program },
        _ => CommandError::NotStarted { program, why: words(error) },
    }
}

/// Collects the output until the program has ended; nothing when that was not
/// before the deadline.
fn watch(child: &mut Child, deadline: Instant) -> io::Result<Option<CommandOutput>> {
    let mut stdout = Drain::of(child.stdout.take());
    let mut stderr = Drain::of(child.stderr.take());
    let mut status = None;
    let mut until = deadline;
    loop {
        if status.is_none() {
            status = child.try_wait()?;
            until = if status.is_some() { Instant::now() + LINGER } else { deadline };
        }
        let left = until.saturating_duration_since(Instant::now());
        match status {
            Some(status) if left.is_zero() || stdout.is_closed() && stderr.is_closed() => {
                let (stdout, stderr) = (stdout.into_text(), stderr.into_text());
                return Ok(Some(CommandOutput { code: status.code(), stdout, stderr }));
            }
            None if left.is_zero() => return Ok(None),
            _ => drain(&mut stdout, &mut stderr, left.min(GLANCE))?,
        }
    }
}

/// Waits a while for output on either stream and reads what there is.
fn drain<A: Read + AsFd, B: Read + AsFd>(
    stdout: &mut Drain<A>,
    stderr: &mut Drain<B>,
    wait: Duration,
) -> io::Result<()> {
    let streams = [stdout.pipe.as_ref().map(AsFd::as_fd), stderr.pipe.as_ref().map(AsFd::as_fd)];
    let mut fds: Vec<_> =
        streams.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    if fds.is_empty() {
        // Its streams are closed, so it is about to end, or to run on in silence.
        thread::sleep(wait.min(Duration::from_millis(1)));
        return Ok(());
    }
    let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
    match rustix::event::poll(&mut fds, Some(&wait)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    let ready = streams.map(|stream| stream.is_some() && ready.next() == Some(true));
    if ready[0] {
        stdout.read()?;
    }
    if ready[1] {
        stderr.read()?;
    }
    Ok(())
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// One stream of a program, and what came from it so far.
struct Drain<P> {
    /// Nothing once it has ended.
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<P: Read> Drain<P> {
    const fn of(pipe: Option<P>) -> Self {
        Self { pipe, bytes: Vec::new() }
    }

    const fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads once, which does not block on a stream that is ready.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1 << 14];
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                // The rest is read and dropped, so that the program is not held up.
                let kept = count.min(MOST_OUTPUT - self.bytes.len());
                self.bytes.extend_from_slice(&buffer[..kept]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn into_text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const AMPLE: Duration = Duration::from_secs(60);

    fn plainly(
        commands: &mut Commands,
        argv: &[&str],
        timeout: Duration,
    ) -> Result<CommandOutput, CommandError> {
        commands.run(&Surroundings::plain(), argv, timeout)
    }

    fn sh(script: &str, timeout: Duration) -> Result<CommandOutput, CommandError> {
        plainly(&mut Commands::default(), &["sh", "-c", script], timeout)
    }

    #[track_caller]
    fn check(script: &str, code: impl Into<Option<i32>>, stdout: &str, stderr: &str) {
        let expect =
            CommandOutput { code: code.into(), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(sh(script, AMPLE), Ok(expect), "{script}");
    }

    /// Runs a script that does not end within 0.3 s. A second more is promised;
    /// the rest is for a machine that is busy with other tests.
    #[track_caller]
    fn check_times_out(script: &str) {
        let start = Instant::now();
        let timed_out = CommandError::TimedOut { program: "sh".to_owned(), seconds: 1 };
        assert_eq!(sh(script, Duration::from_millis(300)), Err(timed_out), "{script}");
        assert!(start.elapsed() < Duration::from_secs(3), "{script}: {:?}", start.elapsed());
    }

    #[track_caller]
    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + AMPLE;
        while !condition() {
            assert!(Instant::now() < deadline, "{what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[test]
    fn output_and_end() {
        check("echo out; echo err >&2; exit 3", 3, "out\n", "err\n");
        check("exec 1>&- 2>&-; sleep 0.05; exit 4", 4, "", "");
        check("kill -9 $$", None, "", "");
        check("printf 'a\\377b'", 0, "a\u{fffd}b", "");
    }

    #[test]
    fn surroundings() {
        check("cat; echo $LC_ALL", 0, "C\n", "");
        check("test $$ = $(ps -o pgid= -p $$) && echo leads", 0, "leads\n", "");
    }

    #[track_caller]
    fn check_in(surroundings: &Surroundings, script: &str, stdout: &str) {
        let output = Commands::default().run(surroundings, &["/bin/sh", "-c", script], AMPLE).unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (Some(0), stdout), "{script}");
    }

    #[test]
    fn other_surroundings() {
        let dir = tempfile::tempdir().unwrap();
        let cwd = dir.path().canonicalize().unwrap().display().to_string();
        let variables = BTreeMap::from([("MINE".into(), Some("a b".into())), ("HOME".into(), None)]);
        let around = Surroundings { cwd: Some(cwd.as_str().into()), bare: false, variables };
        check_in(
            &around,
            "pwd; echo $MINE; echo ${HOME-none} ${PATH:+path}",
            &format!("{cwd}\na b\nnone path\n"),
        );
        let bare = Surroundings { bare: true, ..around };
        check_in(&bare, "/usr/bin/env | /bin/grep -v '^PWD=\\|^_=\\|^SHLVL='", "MINE=a b\n");
        assert!(!format!("{bare:?}").contains("a b"));
    }

    #[test]
    fn a_directory_that_is_not_there() {
        let around = Surroundings { cwd: Some("/no/such".into()), ..Surroundings::default() };
        let error = Commands::default().run(&around, &["true"], AMPLE).unwrap_err();
        assert_eq!(error.to_string(), "cannot run true: /no/such is not a directory");
    }

    #[test]
    fn much_output_on_both_streams() {
        let output = sh("head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2", AMPLE).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 1 << 20));
        let output = sh("head -c 1048576 /dev/zero >&2; head -c 1048576 /dev/zero", AMPLE).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 1 << 20));
    }

    #[test]
    fn output_without_end_is_cut() {
        let output = sh("head -c 20000000 /dev/zero; echo end >&2", AMPLE).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.as_str()), (MOST_OUTPUT, "end\n"));
        check_times_out("cat /dev/zero");
    }

    #[test]
    fn programs_that_cannot_be_run() {
        let run =
            |argv: &[&str]| plainly(&mut Commands::default(), argv, AMPLE).map_err(|error| error.to_string());
        assert_eq!(run(&["no-such-program"]), Err("no-such-program is not on PATH".to_owned()));
        assert_eq!(run(&["/"]), Err("cannot run /: Permission denied".to_owned()));
        assert!(run(&[]).is_err());
    }

    #[test]
    fn time_is_bounded() {
        check_times_out("sleep 60");
        check_times_out("trap '' TERM INT HUP; while :; do sleep 60; done");
        check_times_out("exec 1>&- 2>&-; exec sleep 60");
    }

    #[test]
    fn the_whole_group_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        check_times_out(&format!("sleep 60 & echo $! >{}; wait", file.display()));
        let grandchild = std::fs::read_to_string(file).unwrap();
        wait_until("the grandchild is gone", || !is_alive(grandchild.trim()));
    }

    #[test]
    fn a_grandchild_does_not_hold_up_the_answer() {
        let start = Instant::now();
        let output = sh("echo $$; sleep 10 & exit 2", AMPLE).unwrap();
        assert_eq!(output.code, Some(2));
        assert!(output.stdout.trim().parse::<u32>().is_ok());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        check_times_out("setsid sleep 10; true");
    }

    #[test]
    fn one_runner_runs_many() {
        let mut commands = Commands::default();
        let _ = plainly(&mut commands, &["sleep", "60"], Duration::from_millis(20));
        for _ in 0..20 {
            assert_eq!(plainly(&mut commands, &["true"], AMPLE).map(|output| output.code), Ok(Some(0)));
        }
        assert!(commands.unkillable.is_empty());
    }

    #[test]
    fn a_program_that_hangs_is_not_run_again_until_it_is_gone() {
        let mut commands = Commands::default();
        let hanging = spawn("sleep", &["60"], &Surroundings::default()).unwrap();
        let group = pid(&hanging).unwrap();
        commands.unkillable.push(("sleep".to_owned(), hanging));
        let again = plainly(&mut commands, &["sleep", "0"], AMPLE).unwrap_err().to_string();
        assert!(again.ends_with("of an earlier call hangs and cannot be killed"), "{again}");
        assert!(plainly(&mut commands, &["true"], AMPLE).is_ok());
        rustix::process::kill_process_group(group, Signal::KILL).unwrap();
        wait_until("it is gone", || !is_alive(&group.to_string()));
        assert!(plainly(&mut commands, &["sleep", "0"], AMPLE).is_ok());
    }
}
