//! What holds for any text.

use jobspec::{Attributes, CudaIds, align, digest_of, parse_jobs_file, with_gpus};
use model::GpuIndex;
use proptest::prelude::*;

/// Text that is a jobs file more often than not.
fn jobs_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r\n"),
        Just(" "),
        Just("\t"),
        Just("#"),
        Just("["),
        Just("]"),
        Just("vram=8G"),
        Just("gpus=2"),
        Just("timeout=1.5h"),
        Just("retries=-1"),
        Just("cancel"),
        Just("cuda"),
        Just("--cuda"),
        Just("--cuda=1"),
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("|"),
        Just("$("),
        Just("{gpus}"),
        Just("python a.py"),
        Just("\u{feff}"),
        Just("\0"),
        Just("\u{2003}"),
        Just("ß"),
    ];
    let pieces = prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, "(\\PC|\n|\\[|\\]){0,80}"]
}

/// A line that is a job for sure.
fn job() -> impl Strategy<Value = (String, String)> {
    let block = prop_oneof![Just(""), Just("[]"), Just("[vram=8G] "), Just("  [Retries=1\tcancel]\t")];
    (block, "[a-c]{1,3}( [a-c]{1,2}){0,2}")
        .prop_map(|(block, command)| (format!("{block}{command}"), command))
}

proptest! {
    #[test]
    fn every_line_is_a_job_an_error_or_nothing(text in jobs_text()) {
        let (file, errors) = parse_jobs_file(text.as_str());
        let body = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = body.split('\n').map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        prop_assert_eq!(file.len() + errors.len(), lines.count());
    }

    #[test]
    fn what_is_told_of_a_job_is_so(text in jobs_text()) {
        let (file, _) = parse_jobs_file(text.as_str());
        let lines: Vec<&str> = text.split('\n').collect();
        for i in 0..file.len() {
            let command = file.command(i);
            prop_assert!(!command.is_empty() && command == command.trim() && !command.contains('\0'));
            prop_assert!(lines[file.line_no(i).0 as usize - 1].trim_end().ends_with(command));
            prop_assert_eq!(file.digest(i), digest_of(command));
            prop_assert_eq!(file.attributes(i), &file.classes()[file.class(i)]);
            prop_assert!(i == 0 || file.line_no(i - 1) < file.line_no(i));
        }
    }

    #[test]
    fn what_is_told_of_an_error_is_so(text in jobs_text()) {
        let (_, errors) = parse_jobs_file(text.as_str());
        let lines: Vec<&str> = text.split('\n').collect();
        for error in errors {
            let line = lines[error.line.0 as usize - 1];
            prop_assert!(line.get(error.span.clone()).is_some_and(|span| !span.is_empty()), "{error:?}");
            let prefix = format!("line {}: ", error.line);
            prop_assert!(error.to_string().starts_with(&prefix));
        }
    }

    #[test]
    fn equal_commands_have_equal_hashes_and_are_counted(jobs in prop::collection::vec(job(), 0..40)) {
        let text: String = jobs.iter().flat_map(|(line, _)| [line.as_str(), "\n"]).collect();
        let (file, errors) = parse_jobs_file(text);
        prop_assert_eq!(errors, []);
        prop_assert_eq!(file.len(), jobs.len());
        for (i, (_, command)) in jobs.iter().enumerate() {
            prop_assert_eq!(file.command(i), command);
            let earlier = jobs[..i].iter().filter(|(_, other)| other == command).count();
            prop_assert_eq!(file.occurrence(i) as usize, earlier);
            for (j, (_, other)) in jobs.iter().enumerate() {
                prop_assert_eq!(file.text_hash(i) == file.text_hash(j), command == other);
            }
        }
    }

    #[test]
    fn attributes_do_not_change_what_a_job_is(jobs in prop::collection::vec(job(), 0..40)) {
        let text = |lines: Vec<&str>| lines.join("\n");
        let (with, _) = parse_jobs_file(text(jobs.iter().map(|(line, _)| line.as_str()).collect()));
        let (without, _) = parse_jobs_file(text(jobs.iter().map(|(_, command)| command.as_str()).collect()));
        let alignment = align(&without, &with);
        for i in 0..jobs.len() {
            prop_assert_eq!(with.key(i), without.key(i));
            prop_assert_eq!(alignment.origin(i), jobspec::Origin::Kept(i));
            prop_assert_eq!(without.attributes(i), &Attributes::default());
        }
    }

    #[test]
    fn any_command_is_told_its_gpus(text in jobs_text()) {
        let (file, _) = parse_jobs_file(text);
        for i in 0..file.len() {
            let (command, cuda) = (file.command(i), file.attributes(i).cuda);
            let told = with_gpus(command, cuda, &[GpuIndex(5), GpuIndex(7)]);
            let Some(ids) = cuda else {
                let replaced = command.replace("{gpus}", "5,7");
                let is_other = ["{{", "${"].iter().any(|start| command.contains(start));
                prop_assert!(is_other || told == replaced);
                continue;
            };
            let ids = if ids == CudaIds::Index { "5,7" } else { "0,1" };
            let is_told = ["--cuda ", "--cuda="].iter().any(|option| told.contains(&format!("{option}{ids}")));
            prop_assert!(is_told, "{}", told);
            // Told once, it has its place.
            prop_assert_eq!(with_gpus(&told, cuda, &[GpuIndex(5), GpuIndex(7)]), told);
        }
    }

    #[test]
    fn aligning_any_two_files_ends_well(a in jobs_text(), b in jobs_text()) {
        let ((old, _), (new, _)) = (parse_jobs_file(a), parse_jobs_file(b));
        let alignment = align(&old, &new);
        for i in 0..new.len() {
            if let jobspec::Origin::Kept(j) | jobspec::Origin::Moved(j) = alignment.origin(i) {
                prop_assert_eq!(old.command(j), new.command(i));
            }
        }
    }
}
