//! How many trivial jobs a keeper runs in a second: `keeper_speed [JOBS [SLOTS]]`.
//! The program is its own keeper, as `gpusched` is. Every job has a log, so the
//! file system counts: `TMPDIR=/dev/shm` leaves it out.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use backend::JobHost;
use driver::host::{HostNews, KeeperConfig, KeeperHost, LogNames};
use model::{GpuIndex, GpuUuid, JobKey, JobNo, Launch, Presence, Setting};
use rustix::event::{PollFd, PollFlags, poll};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [word, dir] = arguments.as_slice()
        && word == "__keep"
    {
        return Ok(driver::keeper::keep(Path::new(dir))?);
    }
    let mut numbers = arguments.iter().map(|argument| argument.parse());
    let jobs: u32 = numbers.next().transpose()?.unwrap_or(3000);
    let slots: u32 = numbers.next().transpose()?.unwrap_or(8);
    let dir = tempfile::tempdir()?;
    let mut host = KeeperHost::open(KeeperConfig {
        dir: dir.path().into(),
        program: env::current_exe()?,
        environment: env::vars_os().collect(),
        cwd: env::current_dir()?,
        logs: LogNames::ByGpu,
        seat: None,
    })?;
    let start = Instant::now();
    run(&mut host, jobs, slots)?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{jobs} jobs, {slots} at a time: {:.0} a second", f64::from(jobs) / seconds)?;
    Ok(())
}

fn run(host: &mut KeeperHost, jobs: u32, slots: u32) -> Result<(), Box<dyn Error>> {
    let mut waiting: VecDeque<u32> = (1..=jobs).collect();
    let (mut running, mut ended) = (0, 0);
    while ended < jobs {
        while running < slots
            && let Some(no) = waiting.pop_front()
        {
            host.launch(&Launch {
                attempt: JobKey::new([1; 6], no).attempt(1),
                no: JobNo(no),
                command: "true".to_owned(),
                gpus: vec![(GpuIndex(0), GpuUuid("GPU-0".into()))],
                setting: Setting::default(),
            })?;
            running += 1;
        }
        let mut fds: Vec<_> =
            host.fds().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        poll(&mut fds, None)?;
        for news in host.news() {
            match news {
                HostNews::Sightings(sightings) => {
                    let is_end = |presence: &Presence| matches!(presence, Presence::Ended { .. });
                    let ends = sightings.iter().filter(|sighting| is_end(&sighting.presence)).count();
                    running -= u32::try_from(ends)?;
                    ended += u32::try_from(ends)?;
                }
                HostNews::Refused { why, .. } => return Err(why.into()),
                HostNews::KeeperGone(why) => return Err(why.into()),
            }
        }
    }
    Ok(())
}
