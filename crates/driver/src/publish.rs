//! Who finds the words.

use engine::queue::{Answer, Board, Report};

/// Turns what the queue says into what a person or a program reads. The shell
/// calls it on its own thread: it must not wait for a slow reader for long.
pub trait Reporter: Send {
    /// Says one thing, now.
    fn report(&mut self, report: &Report);

    /// The text of the status board.
    fn board(&mut self, board: &Board) -> String;

    /// The same for programs, as JSON.
    fn status(&mut self, board: &Board) -> String;

    /// What is said to one who asked for something.
    fn answer(&mut self, answer: &Answer) -> String;
}
