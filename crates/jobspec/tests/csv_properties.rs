//! What holds for any CSV file, and for any line that is written for one.

use jobspec::{CsvJob, Format, csv_line, detect_format, digest_of, parse_jobs_file_as};
use model::{GpuIndex, GpuSet};
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

/// Text with everything that quoting can trip over, but for line breaks.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("--x"),
        Just(" "),
        Just(","),
        Just("\""),
        Just("'"),
        Just("\\"),
        Just("#"),
        Just("["),
        Just("]"),
        Just("="),
        Just("$"),
        Just("!"),
        Just("^"),
        Just("`"),
        Just("{gpus}"),
        Just("|"),
        Just("\t"),
        Just("\u{a0}"),
        Just("\u{feff}"),
        Just("ß"),
        Just("🦀"),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Words, and a text that says them as somebody may write it.
fn arguments() -> impl Strategy<Value = (Vec<String>, String)> {
    let quote = |word: &String, style: u8| match style {
        0 => format!("'{}'", word.replace('\'', "'\\''")),
        1 => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
        _ if word.is_empty() => "''".to_owned(),
        _ => word.chars().flat_map(|c| ['\\', c]).collect(),
    };
    let between = prop_oneof![Just(" "), Just("\t "), Just("  ")];
    prop::collection::vec((nasty(), 0..3_u8, between), 0..4).prop_map(move |words| {
        let text = words.iter().map(|(word, style, blank)| quote(word, *style) + blank).collect();
        (words.into_iter().map(|(word, _, _)| word).collect(), text)
    })
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

    #[test]
    fn a_written_line_is_that_job(
        priority in any::<i32>(),
        script in nasty().prop_filter("a script", |script| !script.is_empty()),
        conda in prop::option::of(nasty().prop_filter("a name", |name| !name.is_empty())),
        (words, arguments) in arguments(),
        gpus in prop::option::of(prop::collection::vec((0..128_u16).prop_map(GpuIndex), 1..6)),
    ) {
        let gpus: Option<GpuSet> = gpus.map(|gpus| gpus.into_iter().collect());
        let job = CsvJob { priority, script, conda, arguments, gpus };
        let line = csv_line(&job).unwrap();
        let (file, errors) = parse_jobs_file_as(line.as_str(), None);
        prop_assert_eq!(errors, [], "{}", line);
        prop_assert_eq!((file.format(), file.len()), (Format::Csv, 1), "{}", line);
        let attributes = file.attributes(0);
        prop_assert_eq!((attributes.priority, attributes.on), (job.priority, job.gpus));
        prop_assert_eq!(attributes.setting.script.as_deref(), Some(job.script.as_str()));
        prop_assert_eq!(attributes.setting.conda.as_deref(), job.conda.as_deref());
        prop_assert_eq!(&shlex::split(file.command(0)).unwrap()[3..], words.as_slice(), "{}", line);
    }
}
