//! Tells reports on standard output, each line with the time of day, and in the
//! log of a watched queue with the date as well.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;

use driver::publish::Reporter;
use engine::queue::{Answer, Board, Report};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::report_text::Words;
use crate::stream::Stream;
use crate::{answers, board, board_json};

/// Writes reports as text. When nobody listens any more (`| head -1`, a closed
/// terminal) it falls silent and the queue goes on.
pub struct TextReporter<W> {
    out: Option<W>,
    /// Where jobs' own lines are printed, if they are.
    output: Option<Stream>,
    log: Option<File>,
    words: Words,
    zone: TimeZone,
}

impl<W: Write> TextReporter<W> {
    /// A reporter that writes to `out`, its times in `zone`.
    pub fn new(out: W, words: Words, zone: TimeZone) -> Self {
        Self { out: Some(out), output: None, log: None, words, zone }
    }

    /// Has what jobs print follow in between.
    #[must_use]
    pub fn with_output(mut self, output: Stream) -> Self {
        self.output = Some(output);
        self
    }

    /// Writes everything into this file as well.
    #[must_use]
    pub fn with_log(mut self, log: File) -> Self {
        self.log = Some(log);
        self
    }

    /// Says something that is not the queue's own report.
    pub fn note(&mut self, line: &str) {
        self.write(&[line.to_owned()], Timestamp::now());
    }

    fn tell(&mut self, report: &Report, now: Timestamp) {
        self.follow_output(report);
        if self.out.is_some() || self.log.is_some() {
            self.write(&self.words.lines(report), now);
        }
    }

    /// What a job has printed comes before the news of its end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are no news of an attempt")]
    fn follow_output(&self, report: &Report) {
        let Some(output) = &self.output else { return };
        match report {
            // What one of an earlier scheduler has printed was seen then.
            Report::Runs { no, log, adopted: false } => output.begins(*no, log.clone()),
            Report::Finished(ended) => output.ends(ended.no),
            Report::OomRequeued { no, .. } | Report::Requeued { no, .. } => output.ends(*no),
            _ => {}
        }
    }

    fn write(&mut self, lines: &[String], now: Timestamp) {
        let at = self.zone.to_datetime(now);
        if let Some(log) = &mut self.log {
            // A full disk must not end the queue.
            let _ = log.write_all(stamped(lines, &at.strftime("%Y-%m-%d %H:%M:%S")).as_bytes());
        }
        let Some(out) = &mut self.out else { return };
        let text = stamped(lines, &at.strftime("%H:%M:%S"));
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }
}

fn stamped(lines: &[String], time: &impl std::fmt::Display) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "[{time}] {line}");
    }
    text
}

impl<W: Write + Send> Reporter for TextReporter<W> {
    fn report(&mut self, report: &Report) {
        self.tell(report, Timestamp::now());
    }

    fn board(&mut self, board: &Board) -> String {
        board::text(board, &self.zone)
    }

    fn status(&mut self, board: &Board) -> String {
        format!("{:#}\n", board_json::document(board))
    }

    fn answer(&mut self, answer: &Answer) -> String {
        answers::text(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use model::{JobNo, Ratio, SignedDuration};

    use super::*;

    /// A reader that goes away after so many writes.
    struct Leaving {
        left: usize,
        got: Vec<u8>,
    }

    impl Write for &mut Leaving {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            self.got.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_have_their_time_and_a_lost_reader_does_no_harm() {
        let words = Words {
            poll: SignedDuration::from_secs(5),
            board: String::new(),
            tolerance: Ratio::ZERO,
            gpus_chosen: false,
        };
        let mut reader = Leaving { left: 1, got: Vec::new() };
        let mut reporter = TextReporter::new(&mut reader, words, TimeZone::UTC);
        let now = Timestamp::from_second(34_214).unwrap();
        for no in 1..=3 {
            reporter.tell(&Report::Killing { no: JobNo(no) }, now);
        }
        let text = String::from_utf8(reader.got).unwrap();
        assert_eq!(text, "[09:30:14] WARN  job 1 did not exit after SIGTERM — SIGKILL\n");
    }
}
