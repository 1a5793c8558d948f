//! The engine in a world that misbehaves on a seed.
//!
//! `SIM_SEED=26 cargo sim` runs one seed aloud; `SIM_SEEDS=10000` runs more of
//! them than the ordinary 300.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use backend_sim::{Report, run_queue};

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;

/// Faults and turns of events that so many seeds must have met: a simulator
/// that meets none of them tests nothing.
const MARKS: &[&str] = &[
    "killed between two actions",
    "a write was torn",
    "a sync failed",
    "the machine rebooted",
    "the keeper was killed",
    "an attempt was ruled out",
    "a used attempt was refused",
    "interrupted by a signal",
    "a job was adopted",
    "an interrupted job waits again",
    "a job was lost",
    "an OOM retry has its GPU to itself",
    "an OOM retry with a larger declaration",
    "a job can never run",
    "a job had its time",
    "a job had to be killed",
    "a running job was cancelled",
    "a waiting job was cancelled",
    "a job exceeded its declaration",
    "a change in place was held",
    "GPUs were kept free",
    "broken save",
    "the GPUs could not be read",
    "turns the file upside down",
    "deletes a line",
    "moves a line",
    "appends a line",
    "something was asked for",
    "the state file was edited",
    "a GPU was paused",
    "a part of a GPU was given",
    "a job could not be started",
    "a job is to be started again",
    "a job could not be started often enough",
    "a job is run again because somebody asked",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run(seed: u64, aloud: bool) -> Report {
    match run_queue(seed, aloud) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn the_queue_survives_every_seed() {
    if let Some(seed) = number("SIM_SEED") {
        let report = run(seed, true);
        println!("seed {seed}: {report:#?}");
        return;
    }
    let began = Instant::now();
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let mut total = Report::default();
    for seed in 0..seeds {
        let report = run(seed, false);
        total.steps += report.steps;
        total.seconds += report.seconds;
        total.lives += report.lives;
        total.bodies += report.bodies;
        for (mark, count) in report.marks {
            *total.marks.entry(mark).or_default() += count;
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {} steps ({:.0} a second), {} schedulers, {} job bodies, {} virtual days in {took:.1} s",
        total.steps,
        f64::from(u32::try_from(total.steps).unwrap_or(u32::MAX)) / took,
        total.lives,
        total.bodies,
        total.seconds / 86_400,
    );
    for (mark, count) in &total.marks {
        println!("{count:8}  {mark}");
    }
    let missing: Vec<&&str> = MARKS.iter().filter(|mark| !total.marks.contains_key(**mark)).collect();
    assert!(seeds < SEEDS || missing.is_empty(), "never met in {seeds} seeds: {missing:?}");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}

#[test]
fn the_same_seed_tells_the_same_bytes_in_two_processes() {
    for seed in [3, 26, 77] {
        let told = || {
            let mut process = Command::new(std::env::current_exe().unwrap());
            process.args(["--exact", "simulation::the_queue_survives_every_seed", "--nocapture"]);
            let output = process.env("SIM_SEED", seed.to_string()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            // The last line has the time it took.
            text.lines().filter(|line| !line.starts_with("test result: ")).collect::<Vec<_>>().join("\n")
        };
        let (first, second) = (told(), told());
        assert!(first.contains(&format!("digest: {},", run(seed, false).digest)), "{first}");
        assert!(first == second, "seed {seed} tells two stories:\n{first}\n\n{second}");
    }
}

#[test]
fn different_seeds_tell_different_stories() {
    let stories: BTreeMap<u64, u64> = (0..20).map(|seed| (run(seed, false).digest, seed)).collect();
    assert_eq!(stories.len(), 20);
}
