//! An append-only log as bytes: encode, scan, judge the tail, compact.
//!
//! A journal is text, one JSON object a line, so that `grep`, `jq` and
//! `tail -f` work on it. The first line says what it is; the others are records
//! with a number, a time and, last of all, a checksum:
//!
//! ```text
//! {"journal":"gpusched","format":1,"first":1,"crc":"a36790f2"}
//! {"seq":1,"at":"2026-11-20T09:30:14.123456Z","event":"started","gpu":0,"crc":"e025a1b7"}
//! ```
//!
//! - `crc` is the CRC-32 (that of zlib and PNG; eight lower-case hexadecimal
//!   digits) of all bytes of its line before `,"crc":`. A line ends in a line
//!   feed. A member keeps its place: `seq`, `at`, the record's own, `crc`.
//! - `first` is the number of the first record. Numbers go up by one; a
//!   compaction replaces the records and goes on counting.
//! - `at` is UTC, cut to microseconds, always of the same width.
//!
//! **What [`scan`] makes of damage.** Whatever stands behind the last line with
//! a right checksum is a *torn tail*: an append that was not finished, because
//! the program died, the disk was full or the machine lost power. Nothing was
//! ever concluded from it, so it is cut off, and told. That holds for several
//! bad lines too, since a reboot may leave gaps or zeros in what was not
//! synced, and for a last line that lacks nothing but its line feed. Everything
//! else is refused: a bad line with a good one behind it, a gap in the numbers,
//! a whole line that is not understood. Those are not what a crash leaves, and
//! going on would bury what happened.
//!
//! **Invariant:** this crate knows bytes and checksums, not jobs, files or
//! clocks. Bytes come from a [`Medium`].
//! **Invariant:** nothing is ever appended behind a torn tail.

mod journal;
mod line;
mod medium;
mod scan;

pub use journal::{AppendError, Journal, OpenError};
pub use line::{EncodeError, FORMAT, Stamped, encode};
pub use medium::{Medium, MediumError};
pub use scan::{Scan, ScanError, Tail, scan};
