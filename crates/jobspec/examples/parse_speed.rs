//! Times the reading and aligning of a million lines:
//! `cargo run --release -p jobspec --example parse_speed`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a stopwatch, for a person to read")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const LINES: usize = 1_000_000;

fn main() {
    let text = generate();
    println!("{LINES} lines of {} bytes", text.len() / LINES);
    for round in 1..=5 {
        let begin = Instant::now();
        let (file, errors) = black_box(jobspec::parse_jobs_file(Arc::clone(&text)));
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        assert!(errors.is_empty() && file.len() == LINES);
        println!("round {round}: parse {ms:.0} ms");
    }
}

/// Lines of some 71 bytes with a few different blocks.
fn generate() -> Arc<str> {
    let mut text = String::new();
    for i in 0..LINES {
        let vram = [8, 8, 8, 12, 16, 24][i % 6];
        let _ = writeln!(text, "[vram={vram}G retries=2] python train.py --config sweep.yaml --seed {i:07}");
    }
    text.into()
}
