//! Death at every point at which scheduler and keeper know how to die.

use std::collections::BTreeMap;

use driver::point::Point;
use e2e::program;

use crate::place::{Done, Place, is_there};

/// Each writes its number when it runs. One fails, one waits for both GPUs.
const JOBS: &str = "\
    [vram=1G] echo 1 >> runs\n\
    [vram=1G] echo 2 >> runs; exit 3\n\
    echo 3 >> runs\n\
    [vram=2G gpus=2] echo 4 >> runs\n\
    [vram=1G] echo 5 >> runs\n";

const NUMBERS: [u32; 5] = [1, 2, 3, 4, 5];

/// Runs the queue until somebody dies at this point for the `times`-th time;
/// nothing if nobody comes there so often.
fn die(point: Point, times: u32, flags: &[&str]) -> Option<(Place, Done)> {
    let place = Place::new(JOBS);
    let mut command = place.queue(flags);
    command.env("GPUSCHED_DIE_AT", format!("{}:{times}", point.name()));
    command.env("GPUSCHED_DEATH_NOTE", place.path("death"));
    let done = place.start(command).wait();
    is_there(&place.path("death")).then_some((place, done))
}

/// How often each body ran.
fn runs(place: &Place) -> BTreeMap<u32, usize> {
    let mut runs = NUMBERS.map(|no| (no, 0)).into_iter().collect::<BTreeMap<_, _>>();
    for line in place.read("runs").lines() {
        *runs.entry(line.parse().unwrap()).or_default() += 1;
    }
    runs
}

/// However the scheduler dies, its successor finishes the work: each body runs
/// once and no end is forgotten.
#[track_caller]
fn check_scheduler(point: Point, times: u32) -> bool {
    let Some((place, dead)) = die(point, times, &[]) else { return false };
    let what = format!("{}, time {times}", point.name());
    assert_eq!(dead.code, None, "{what}: it was to die:\n{}", dead.out);
    let next = place.run(&[]);
    let story = format!("{what}\n--- first\n{}--- next\n{}{}", dead.out, next.out, next.err);
    assert_eq!(runs(&place), NUMBERS.map(|no| (no, 1)).into_iter().collect(), "{story}");
    assert_eq!(next.code, Some(3), "{story}");
    assert!(next.out.contains("  failed: job 2 (failed, exit 3)"), "{story}");
    check_over(&place, 3, &story);
    true
}

/// However the keeper dies, the scheduler goes on: no body runs twice, and one
/// whose end is not known is said to be lost.
#[track_caller]
fn check_keeper(point: Point, times: u32, flags: &[&str]) -> bool {
    let Some((place, done)) = die(point, times, flags) else { return false };
    let story = format!("{}, time {times}\n{}{}", point.name(), done.out, done.err);
    let says = |text: &str| done.out.matches(text).count();
    let mut worst = 0;
    for (no, runs) in runs(&place) {
        let lost = says(&format!("WARN  job {no} is LOST — "));
        let end = if no == 2 { "EXIT 3" } else { "OK" };
        let ended = says(&format!("job {no} finished [{end}]"));
        assert_eq!(lost + ended, 1, "job {no} ends once:\n{story}");
        assert!(runs == 1 || runs == 0 && lost == 1, "job {no} ran {runs} times:\n{story}");
        worst = worst.max(lost).max(if no == 2 { 3 * ended } else { 0 });
    }
    assert_eq!(done.code.and_then(|code| usize::try_from(code).ok()), Some(worst), "{story}");
    check_over(&place, i32::try_from(worst).unwrap(), &story);
    true
}

/// Nothing is left to do, and the exit code says so again.
#[track_caller]
fn check_over(place: &Place, code: i32, story: &str) {
    let before = runs(place);
    let last = place.run(&[]);
    assert_eq!(last.code, Some(code), "{story}--- last\n{}{}", last.out, last.err);
    assert!(!last.out.contains(" started on gpu "), "{story}--- last\n{}", last.out);
    assert_eq!(runs(place), before, "{story}");
}

/// Goes through the points whose names are chosen, each up to `most` times, and
/// tells how often somebody died there.
#[track_caller]
fn go_through(chosen: impl Fn(&str) -> bool, most: u32) -> String {
    let mut deaths = String::new();
    for point in Point::ALL.iter().filter(|point| chosen(point.name())) {
        let keeper = point.name().starts_with("keeper-");
        let check =
            |times| if keeper { check_keeper(*point, times, &[]) } else { check_scheduler(*point, times) };
        let met = (1..=most).take_while(|times| check(*times)).count();
        assert!(met > 0, "nobody ever comes to {}", point.name());
        deaths.extend([point.name(), ": ", &met.to_string(), "\n"]);
    }
    deaths
}

#[test]
fn nothing_is_lost_wherever_the_scheduler_dies() {
    go_through(|name| !name.starts_with("keeper-") && !name.starts_with("seat-"), 6);
}

#[test]
fn nothing_runs_twice_wherever_the_keeper_dies() {
    go_through(|name| name.starts_with("keeper-"), 4);
}

/// In sessions as well; what a keeper can't know after its death the seats do.
#[test]
fn nothing_runs_twice_wherever_the_keeper_of_sessions_dies() {
    for kind in ["screen", "tmux"].into_iter().filter(|kind| program(kind).is_some()) {
        for point in Point::ALL.iter().filter(|point| point.name().starts_with("keeper-")) {
            let met = (1..=2).take_while(|times| check_keeper(*point, *times, &["--session", kind])).count();
            assert!(met > 0, "nobody ever comes to {}", point.name());
        }
    }
}

#[test]
#[ignore = "a campaign: tests/run --long runs it"]
fn every_point_as_often_as_it_comes() {
    println!("deaths by point\n{}", go_through(|name| !name.starts_with("seat-"), u32::MAX));
}
