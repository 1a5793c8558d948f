//! Reading a journal: what is good, what was torn, what is damaged.

use serde::de::DeserializeOwned;

use crate::line::{self, FORMAT, Stamped};

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan<R> {
    /// The records, in order.
    pub records: Vec<Stamped<R>>,
    /// The length in bytes up to the end of the last good line.
    pub good: u64,
    /// What follows that line.
    pub tail: Tail,
    /// The number the next record gets.
    pub next_seq: u64,
}

/// What follows the last good line of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// What is left of lines that were not finished.
    Torn {
        /// Where it begins, in bytes.
        at: u64,
        /// How many bytes it has.
        lost: usize,
    },
}

/// Bytes that are not the journal they should be. Lines count from 1 and
/// include the header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The first line is no header and no line is one of ours: another
    /// program's file, for one a journal of the Python tool.
    #[error("this is not one of our journals")]
    NotOurs,
    /// The header is damaged, which is not what a crash leaves.
    #[error("line 1 (at byte 0) should be the journal's header and is damaged")]
    Header,
    /// A journal of ours, but of something else.
    #[error("this is the journal of {found}, not of {expected}")]
    Kind {
        /// What it is the journal of.
        found: String,
        /// What it should be the journal of.
        expected: String,
    },
    /// Written in a format this program does not know.
    #[error("the journal has format {found} and this program knows format {known}")]
    Format {
        /// Its format.
        found: u32,
        /// The format this program knows.
        known: u32,
    },
    /// A line with a wrong checksum has a good line behind it.
    #[error("line {line} (at byte {offset}) is damaged, and good lines follow it")]
    Middle {
        /// The first damaged line.
        line: u64,
        /// Where it begins, in bytes.
        offset: u64,
    },
    /// Lines are missing, repeated or in another order.
    #[error("line {line} (at byte {offset}) has the number {found} where {expected} was due")]
    Sequence {
        /// The line.
        line: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// The number that was due.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// A line is whole and yet no record this program knows.
    #[error("line {line} (at byte {offset}) is whole, but not understood: {why}")]
    Unknown {
        /// The line.
        line: u64,
        /// Where it begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads a journal of the given kind (the word in its header). No bytes at all,
/// the beginning of a new journal's header, or zeros are an empty journal.
///
/// # Errors
/// When the bytes are no such journal, or are damaged in a way that a crash
/// does not explain; see the crate's description.
pub fn scan<R: DeserializeOwned>(bytes: &[u8], kind: &str) -> Result<Scan<R>, ScanError> {
    if is_unfinished_header(bytes, kind) {
        return Ok(Scan { records: Vec::new(), good: 0, tail: tail(0, bytes), next_seq: 1 });
    }
    let mut lines = lines(bytes);
    let mut next_seq = check_header(&mut lines, kind)?;
    let mut good = lines.offset;
    let mut bad = None;
    let mut records = Vec::new();
    let mut scratch = Vec::new();
    while let Some(Line { number: line, offset, members }) = lines.next() {
        let Some(members) = members else {
            bad = bad.or(Some((line, offset)));
            continue;
        };
        if let Some((line, offset)) = bad {
            return Err(ScanError::Middle { line, offset });
        }
        let stamped =
            line::decode(members, &mut scratch).map_err(|why| ScanError::Unknown { line, offset, why })?;
        if stamped.seq != next_seq {
            return Err(ScanError::Sequence { line, offset, expected: next_seq, found: stamped.seq });
        }
        next_seq += 1;
        good = lines.offset;
        records.push(stamped);
    }
    Ok(Scan { records, good: good as u64, tail: tail(good, bytes), next_seq })
}

/// Whether these are the first bytes of a journal that was just being made. A
/// reboot may leave zeros where they should be.
fn is_unfinished_header(bytes: &[u8], kind: &str) -> bool {
    let whole = line::header(kind, 1);
    (bytes.len() < whole.len() && whole.starts_with(bytes)) || bytes.iter().all(|byte| *byte == 0)
}

/// Takes the header off the lines and tells the number of the first record.
fn check_header(lines: &mut Lines<'_>, kind: &str) -> Result<u64, ScanError> {
    let looks_like_one = lines.bytes.starts_with(br#"{"journal":"#);
    let Some(members) = lines.next().and_then(|line| line.members) else {
        let ours = looks_like_one || lines.any(|line| line.members.is_some());
        return Err(if ours { ScanError::Header } else { ScanError::NotOurs });
    };
    let header = line::decode_header(members).ok_or(ScanError::Header)?;
    if header.journal != kind {
        return Err(ScanError::Kind { found: header.journal, expected: kind.to_owned() });
    }
    if header.format != FORMAT {
        return Err(ScanError::Format { found: header.format, known: FORMAT });
    }
    header.first.ok_or(ScanError::Header)
}

fn tail(good: usize, bytes: &[u8]) -> Tail {
    match bytes.len() - good {
        0 => Tail::Clean,
        lost => Tail::Torn { at: good as u64, lost },
    }
}

struct Line<'a> {
    number: u64,
    offset: u64,
    /// What the checksum vouches for; nothing where it does not, or where the
    /// line feed is missing.
    members: Option<&'a [u8]>,
}

struct Lines<'a> {
    bytes: &'a [u8],
    offset: usize,
    number: u64,
}

fn lines(bytes: &[u8]) -> Lines<'_> {
    Lines { bytes, offset: 0, number: 0 }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let offset = self.offset as u64;
        let end = rest.iter().position(|byte| *byte == b'\n');
        self.offset += end.map_or(rest.len(), |end| end + 1);
        self.number += 1;
        Some(Line { number: self.number, offset, members: end.and_then(|end| line::unsealed(&rest[..end])) })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "event", rename_all = "snake_case")]
    enum Note {
        Said { text: String },
    }

    fn record(seq: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let note = Note::Said { text: format!("note {seq}") };
        line::encode(&note, seq, Timestamp::UNIX_EPOCH, &mut out).unwrap();
        out
    }

    fn header() -> Vec<u8> {
        line::header("notes", 1)
    }

    /// The seal of a line that some other program might have made.
    fn sealed(members: &str) -> Vec<u8> {
        format!("{members},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(members.as_bytes())).into_bytes()
    }

    /// Expects the numbers read, the good length and the bytes lost.
    #[track_caller]
    fn check(parts: &[&[u8]], expect: Result<(&[u64], usize, usize), ScanError>) {
        let bytes = parts.concat();
        let found = scan::<Note>(&bytes, "notes").map(|scan| {
            let lost = match scan.tail {
                Tail::Clean => 0,
                Tail::Torn { at, lost } => {
                    assert_eq!(at, scan.good);
                    lost
                }
            };
            (scan.records.iter().map(|stamped| stamped.seq).collect(), scan.good, lost)
        });
        let expect = expect.map(|(seqs, good, lost)| (seqs.to_vec(), good as u64, lost));
        assert_eq!(found, expect, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn whole_journals() {
        let (h, r) = (header().len(), record(1).len());
        check(&[], Ok((&[], 0, 0)));
        check(&[&header()], Ok((&[], h, 0)));
        check(&[&header(), &record(1), &record(2)], Ok((&[1, 2], h + 2 * r, 0)));
        let from_seven = line::header("notes", 7);
        check(&[&from_seven, &record(7), &record(8)], Ok((&[7, 8], h + 2 * r, 0)));
    }

    #[test]
    fn numbers_go_on_after_a_compaction_to_nothing() {
        let scan = scan::<Note>(&line::header("notes", 7), "notes").unwrap();
        assert_eq!((scan.records.len(), scan.next_seq), (0, 7));
    }

    #[test]
    fn torn_tails() {
        let (h, r) = (header().len(), record(1).len());
        check(&[&header(), &record(1), &record(2)[..r - 1]], Ok((&[1], h + r, r - 1)));
        check(&[&header(), &record(1), b"\n"], Ok((&[1], h + r, 1)));
        check(&[&header(), &record(1), &[0; 700]], Ok((&[1], h + r, 700)));
        check(&[&header(), &record(1), b"x\ny\n\n", &record(2)[5..]], Ok((&[1], h + r, 5 + r - 5)));
        check(&[&header()[..h - 1]], Ok((&[], 0, h - 1)));
        check(&[b"{"], Ok((&[], 0, 1)));
        check(&[&[0; 4096]], Ok((&[], 0, 4096)));
    }

    #[test]
    fn damage_before_good_lines() {
        let (h, r) = (header().len() as u64, record(1).len() as u64);
        let middle = |line, offset| Err(ScanError::Middle { line, offset });
        check(&[&header(), b"x\n", &record(1)], middle(2, h));
        check(&[&header(), &record(1), b"x\n\n", &record(2)], middle(3, h + r));
        check(&[&header(), &record(1)[1..], &record(2), b"x"], middle(2, h));
        let crlf: Vec<u8> = [header(), record(1)]
            .concat()
            .iter()
            .flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] })
            .collect();
        check(&[&crlf], Err(ScanError::Header));
        check(&[&[0; 60], b"\n", &record(1)], Err(ScanError::Header));
    }

    #[test]
    fn missing_and_repeated_lines() {
        let (h, r) = (header().len() as u64, record(1).len() as u64);
        let gap = |line, offset, expected, found| Err(ScanError::Sequence { line, offset, expected, found });
        check(&[&header(), &record(2)], gap(2, h, 1, 2));
        check(&[&header(), &record(1), &record(3)], gap(3, h + r, 2, 3));
        check(&[&header(), &record(1), &record(1)], gap(3, h + r, 2, 1));
        check(&[&header(), &record(2), &record(1)], gap(2, h, 1, 2));
    }

    #[test]
    fn whole_lines_of_another_program() {
        let offset = header().len() as u64;
        let later = sealed(r#"{"seq":1,"at":"2026-11-20T09:30:14.123456Z","event":"sung""#);
        let why = "unknown variant `sung`, expected `said`".to_owned();
        check(&[&header(), &later], Err(ScanError::Unknown { line: 2, offset, why }));
        let why = "it does not begin with a number and a time".to_owned();
        check(&[&header(), &sealed(r#"{"event":"said""#)], Err(ScanError::Unknown { line: 2, offset, why }));
    }

    #[test]
    fn other_files() {
        check(&[b"{\"key\": \"38bba75a9021#0\", \"event\": \"interrupted\"}\n"], Err(ScanError::NotOurs));
        check(&[b"\xff\xfe\n\n"], Err(ScanError::NotOurs));
        check(&[b"\n"], Err(ScanError::NotOurs));
        let kind = ScanError::Kind { found: "keeper".to_owned(), expected: "notes".to_owned() };
        check(&[&line::header("keeper", 1), &record(1)], Err(kind));
        let format = Err(ScanError::Format { found: 2, known: 1 });
        check(&[&sealed(r#"{"journal":"notes","format":2"#), b"whatever\n"], format);
        check(&[&sealed(r#"{"journal":"notes","format":1"#)], Err(ScanError::Header));
        check(&[&header()[..20], b"\n"], Err(ScanError::Header));
        check(&[&record(1)], Err(ScanError::Header));
    }
}
