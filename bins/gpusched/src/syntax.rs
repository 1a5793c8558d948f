//! Shows what is wrong with a jobs file, and where.

use driver::jobsfile::JobsFileError;
use driver::medium::words;
use jobspec::SyntaxError;

use crate::failure::Failure;

/// More errors than this are counted, not shown.
const MOST_SHOWN: usize = 10;

/// Of a long line, so many characters before and after the place are shown.
const AROUND: usize = 60;

/// The failure to start with a jobs file.
pub fn failure(error: &JobsFileError) -> Failure {
    match error {
        JobsFileError::File(error) => Failure::usage(format!(
            "cannot read jobs file: {}: {}",
            error.path.display(),
            words(&error.source)
        )),
        JobsFileError::NotRegular { path, what } => Failure::usage(format!(
            "cannot read jobs file: {}: it is {what}, not a regular file",
            path.display()
        )),
        JobsFileError::TooLarge { path } => {
            Failure::usage(format!("cannot read jobs file: {}: it is larger than 256 MiB", path.display()))
        }
        JobsFileError::NotUtf8 { .. } => Failure::usage(format!("jobs file {error}")),
        JobsFileError::Syntax { text, errors } => Failure::usage(all(text, errors)),
    }
}

fn all(text: &str, errors: &[SyntaxError]) -> String {
    let mut parts: Vec<String> = errors.iter().take(MOST_SHOWN).map(|error| one(text, error)).collect();
    if let Some(more @ 1..) = errors.len().checked_sub(MOST_SHOWN) {
        parts.push(format!("{more} more errors in the jobs file"));
    }
    parts.join("\ngpusched: ")
}

/// The error, its line, and the place underlined.
fn one(text: &str, error: &SyntaxError) -> String {
    let at = usize::try_from(error.line.0).unwrap_or_default().saturating_sub(1);
    let line = text.lines().nth(at).unwrap_or_default();
    let columns = |range: std::ops::Range<usize>| line.get(range).map_or(0, |part| part.chars().count());
    let before = columns(0..error.span.start);
    let marked = columns(error.span.clone()).max(1);
    let first = before.saturating_sub(AROUND);
    let last = before + marked.min(AROUND) + AROUND;
    let shown: String =
        line.chars().take(last).skip(first).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let cut = |is_cut: bool| if is_cut { "…" } else { "" };
    format!(
        "jobs file {error}\n    {}{}{}\n    {}{}",
        cut(first > 0),
        shown.trim_end(),
        cut(line.chars().nth(last).is_some()),
        " ".repeat(before - first + usize::from(first > 0)),
        "^".repeat(marked.min(AROUND + AROUND))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let (_, errors) = jobspec::parse_jobs_file(text);
        assert_eq!(all(text, &errors), expect);
    }

    #[test]
    fn the_place_is_underlined() {
        check(
            "echo a\n  [gpus=1 vram=8k] python train.py\n",
            "jobs file line 2: cannot parse vram value '8k' (use MiB or a G/GiB suffix)\n      \
             [gpus=1 vram=8k] python train.py\n              ^^^^^^^",
        );
    }

    #[test]
    fn characters_count_not_bytes() {
        check(
            "[é] a",
            "jobs file line 1: malformed attribute 'é' (expected key=value, or bare 'cancel')\n    [é] a\n     ^",
        );
    }

    #[test]
    fn places_of_a_csv_file_have_a_column() {
        let text = "priority,script\n0,ä.py,,--l 1,2 --x\n";
        let (_, errors) = jobspec::parse_jobs_file_as(text, None);
        let shown = all(text, &errors);
        assert!(shown.starts_with("jobs file line 2, column 15: allowed_gpus must be"), "{shown}");
        assert!(shown.ends_with("\n    0,ä.py,,--l 1,2 --x\n                  ^^^^^"), "{shown}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("[{}gpus=x] {}", "gpus=1 ".repeat(30), "y".repeat(300));
        let (_, errors) = jobspec::parse_jobs_file(text.as_str());
        let shown = all(&text, &errors);
        let lines: Vec<&str> = shown.lines().collect();
        let (from, to) = (lines[2].find('^').unwrap(), lines[2].rfind('^').unwrap());
        let place: String = lines[1].chars().skip(from).take(to + 1 - from).collect();
        assert_eq!(place, "gpus=x", "{shown}");
        assert!(lines[1].chars().count() < 140 && lines[1].ends_with('…'), "{shown}");
    }

    #[test]
    fn ten_errors_are_shown() {
        let text = "[x] y\n".repeat(12);
        let (_, errors) = jobspec::parse_jobs_file(text.as_str());
        let shown = all(&text, &errors);
        assert_eq!(shown.matches("malformed attribute").count(), 10);
        assert!(shown.ends_with("\ngpusched: 2 more errors in the jobs file"), "{shown}");
    }
}
