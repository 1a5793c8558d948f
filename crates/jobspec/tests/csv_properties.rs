//! What holds for any CSV file.

use jobspec::{Format, detect_format, digest_of, parse_jobs_file_as};
use proptest::prelude::*;

/// Text that is a CSV file more often than not.
fn csv_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just(","),
        Just(","),
        Just(", "),
        Just("\n0,a.py,"),
        Just("\n-1,b.py,env,--x 1,0-3"),
        Just("\r\n"),
        Just("priority"),
        Just("a.py"),
        Just("\""),
        Just("\"\""),
        Just("'"),
        Just("\\"),
        Just("4,5"),
        Just("12"),
        Just(" "),
        Just("#"),
        Just("["),
        Just("\u{feff}"),
        Just("\0"),
        Just("\u{2003}"),
        Just("ß"),
    ];
    let pieces = prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, "(\\PC|\n|,|\"){0,80}"]
}

proptest! {
    #[test]
    fn every_line_is_a_job_an_error_a_duplicate_or_nothing(text in csv_text()) {
        let (file, errors) = parse_jobs_file_as(text.as_str(), Some(Format::Csv));
        let body = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let is_something = |line: &&str| {
            let first = line.split(',').next().unwrap_or_default().trim();
            let is_header = ["priority", "\"priority\""].contains(&first);
            !line.is_empty() && !line.starts_with('#') && !is_header
        };
        let lines = body.split('\n').map(str::trim).filter(is_something);
        prop_assert_eq!(file.len() + errors.len() + file.duplicates().len(), lines.count());
    }

    #[test]
    fn what_is_told_of_a_job_is_so(text in csv_text()) {
        let (file, _) = parse_jobs_file_as(text.as_str(), Some(Format::Csv));
        for i in 0..file.len() {
            let words = shlex::split(file.command(i)).unwrap();
            let attributes = file.attributes(i);
            prop_assert_eq!(&words[..2], ["python", "-u"]);
            prop_assert_eq!(Some(words[2].as_str()), attributes.setting.script.as_deref());
            let identity = match &attributes.setting.conda {
                Some(conda) => format!("[conda={conda}] {}", file.command(i)),
                None => file.command(i).to_owned(),
            };
            prop_assert_eq!(file.identity(i), &identity);
            prop_assert_eq!((file.digest(i), file.occurrence(i)), (digest_of(&identity), 0));
            prop_assert!((0..i).all(|j| file.identity(j) != identity && file.line_no(j) < file.line_no(i)));
        }
        for again in file.duplicates() {
            prop_assert!(again.of < again.line);
            prop_assert!((0..file.len()).any(|i| file.line_no(i) == again.of));
        }
    }

    #[test]
    fn what_is_told_of_an_error_is_so(text in csv_text()) {
        let (_, errors) = parse_jobs_file_as(text.as_str(), Some(Format::Csv));
        let lines: Vec<&str> = text.split('\n').collect();
        for error in errors {
            let line = lines[error.line.0 as usize - 1];
            prop_assert!(line.get(error.span.clone()).is_some_and(|span| !span.is_empty()), "{error:?}");
            let column = line[..error.span.start].trim_start_matches('\u{feff}').chars().count() + 1;
            let prefix = format!("line {}, column {column}: ", error.line);
            prop_assert!(error.to_string().starts_with(&prefix), "{error}");
        }
    }

    #[test]
    fn any_text_is_read_in_the_format_it_has(text in csv_text()) {
        let (file, _) = parse_jobs_file_as(text.as_str(), None);
        prop_assert_eq!(file.format(), detect_format(&text).unwrap_or(Format::Lines));
    }
}
