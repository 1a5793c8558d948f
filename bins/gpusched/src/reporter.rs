//! Tells reports on standard output, each line with the time of day.

use std::fmt::Write as _;
use std::io::Write;

use driver::publish::Reporter;
use engine::queue::{Answer, Board, Report};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::outlet::Outlet;
use crate::report_text::Words;
use crate::{answers, board, board_json};

/// Writes reports as text. When nobody listens any more (`| head -1`, a closed
/// terminal) it falls silent and the queue goes on.
pub struct TextReporter<W> {
    out: Option<W>,
    words: Words,
    zone: TimeZone,
}

impl TextReporter<Outlet> {
    /// A reporter on standard output, in local time.
    pub fn on_stdout(out: Outlet, words: Words) -> Self {
        Self::new(out, words, TimeZone::system())
    }
}

impl<W: Write> TextReporter<W> {
    /// A reporter that writes to `out`, its times in `zone`.
    pub fn new(out: W, words: Words, zone: TimeZone) -> Self {
        Self { out: Some(out), words, zone }
    }

    /// Says something that is not the queue's own report.
    pub fn note(&mut self, line: &str) {
        self.write(&[line.to_owned()], Timestamp::now());
    }

    fn tell(&mut self, report: &Report, now: Timestamp) {
        if self.out.is_some() {
            self.write(&self.words.lines(report), now);
        }
    }

    fn write(&mut self, lines: &[String], now: Timestamp) {
        let Some(out) = &mut self.out else { return };
        let time = self.zone.to_datetime(now).strftime("%H:%M:%S");
        let mut text = String::new();
        for line in lines {
            let _ = writeln!(text, "[{time}] {line}");
        }
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }
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
