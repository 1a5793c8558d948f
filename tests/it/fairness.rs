//! No job waits for ever behind smaller ones, and that costs next to nothing.

use allocation::{Rules, Thresholds};
use backend_sim::packing::{Played, Workload, play};
use engine::queue::{Config, LaunchAttempts, Patience};
use model::{Mib, Ratio, SignedDuration};

const GPU: Mib = Mib::new(24_576);

fn config(overtakings: u32) -> Config {
    let tenth = Ratio::new(0.10).unwrap();
    Config {
        rules: Rules {
            idle_threshold: Mib::new(200),
            margin: Mib::new(512),
            exclusive: false,
            spike_buffer: tenth,
            thresholds: Thresholds::default(),
        },
        tolerance: tenth,
        oom_retries: 0,
        allowed: None,
        watch: false,
        verbose: false,
        poll: SignedDuration::from_secs(5),
        grace: SignedDuration::from_secs(10),
        patience: Patience { overtakings, time: SignedDuration::from_hours(1000) },
        retry_failed: false,
        launch_attempts: LaunchAttempts::ONCE,
        cuda_ids: jobspec::CudaIds::Index,
    }
}

/// The default of `--overtakes`.
const DEFAULT: u32 = 24;

/// Never.
const UNBOUNDED: u32 = u32::MAX;

/// Numbers that look random and are the same each time (an LCG of Knuth's).
struct Numbers(u64);

impl Numbers {
    fn between(&mut self, low: u32, high: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + u32::try_from((self.0 >> 33) % u64::from(high - low + 1)).unwrap()
    }

    fn time(&mut self, low_ms: u32, high_ms: u32) -> SignedDuration {
        SignedDuration::from_millis(i64::from(self.between(low_ms, high_ms)))
    }
}

/// A stream of small jobs that never lets a GPU run empty, and a big one in it.
fn adversary(seed: u64, gpus: usize, small: usize) -> (Workload, usize) {
    let mut numbers = Numbers(seed);
    let mut jobs: Vec<(Mib, SignedDuration)> =
        (0..small).map(|_| (Mib::new(numbers.between(1000, 6000)), numbers.time(500, 1500))).collect();
    let big = 20;
    jobs.insert(big, (Mib::new(22 * 1024), SignedDuration::from_secs(1)));
    (Workload { gpus: vec![GPU; gpus], jobs, at_first: 60 }, big)
}

/// Later jobs that were started before this one.
fn overtakings(played: &Played, job: usize) -> usize {
    played.order.iter().take_while(|started| **started != job).filter(|started| **started > job).count()
}

#[test]
fn a_stream_of_small_jobs_does_not_starve_a_big_one() {
    let mut kept_for = 0;
    for seed in 0..24 {
        let gpus = 1 + usize::try_from(seed % 4).unwrap();
        let (workload, big) = adversary(seed, gpus, 400);
        let played = play(&workload, config(DEFAULT));
        let since = played.kept.iter().find(|(job, _)| *job == big).map(|(_, since)| *since);
        // On four GPUs it may find room by itself in time.
        let bound_at = since.unwrap_or(played.starts[big]);
        let before = |job: &&usize| **job > big && played.starts[**job] <= bound_at;
        let overtakings = played.order.iter().filter(before).count();
        assert!(overtakings <= DEFAULT as usize + 8, "seed {seed}: {overtakings} overtakings");
        // Once a GPU is kept free, it waits for what runs there: 1.5 s at most.
        let waited = played.starts[big] - bound_at;
        assert!(waited <= SignedDuration::from_millis(1500), "seed {seed}: it still waited {waited:?}");
        kept_for += u32::from(since.is_some());
    }
    assert!(kept_for > 12, "GPUs were kept free for it in {kept_for} of 24 cases only");
}

#[test]
fn without_a_bound_the_same_stream_starves_it() {
    let (workload, big) = adversary(1, 2, 400);
    let played = play(&workload, config(UNBOUNDED));
    assert!(overtakings(&played, big) > 350, "only {} overtakings", overtakings(&played, big));
}

#[test]
fn the_bound_is_what_the_option_says() {
    let (workload, big) = adversary(2, 1, 400);
    for bound in [0, 1, 10, 100] {
        let overtaken = overtakings(&play(&workload, config(bound)), big);
        // What was started before it was first in line does not count.
        assert!(overtaken <= bound as usize + 8, "bound {bound}: {overtaken} overtakings");
        assert!(overtaken >= bound as usize, "bound {bound}: {overtaken} overtakings");
    }
}

#[test]
fn the_bound_in_time_holds_too() {
    let (workload, big) = adversary(3, 1, 400);
    let patience = Patience { overtakings: UNBOUNDED, time: SignedDuration::from_secs(20) };
    let played = play(&workload, Config { patience, ..config(UNBOUNDED) });
    let since = played.kept.iter().find(|(job, _)| *job == big).map(|(_, since)| *since).unwrap();
    // It is first in line for what it needs from the start, on the only GPU.
    assert!(since >= SignedDuration::from_secs(20), "{since:?}");
    assert!(since <= SignedDuration::from_millis(21_500), "{since:?}");
    assert!(played.starts[big] - since <= SignedDuration::from_millis(1500));
}

/// 200 jobs of 2 to 22 GiB and 0.1 to 2 s on four GPUs of 24 GiB.
fn packing(seed: u64) -> Workload {
    let mut numbers = Numbers(seed);
    let jobs = (0..200).map(|_| (Mib::new(numbers.between(2, 22) * 1024), numbers.time(100, 2000)));
    Workload { gpus: vec![GPU; 4], jobs: jobs.collect(), at_first: 200 }
}

#[test]
fn fairness_costs_at_most_three_per_cent_of_makespan() {
    let seeds = 30;
    let mut fair = SignedDuration::ZERO;
    let mut greedy = SignedDuration::ZERO;
    for seed in 0..seeds {
        fair += play(&packing(seed), config(DEFAULT)).makespan;
        greedy += play(&packing(seed), config(UNBOUNDED)).makespan;
    }
    let ratio = fair.as_secs_f64() / greedy.as_secs_f64();
    println!("makespan with reservations / without, mean of {seeds} workloads: {ratio:.4}");
    assert!(ratio <= 1.03, "{ratio:.4}");
}
