//! Journals cut, damaged and failed at every point.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::Timestamp;
use journal::{AppendError, Journal, Medium, MediumError, OpenError, Scan, ScanError, Tail, scan};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const KIND: &str = "notes";

/// The shapes that records have: unit, text, numbers, lists, maps, options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Note {
    Pause,
    Said { text: String, to: Vec<u16> },
    Counted { total: u64, share: Option<f32>, by: BTreeMap<String, u32> },
}

fn note() -> impl Strategy<Value = Note> {
    prop_oneof![
        Just(Note::Pause),
        ("\\PC{0,12}|[\"\\\\\n,{}\u{0}]{0,6}|\",\"crc\":\"00000000\"\\}\n", vec(any::<u16>(), 0..3))
            .prop_map(|(text, to)| Note::Said { text, to }),
        (
            any::<u64>(),
            proptest::option::of(-1e9f32..1e9),
            proptest::collection::btree_map("[a-z]{1,3}", 0u32..9, 0..3)
        )
            .prop_map(|(total, share, by)| Note::Counted { total, share, by }),
    ]
}

fn at() -> Timestamp {
    "2026-11-20T09:30:14.123456Z".parse().expect("a time")
}

/// A file in memory that outlives the journal on it and fails on request.
#[derive(Debug, Clone, Default)]
struct Memory(Rc<RefCell<Content>>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// The next write stops after this many bytes, the next sync fails.
    room: Option<usize>,
}

impl Memory {
    fn of(bytes: &[u8]) -> Self {
        Self(Rc::new(RefCell::new(Content { bytes: bytes.to_vec(), ..Content::default() })))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    /// Sets the room, and tells what was left of it.
    fn set_room(&self, room: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut self.0.borrow_mut().room, room)
    }
}

impl Medium for Memory {
    fn read(&mut self) -> Result<Vec<u8>, MediumError> {
        Ok(self.bytes())
    }

    fn len(&mut self) -> Result<u64, MediumError> {
        Ok(self.0.borrow().bytes.len() as u64)
    }

    fn truncate(&mut self, to: u64) -> Result<(), MediumError> {
        self.0.borrow_mut().bytes.truncate(usize::try_from(to).expect("a small file"));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), MediumError> {
        let mut content = self.0.borrow_mut();
        let room = content.room.take();
        content.bytes.extend_from_slice(&bytes[..room.unwrap_or(bytes.len()).min(bytes.len())]);
        room.map_or(Ok(()), |_| Err(full()))
    }

    fn sync(&mut self) -> Result<(), MediumError> {
        self.0.borrow_mut().room.take().map_or(Ok(()), |_| Err(full()))
    }

    fn replace(&mut self, all: &[u8]) -> Result<(), MediumError> {
        let mut content = self.0.borrow_mut();
        let room = content.room.take();
        // It may have been done although it fails: only the last sync failed.
        if room.is_none_or(|room| room % 2 == 0) {
            content.bytes = all.to_vec();
        }
        room.map_or(Ok(()), |_| Err(full()))
    }
}

fn full() -> MediumError {
    MediumError("cannot write to notes.jsonl: No space left on device".to_owned())
}

fn open(memory: &Memory) -> (Journal<Memory>, Scan<Note>) {
    Journal::open(memory.clone(), KIND).expect("a journal")
}

fn journal_of(notes: &[Note]) -> Vec<u8> {
    let memory = Memory::default();
    open(&memory).0.append(notes, at()).expect("room");
    memory.bytes()
}

fn notes_of(scan: &Scan<Note>) -> Vec<Note> {
    scan.records.iter().map(|stamped| stamped.record.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_appended_is_scanned(batches in vec(vec(note(), 0..4), 0..4)) {
        let memory = Memory::default();
        let (mut journal, first) = open(&memory);
        prop_assert_eq!((first.records.len(), first.next_seq), (0, 1));
        let mut count = 0;
        for batch in &batches {
            count += batch.len() as u64;
            prop_assert_eq!(journal.append(batch, at()).expect("room"), count);
        }
        let scan = scan::<Note>(&memory.bytes(), KIND).expect("a good journal");
        prop_assert_eq!(notes_of(&scan), batches.concat());
        prop_assert_eq!(scan.tail, Tail::Clean);
        prop_assert_eq!((scan.good, scan.next_seq), (memory.bytes().len() as u64, count + 1));
        prop_assert!(scan.records.iter().zip(1..).all(|(stamped, seq)| stamped.seq == seq && stamped.at == at()));
    }

    #[test]
    fn cut_at_every_byte_it_is_a_prefix_and_can_go_on(notes in vec(note(), 1..5), next in note()) {
        let whole = journal_of(&notes);
        for end in 0..=whole.len() {
            let lines = whole[..end].split(|byte| *byte == b'\n').count() - 1;
            let kept = &notes[..lines.saturating_sub(1)];
            let memory = Memory::of(&whole[..end]);
            let (mut journal, found) = open(&memory);
            prop_assert_eq!(notes_of(&found), kept);
            let lost = match found.tail {
                Tail::Clean => 0,
                Tail::Torn { at, lost } => {
                    prop_assert_eq!(at, found.good);
                    lost
                }
            };
            prop_assert_eq!(found.good, (end - lost) as u64);
            prop_assert_eq!(lost == 0, end == 0 || whole[end - 1] == b'\n');

            let seq = journal.append(std::slice::from_ref(&next), at()).expect("room");
            prop_assert_eq!(seq, found.next_seq);
            let again = scan::<Note>(&memory.bytes(), KIND).expect("a good journal");
            prop_assert_eq!(notes_of(&again), [kept, std::slice::from_ref(&next)].concat());
            prop_assert_eq!(again.tail, Tail::Clean);
        }
    }

    #[test]
    fn any_bytes_at_the_end_are_a_tail_and_nothing_else(notes in vec(note(), 0..4), tail in vec(any::<u8>(), 1..80)) {
        let whole = journal_of(&notes);
        let found = scan::<Note>(&[whole.as_slice(), &tail].concat(), KIND).expect("a torn journal");
        prop_assert_eq!(notes_of(&found), notes);
        prop_assert_eq!(found.tail, Tail::Torn { at: whole.len() as u64, lost: tail.len() });
    }

    #[test]
    fn a_missing_line_is_found(notes in vec(note(), 2..6), which in any::<prop::sample::Index>()) {
        let whole = journal_of(&notes);
        let mut lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        // The last line can't be missed: nobody knows that it was there.
        lines.remove(which.index(lines.len() - 1));
        prop_assert!(scan::<Note>(&lines.concat(), KIND).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = scan::<Note>(&bytes, KIND);
    }
}

/// Every single bit of a small journal, so that no place is left to chance.
#[test]
fn any_flipped_bit_is_found() {
    let notes = [
        Note::Said { text: "one \",\"crc\":\" \n".to_owned(), to: vec![1, 2] },
        Note::Pause,
        Note::Counted { total: 3, share: Some(0.5), by: BTreeMap::from([("a".to_owned(), 7)]) },
    ];
    let whole = journal_of(&notes);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(found) = scan::<Note>(&bytes, KIND) else { continue };
        assert!(found.tail != Tail::Clean, "bit {bit} went unseen");
        assert!(notes.starts_with(&notes_of(&found)), "bit {bit} made a record of its own");
        // A lost line feed makes one bad line of the last two.
        assert!(found.records.len() + 2 >= notes.len(), "bit {bit} lost more than the last lines");
    }
}

/// What a journal is put through. A number is a fault: how far a write comes.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Note>, Option<usize>),
    Rewrite(Vec<Note>, Option<usize>),
    Sync(Option<usize>),
    /// Another program writes.
    Stray(Vec<u8>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let notes = || vec(note(), 0..4);
    let fault = || proptest::option::weighted(0.2, 0usize..300);
    prop_oneof![
        6 => (notes(), fault()).prop_map(|(notes, fault)| Step::Append(notes, fault)),
        1 => (notes(), fault()).prop_map(|(notes, fault)| Step::Rewrite(notes, fault)),
        1 => fault().prop_map(Step::Sync),
        1 => vec(any::<u8>(), 1..40).prop_map(Step::Stray),
        3 => Just(Step::Reopen),
    ]
}

/// A journal and the reference it is held against.
struct Trial {
    memory: Memory,
    journal: Journal<Memory>,
    /// What it may hold, with the number of the last record: one thing, or
    /// after a failure one of several.
    may_hold: Vec<(Vec<Note>, u64)>,
    stray: bool,
    failed: bool,
}

impl Trial {
    fn new() -> Self {
        let memory = Memory::default();
        let may_hold = vec![(Vec::new(), 0)];
        Self { journal: open(&memory).0, memory, may_hold, stray: false, failed: false }
    }

    fn take(&mut self, step: &Step) {
        let (held, last) = self.may_hold[0].clone();
        match step {
            Step::Append(notes, fault) => {
                let outcomes = (0..=notes.len()).rev();
                let outcomes = outcomes.map(|n| ([&held, &notes[..n]].concat(), last + n as u64));
                self.write(*fault, outcomes.collect(), |journal| journal.append(notes, at()));
            }
            Step::Rewrite(notes, fault) => {
                let outcomes = vec![(notes.clone(), last + notes.len() as u64), (held, last)];
                self.write(*fault, outcomes, |journal| journal.rewrite(notes, at()));
            }
            Step::Sync(fault) => {
                self.write(*fault, vec![(held, last)], |journal| journal.sync().map(|()| last));
            }
            Step::Stray(bytes) => {
                self.memory.append(bytes).expect("room");
                self.stray = true;
            }
            Step::Reopen => {
                let (journal, found) = open(&self.memory);
                let found = (notes_of(&found), found.next_seq - 1);
                assert!(self.may_hold.contains(&found), "{found:?} is none of {:?}", self.may_hold);
                *self = Self {
                    journal,
                    may_hold: vec![found],
                    stray: false,
                    failed: false,
                    memory: self.memory.clone(),
                };
            }
        }
    }

    /// Does something that comes to the first outcome, or where it meets the
    /// fault, to any of them.
    fn write(
        &mut self,
        fault: Option<usize>,
        outcomes: Vec<(Vec<Note>, u64)>,
        act: impl FnOnce(&mut Journal<Memory>) -> Result<u64, AppendError>,
    ) {
        let before = self.memory.bytes();
        self.memory.set_room(fault);
        let result = act(&mut self.journal);
        let met_fault = self.memory.set_room(None) != fault;
        match result {
            Ok(seq) => {
                assert!(!self.failed && !met_fault);
                assert_eq!((seq, self.journal.written()), (outcomes[0].1, outcomes[0].1));
                self.may_hold = outcomes[..1].to_vec();
            }
            Err(AppendError::Medium(_)) => {
                assert!(!self.failed && met_fault);
                self.may_hold = outcomes;
            }
            Err(AppendError::Poisoned(_)) => assert!(self.failed && self.memory.bytes() == before),
            Err(AppendError::Foreign { .. }) => {
                assert!(!self.failed && self.stray && self.memory.bytes() == before);
            }
            Err(AppendError::Encode(error)) => panic!("{error}"),
        }
        self.failed |= result.is_err();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_journal_holds_what_it_acknowledged(steps in vec(step(), 1..30)) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.take(step);
        }
        trial.take(&Step::Reopen);
    }
}

#[test]
fn an_unfinished_append_is_cut_off_by_the_next_open() {
    let memory = Memory::default();
    let mut journal = open(&memory).0;
    journal.append(&[Note::Pause], at()).expect("room");
    memory.set_room(Some(100));
    let error = journal.append(&[Note::Pause, Note::Pause], at()).expect_err("a fault");
    assert_eq!(error.to_string(), "cannot write to notes.jsonl: No space left on device");
    let error = journal.append(&[Note::Pause], at()).expect_err("poison");
    assert_eq!(
        error.to_string(),
        "nothing is written after an earlier failure: cannot write to notes.jsonl: No space left on device"
    );
    let (journal, found) = open(&memory);
    assert_eq!(notes_of(&found), [Note::Pause, Note::Pause]);
    assert!(matches!(found.tail, Tail::Torn { .. }));
    assert_eq!((journal.written(), memory.bytes().len() as u64), (2, found.good));
}

#[test]
fn the_writing_of_another_program_is_left_alone() {
    let memory = Memory::default();
    let (mut journal, mut other) = (open(&memory).0, open(&memory).0);
    other.append(&[Note::Pause], at()).expect("room");
    let error = journal.append(&[Note::Pause], at()).expect_err("another writer");
    assert!(matches!(error, AppendError::Foreign { .. }), "{error}");
    assert_eq!(notes_of(&open(&memory).1), [Note::Pause]);
}

#[test]
fn a_poisoned_journal_writes_nothing() {
    let memory = Memory::default();
    let mut journal = open(&memory).0;
    let before = memory.bytes();
    journal.poison("a sync failed".to_owned());
    journal.poison("and again".to_owned());
    let errors = [
        journal.append(&[Note::Pause], at()).map(drop),
        journal.append::<Note>(&[], at()).map(drop),
        journal.rewrite(&[Note::Pause], at()).map(drop),
        journal.sync(),
    ];
    for result in errors {
        let error = result.expect_err("poison");
        assert_eq!(error.to_string(), "nothing is written after an earlier failure: a sync failed");
    }
    assert_eq!(memory.bytes(), before);
}

#[test]
fn a_record_that_is_no_object_is_not_written() {
    let memory = Memory::default();
    let mut journal = open(&memory).0;
    let before = memory.bytes();
    let error = journal.append(&["text"], at()).expect_err("no object");
    assert_eq!(error.to_string(), "the record is not a JSON object");
    assert_eq!(memory.bytes(), before);
}

#[test]
fn another_programs_file_is_handed_back_and_can_be_replaced() {
    let theirs = b"{\"key\": \"38bba75a9021#0\", \"event\": \"interrupted\"}\n";
    let memory = Memory::of(theirs);
    let Err(OpenError::NotOurs { medium, bytes }) = Journal::open::<Note>(memory.clone(), KIND) else {
        panic!("it was taken for ours");
    };
    assert_eq!((bytes.as_slice(), memory.bytes().as_slice()), (theirs.as_slice(), theirs.as_slice()));
    let journal = Journal::create(medium, KIND, &[Note::Pause, Note::Pause], at()).expect("room");
    assert_eq!(journal.written(), 2);
    let (mut journal, found) = open(&memory);
    assert_eq!(notes_of(&found), [Note::Pause, Note::Pause]);
    assert_eq!(journal.append(&[Note::Pause], at()).expect("room"), 3);
}

#[test]
fn damage_is_refused_and_left_alone() {
    let mut bytes = journal_of(&[Note::Pause, Note::Pause]);
    bytes[80] ^= 1;
    let memory = Memory::of(&bytes);
    let error = Journal::open::<Note>(memory.clone(), KIND).expect_err("damage");
    assert!(matches!(error, OpenError::Scan(ScanError::Middle { line: 2, .. })), "{error}");
    assert_eq!(memory.bytes(), bytes);
}
