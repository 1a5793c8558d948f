//! Times the reading of a million lines, and the comparing of two versions of
//! them: `cargo run --release -p jobspec --example parse_speed`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a stopwatch, for a person to read")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use jobspec::{JobsFile, align, parse_jobs_file};

const LINES: usize = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let plain = generate("");
    let text = generate("[vram=VRAMG retries=2] ");
    time("read, no attributes", || read(&plain));
    let old = time("read, four blocks in turn", || read(&text));

    let edited = read(&Arc::from(format!("first\n{text}last\n")));
    time("compare, a line added at both ends", || align(&old, &edited));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.reverse();
    let reversed = read(&Arc::from(lines.join("\n")));
    time("compare, reversed", || align(&old, &reversed));
    time("SHA-1 keys", || (0..old.len()).map(|i| old.digest(i)).fold(0, |sum, digest| sum ^ digest[0]));
}

fn read(text: &Arc<str>) -> JobsFile {
    let (file, errors) = parse_jobs_file(Arc::clone(text));
    assert!(errors.is_empty());
    file
}

/// Says how long the quickest of some rounds takes.
fn time<T>(what: &str, mut work: impl FnMut() -> T) -> T {
    let mut best = f64::INFINITY;
    for _ in 1..ROUNDS {
        let begin = Instant::now();
        black_box(work());
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    println!("{best:6.0} ms  {what}");
    work()
}

/// Different commands, in lines of 71 bytes, behind a block with one of a few
/// values for `VRAM`.
fn generate(block: &str) -> Arc<str> {
    let mut text = String::new();
    for i in 0..LINES {
        let block = block.replace("VRAM", ["8", "12", "16", "24"][i % 4]);
        let padding = 39 - block.len();
        let _ = writeln!(text, "{block}python train.py --seed {i:07} {:-<padding$}", "");
    }
    text.into()
}
