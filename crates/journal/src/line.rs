//! One line: a header or a record, sealed with a checksum.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format this crate writes, and the highest it reads.
pub const FORMAT: u32 = 1;

/// A record as it stands in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped<R> {
    /// Its number.
    pub seq: u64,
    /// When it was written, in whole microseconds.
    pub at: Timestamp,
    /// The record.
    pub record: R,
}

/// A record can't be written: a mistake in the program that made it.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It does not serialize.
    #[error("the record cannot be serialized")]
    Json(#[source] serde_json::Error),
    /// It does not serialize as a JSON object, so it has no members to write.
    #[error("the record is not a JSON object")]
    NotAnObject,
}

/// Adds the line of a record to `out`: a JSON object, for example an enum
/// tagged by `event`. `at` is cut to microseconds.
///
/// Note that serde reads the keys of maps inside a tagged enum as strings only:
/// a key that is a number must have a `Deserialize` of its own for them.
///
/// # Errors
/// When the record is no JSON object; `out` is then as it was.
pub fn encode<R: Serialize>(
    record: &R,
    seq: u64,
    at: Timestamp,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = write_record(record, seq, at, out);
    match result {
        Ok(()) => seal(out, start),
        Err(_) => out.truncate(start),
    }
    result
}

fn write_record<R: Serialize>(
    record: &R,
    seq: u64,
    at: Timestamp,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    out.extend_from_slice(format!(r#"{{"seq":{seq},"at":"{at:.6}""#).as_bytes());
    let body = out.len();
    serde_json::to_writer(&mut *out, record).map_err(EncodeError::Json)?;
    // The record's members go on in our object: its opening brace becomes the
    // comma before them, its closing brace follows the checksum.
    match out.get(body..) {
        Some([b'{', b'}']) => out.truncate(body),
        Some([b'{', .., b'}']) => {
            out[body] = b',';
            out.pop();
        }
        Some(_) | None => return Err(EncodeError::NotAnObject),
    }
    Ok(())
}

/// Reads back the members of a record's line, which [`unsealed`] has vouched
/// for. The error is in words.
pub(crate) fn decode<R: DeserializeOwned>(
    members: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<Stamped<R>, String> {
    let (seq, at, body) = stamp(members).ok_or("it does not begin with a number and a time")?;
    scratch.clear();
    scratch.push(b'{');
    scratch.extend_from_slice(body.as_bytes());
    scratch.push(b'}');
    let record = serde_json::from_slice(scratch).map_err(|error| words(&error))?;
    Ok(Stamped { seq, at, record })
}

/// What is wrong, without the place: that is not where it is in the journal.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

fn stamp(members: &[u8]) -> Option<(u64, Timestamp, &str)> {
    let rest = str::from_utf8(members).ok()?.strip_prefix(r#"{"seq":"#)?;
    let (seq, rest) = rest.split_once(r#","at":""#)?;
    let (at, rest) = rest.split_once('"')?;
    let body = if rest.is_empty() { rest } else { rest.strip_prefix(',')? };
    Some((seq.parse().ok()?, at.parse().ok()?, body))
}

/// What the first line of a journal says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Header {
    /// What kind of journal it is.
    pub(crate) journal: String,
    /// The format of its lines.
    pub(crate) format: u32,
    /// The number of its first record. (A later format may do without.)
    pub(crate) first: Option<u64>,
}

/// The first line of a journal. `kind` is a plain word.
pub(crate) fn header(kind: &str, first: u64) -> Vec<u8> {
    debug_assert!(kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{kind:?} is no plain word");
    let mut out = format!(r#"{{"journal":"{kind}","format":{FORMAT},"first":{first}"#).into_bytes();
    seal(&mut out, 0);
    out
}

/// Reads back the members of a header, which [`unsealed`] has vouched for.
pub(crate) fn decode_header(members: &[u8]) -> Option<Header> {
    let object = [members, b"}"].concat();
    serde_json::from_slice(&object).ok()
}

const CRC_MEMBER: &[u8; 8] = br#","crc":""#;
const CRC_END: &[u8; 2] = br#""}"#;
const CRC_DIGITS: usize = 8;

/// Ends the object that begins at `start` with its checksum, and the line.
fn seal(out: &mut Vec<u8>, start: usize) {
    let digits = digits(crc32fast::hash(&out[start..]));
    out.extend_from_slice(CRC_MEMBER);
    out.extend_from_slice(&digits);
    out.extend_from_slice(CRC_END);
    out.push(b'\n');
}

/// The members of a line (without its line feed) before the checksum, opening
/// brace included; nothing where the checksum is wrong or missing.
pub(crate) fn unsealed(line: &[u8]) -> Option<&[u8]> {
    let cut = line.len().checked_sub(CRC_MEMBER.len() + CRC_DIGITS + CRC_END.len())?;
    let (members, seal) = line.split_at(cut);
    let found = seal.strip_prefix(CRC_MEMBER)?.strip_suffix(CRC_END)?;
    (found == digits(crc32fast::hash(members))).then_some(members)
}

fn digits(crc: u32) -> [u8; CRC_DIGITS] {
    std::array::from_fn(|at| b"0123456789abcdef"[(crc >> (28 - 4 * at)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at() -> Timestamp {
        "2026-11-20T09:30:14.123456789Z".parse().unwrap()
    }

    #[track_caller]
    fn check(record: &Value, seq: u64, expect: &str) {
        let mut out = b"before\n".to_vec();
        encode(record, seq, at(), &mut out).unwrap();
        assert_eq!(str::from_utf8(&out).unwrap(), format!("before\n{expect}\n"));
        let back = decode::<Value>(unsealed(expect.as_bytes()).unwrap(), &mut Vec::new()).unwrap();
        assert_eq!((back.seq, back.at.to_string().as_str()), (seq, "2026-11-20T09:30:14.123456Z"));
        assert_eq!(&back.record, record);
    }

    // The checksums are those of Python's `zlib.crc32`.
    #[test]
    fn a_record_is_written_as_one_object() {
        check(
            &json!({"event": "started", "gpu": 0}),
            17,
            r#"{"seq":17,"at":"2026-11-20T09:30:14.123456Z","event":"started","gpu":0,"crc":"0070dd68"}"#,
        );
        check(&json!({}), 1, r#"{"seq":1,"at":"2026-11-20T09:30:14.123456Z","crc":"5e7b6745"}"#);
        check(
            &json!({"command": "a\n\"b\" é"}),
            2,
            r#"{"seq":2,"at":"2026-11-20T09:30:14.123456Z","command":"a\n\"b\" é","crc":"9d492f77"}"#,
        );
    }

    #[test]
    fn what_is_no_object_is_refused_and_leaves_nothing() {
        for record in [json!(null), json!(5), json!("{}"), json!([{}])] {
            let mut out = b"before\n".to_vec();
            let error = encode(&record, 1, at(), &mut out).unwrap_err();
            assert_eq!(error.to_string(), "the record is not a JSON object", "{record}");
            assert_eq!(out, b"before\n");
        }
    }

    #[test]
    fn a_header_is_written_and_read() {
        let line = header("gpusched", 1);
        assert_eq!(
            str::from_utf8(&line).unwrap(),
            "{\"journal\":\"gpusched\",\"format\":1,\"first\":1,\"crc\":\"a36790f2\"}\n"
        );
        let expect = Header { journal: "gpusched".to_owned(), format: 1, first: Some(1) };
        assert_eq!(decode_header(unsealed(line.trim_ascii_end()).unwrap()), Some(expect));
    }

    #[test]
    fn a_wrong_or_missing_checksum_is_seen() {
        for line in [
            r#"{"seq":1,"at":"2026-11-20T09:30:14.123456Z","crc":"5e7b6746"}"#,
            r#"{"seq":1,"at":"2026-11-20T09:30:14.123456Z","crc":"5E7B6745"}"#,
            r#"{"seq":1,"at":"2026-11-20T09:30:14.123456Z","crc":"5e7b6745"} "#,
            r#"{"seq":2,"at":"2026-11-20T09:30:14.123456Z","crc":"5e7b6745"}"#,
            r#","crc":"5e7b6745"}"#,
            "{}",
            "",
        ] {
            assert_eq!(unsealed(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn members_that_are_not_laid_out_as_ours_are_not_read() {
        for members in [
            r#"{"at":"2026-11-20T09:30:14Z","seq":1"#,
            r#"{"seq":x,"at":"2026-11-20T09:30:14Z""#,
            r#"{"seq":1,"at":"yesterday""#,
            r#"{"seq":1,"at":"2026-11-20T09:30:14Z"  ,"event":"x""#,
            r#"{"seq":1,"at":"2026-11-20T09:30:14Z",x"#,
        ] {
            assert!(decode::<Value>(members.as_bytes(), &mut Vec::new()).is_err(), "{members}");
        }
    }
}
