//! How fast a journal is written and read, without a disk:
//! `cargo run --release -p journal --example journal_speed`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures and tells")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use journal::{Journal, Medium, MediumError, Stamped, encode, scan};
use serde::{Deserialize, Serialize};

const RECORDS: u32 = 1_000_000;

/// A small record like those of the queue.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Note {
    Seen { key: String, no: u32, command: String },
}

/// A file in memory.
#[derive(Debug, Default)]
struct Memory(Vec<u8>);

impl Medium for Memory {
    fn read(&mut self) -> Result<Vec<u8>, MediumError> {
        Ok(self.0.clone())
    }

    fn len(&mut self) -> Result<u64, MediumError> {
        Ok(self.0.len() as u64)
    }

    fn truncate(&mut self, to: u64) -> Result<(), MediumError> {
        self.0.truncate(usize::try_from(to).unwrap_or(usize::MAX));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), MediumError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        Ok(())
    }

    fn replace(&mut self, all: &[u8]) -> Result<(), MediumError> {
        self.0 = all.to_vec();
        Ok(())
    }
}

fn main() {
    let at = Timestamp::now();
    let notes: Vec<Note> = (0..RECORDS)
        .map(|no| Note::Seen {
            key: format!("{no:012x}#0"),
            no,
            command: format!("python train.py --seed {no}"),
        })
        .collect();

    let mut lines = Vec::new();
    let start = Instant::now();
    for (note, seq) in notes.iter().zip(1..) {
        encode(note, seq, at, &mut lines).expect("an object");
    }
    tell("encode", start.elapsed(), lines.len());

    let (mut journal, _) = Journal::open::<Note>(Memory::default(), "speed").expect("an empty journal");
    let start = Instant::now();
    journal.append(&notes, at).expect("room");
    tell("append, all at once", start.elapsed(), lines.len());

    let (mut journal, _) = Journal::open::<Note>(Memory::default(), "speed").expect("an empty journal");
    let start = Instant::now();
    for note in notes.chunks(1) {
        journal.append(note, at).expect("room");
    }
    tell("append, one by one", start.elapsed(), lines.len());

    let bytes = &journal.medium().0;
    let start = Instant::now();
    let found = scan::<Note>(bytes, "speed").expect("a good journal");
    tell("scan", start.elapsed(), bytes.len());
    let last: Option<&Stamped<Note>> = found.records.last();
    assert_eq!(last.map(|stamped| stamped.seq), Some(u64::from(RECORDS)));
}

fn tell(what: &str, took: Duration, bytes: usize) {
    let seconds = took.as_secs_f64();
    let rate = f64::from(RECORDS) / seconds / 1e6;
    println!("{what:<20} {seconds:.2} s, {rate:.2} million records/s, {bytes} bytes in all");
}
