//! Times and durations of Slurm.

use std::fmt;
use std::str::FromStr;

use crate::{SignedDuration, Timestamp};

/// The text is not a duration of Slurm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration (write minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS)")]
pub struct ParseSlurmTimeError(String);

/// A time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// So long. Slurm counts whole minutes and rounds up (seen).
    For(SignedDuration),
    /// None.
    Unlimited,
    /// That of the partition, which was not asked for yet: `Partition_Limit` of
    /// `sacct`, `NOT_SET` of `squeue` (seen).
    OfPartition,
}

/// A duration by the forms of sbatch(1), `--time`, which are also those that the
/// commands print: `90` is minutes, `1:00` is one minute, `1:00:00` one hour,
/// `1-00`, `1-00:00` and `1-00:00:00` one day. A part may be larger than its
/// unit: `90:00`.
///
/// # Errors
/// When it is none of these forms, or absurdly long.
pub fn parse(text: &str) -> Result<SignedDuration, ParseSlurmTimeError> {
    seconds(text).map(SignedDuration::from_secs).ok_or_else(|| ParseSlurmTimeError(text.to_owned()))
}

fn seconds(text: &str) -> Option<i64> {
    let (days, rest) = match text.split_once('-') {
        None => (None, text),
        Some((days, rest)) => (Some(number(days)?), rest),
    };
    let parts = rest.split(':').map(number).collect::<Option<Vec<i64>>>()?;
    let [hours, minutes, seconds] = match (days, &parts[..]) {
        (None, &[minutes]) => [0, minutes, 0],
        (None, &[minutes, seconds]) => [0, minutes, seconds],
        (Some(_), &[hours]) => [hours, 0, 0],
        (Some(_), &[hours, minutes]) => [hours, minutes, 0],
        (_, &[hours, minutes, seconds]) => [hours, minutes, seconds],
        _ => return None,
    };
    Some(((days.unwrap_or(0) * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// A number of at most nine digits: none of the sums above can overflow.
fn number(text: &str) -> Option<i64> {
    let fits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// The duration as Slurm writes it, `D-HH:MM:SS` or `HH:MM:SS`, to the second; a
/// negative one is none.
pub fn show(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    let days = if days == 0 { String::new() } else { format!("{days}-") };
    format!("{days}{hours:02}:{minutes:02}:{seconds:02}")
}

/// A point in time, in seconds since 1970: what the commands print where
/// `SLURM_TIME_FORMAT` is `%s`. Nothing where it is not known (`N/A`, `NONE`,
/// `Unknown`, `None`), and nothing for local time either: nobody tells which
/// zone, nor which of two equal hours.
pub fn instant(text: &str) -> Option<Timestamp> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = digits.then(|| text.parse().ok()).flatten()?;
    // 0 is how Slurm says that there is none.
    Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)
}

impl FromStr for TimeLimit {
    type Err = ParseSlurmTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            // `infinite` is how sinfo says it, INFINITE and -1 how people may.
            "UNLIMITED" | "INFINITE" | "infinite" | "-1" => Ok(Self::Unlimited),
            "Partition_Limit" | "NOT_SET" => Ok(Self::OfPartition),
            text => parse(text).map(Self::For),
        }
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(duration) => f.write_str(&show(*duration)),
            Self::Unlimited => f.write_str("UNLIMITED"),
            Self::OfPartition => f.write_str("Partition_Limit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: i64, shown: &str) {
        assert_eq!(parse(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        assert_eq!(show(SignedDuration::from_secs(seconds)), shown);
    }

    #[test]
    fn durations() {
        check("90", 5400, "01:30:00");
        check("1:00", 60, "00:01:00");
        check("0:30", 30, "00:00:30");
        check("30:00", 1800, "00:30:00");
        check("1:00:00", 3600, "01:00:00");
        check("1-02", 93_600, "1-02:00:00");
        check("1-02:04", 93_840, "1-02:04:00");
        check("1-02:04:05", 93_845, "1-02:04:05");
        check("25:61:61", 93_721, "1-02:02:01");
        check("365-00:00:00", 31_536_000, "365-00:00:00");
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "-",
            "1-",
            "-1",
            "1:",
            ":1",
            "1:2:3:4",
            "1-2-3",
            "1h",
            "1.5",
            "+1",
            "INVALID",
            "9999999999",
            "١",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(show(SignedDuration::from_secs(-5)), "00:00:00");
        assert!(parse("999999999-999999999:999999999:999999999").is_ok());
    }

    #[test]
    fn limits() {
        for text in ["UNLIMITED", "Partition_Limit", "1-02:04:00"] {
            assert_eq!(text.parse::<TimeLimit>().unwrap().to_string(), text);
        }
        assert_eq!("infinite".parse(), Ok(TimeLimit::Unlimited));
        assert_eq!("NOT_SET".parse(), Ok(TimeLimit::OfPartition));
        assert!("INVALID".parse::<TimeLimit>().is_err());
    }

    #[test]
    fn instants() {
        assert_eq!(instant("1700000000"), Timestamp::from_second(1_700_000_000).ok());
        for text in ["", "0", "N/A", "NONE", "Unknown", "-5", "2026-11-20T09:51:52", "999999999999999999"] {
            assert_eq!(instant(text), None, "{text:?}");
        }
    }
}
