use super::*;
use crate::LONGEST_COMMAND;

/// One line for each job, `line: command #occurrence`, and for each error.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let (file, errors) = parse_jobs_file(text);
    let jobs =
        (0..file.len()).map(|i| format!("{}: {} #{}", file.line_no(i), file.command(i), file.occurrence(i)));
    let found: Vec<String> = jobs.chain(errors.iter().map(ToString::to_string)).collect();
    assert_eq!(found, expect, "{text:?}");
}

#[test]
fn lines() {
    check("", &[]);
    check("a", &["1: a #0"]);
    check("a\nb\n", &["1: a #0", "2: b #0"]);
    check("\n  \t\n# x\n   # [\n\u{3000}a\u{a0}\n", &["5: a #0"]);
    check("a\r\n\r\nb  c \r\n", &["1: a #0", "3: b  c #0"]);
    check("a # b\n", &["1: a # b #0"]);
    check("a \\\n  b\n", &["1: a \\ #0", "2: b #0"]);
    check("a\nb\na\n[vram=8G] a\nA\n", &["1: a #0", "2: b #0", "3: a #1", "4: a #2", "5: A #0"]);
}

#[test]
fn blocks() {
    check("[]a", &["1: a #0"]);
    check("[ ] a", &["1: a #0"]);
    check("[vram=8G]a [b]", &["1: a [b] #0"]);
    check("[vram=8G] [gpus=2] x", &["1: [gpus=2] x #0"]);
    check("[] [ -f x ] && y", &["1: [ -f x ] && y #0"]);
    check("test -f x && y", &["1: test -f x && y #0"]);
}

#[test]
fn a_byte_order_mark_is_skipped_once_and_at_the_start_only() {
    check("\u{feff}[vram=8G] a\n", &["1: a #0"]);
    check("\u{feff}# a\n", &[]);
    check("a\n\u{feff}b\n", &["1: a #0", "2: \u{feff}b #0"]);
}

#[test]
fn errors_and_remedies() {
    const TEST: &str = "; to start a command with a shell test, write 'test ...' or put '[]' before it";
    let malformed = |line: &str, word: &str, remedy: &str| {
        let expected = "(expected key=value, or bare 'cancel')";
        check(line, &[&format!("line 1: malformed attribute '{word}' {expected}{remedy}")]);
    };
    malformed("[ -f x ] && y", "-f", TEST);
    malformed("[[ -f x ]] && y", "[", TEST);
    malformed("[ \"$x\" = 1 ] && y", "\"$x\"", TEST);
    malformed("[x] y", "x", "");
    malformed("[vram = 8G] y", "vram", "; write key=value without spaces around the '='");
    malformed("[vram=8 G] y", "G", "; write a number and its unit without a space");
    malformed("[cancel, gpus=2] y", "cancel,", "; separate attributes by spaces, not commas");
    malformed("[\u{1b}[2J] y", "\\u{1b}[2J", "");
    let commas = "; separate attributes by spaces, not commas";
    check(
        "[gpus=2,vram=8G] y",
        &[&format!("line 1: gpus must be a number such as 2 or 0.5, got '2,vram=8G'{commas}")],
    );
    check(
        "[cancel=1] y",
        &["line 1: unknown attribute 'cancel' (known: vram, gpus, timeout, retries, \
           cancel, priority, on, cuda, conda, name, cwd, env.NAME); write 'cancel' without a value"],
    );
    check(
        "[timeout=1h30m] y",
        &["line 1: cannot parse duration '1h30m' (use s/m/h/d); write one number \
                                  with one unit, such as 1.5h"],
    );
    check(
        "[vram=99999999999] y",
        &["line 1: vram is too large, got '99999999999'; a number without a \
                                     unit is in MiB"],
    );
    check("[vram=8G", &["line 1: unterminated '[...]' attribute block"]);
    check("[vram=8G] \r\n", &["line 1: attribute block present but command is empty"]);
    check("[bogus]", &["line 1: attribute block present but command is empty"]);
    check(
        "a\nb\0c\n#\0\nd",
        &[
            "1: a #0",
            "4: d #0",
            "line 2: the command contains a NUL byte; remove it: it can't be passed to a shell",
        ],
    );
    let (most, more) = ("x".repeat(LONGEST_COMMAND), "x".repeat(LONGEST_COMMAND + 1));
    let (file, errors) = parse_jobs_file(format!("[gpus=2] {most}\n[gpus=2] {more}\n{more}"));
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let why = "the command is too long: 131072 bytes, and the system takes 131071; \
               put it into a script and run that";
    assert_eq!((file.len(), errors), (1, vec![format!("line 2: {why}"), format!("line 3: {why}")]));
}

#[test]
fn where_the_gpus_belong_must_be_clear() {
    let unclear = |line: &str, piece: &str| {
        let why = format!("cuda: it is unclear where --cuda belongs in a command with '{piece}'");
        check(line, &[&format!("line 1: {why}; write --cuda {{gpus}} where it belongs")]);
    };
    unclear("[cuda] python a.py | tee log", "|");
    unclear("[vram=8G cuda=visible] python a.py # quick", "# quick");
    unclear("[cuda] python a.py 'x", "'x");
    check("[cuda] python a.py --say 'a | b'", &["1: python a.py --say 'a | b' #0"]);
    check("[cuda] python a.py --cuda {gpus} | tee log", &["1: python a.py --cuda {gpus} | tee log #0"]);
    check("python a.py | tee log", &["1: python a.py | tee log #0"]);
}

#[test]
fn spans_count_from_the_start_of_the_line_as_it_is_in_the_file() {
    #[track_caller]
    fn marked(text: &str) -> &str {
        let (_, errors) = parse_jobs_file(text);
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        let line = text.split('\n').nth(error.line.0 as usize - 1);
        &line.expect("a line of the text")[error.span.clone()]
    }
    assert_eq!(marked("a\n \t [vram=8G gpus=0] b"), "gpus=0");
    assert_eq!(marked("\u{feff} [x] b\n"), "x");
    assert_eq!(marked("  [x y \r\n"), "[x y");
    assert_eq!(marked(" [cancel] \n"), "[cancel]");
    assert_eq!(marked(" [cancel] \u{e4}\0b\n"), "\0");
    assert_eq!(marked(" [cuda] \u{e4} ;b\n"), ";");
}

#[test]
fn each_set_of_attributes_is_kept_once() {
    let (file, errors) = parse_jobs_file("a\n[vram=8G] b\n[ ] c\n[vram=8192] d\n[cancel] e\n[vram=8G] f\n");
    assert_eq!(errors, []);
    assert_eq!((0..file.len()).map(|i| file.class(i)).collect::<Vec<_>>(), [0, 1, 0, 1, 2, 1]);
    assert_eq!(file.classes().len(), 3);
    assert_eq!(*file.attributes(0), Attributes::default());
    assert_eq!(file.attributes(3), file.attributes(1));
}

#[test]
fn keys_are_those_of_the_python_tool() {
    let (file, _) = parse_jobs_file("a\n[vram=8G] a\nsh -c 'exit 1'\n");
    assert_eq!(file.key(0).to_string(), "86f7e437faa5#0");
    assert_eq!(file.key(1).to_string(), "86f7e437faa5#1");
    assert_eq!(digest_of("abc"), [0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06]);
}

#[test]
fn other_commands_with_the_same_hash_are_told_apart() {
    let hashes: [fn(&str) -> u64; 3] = [|_| 7, |text| text.len() as u64, |_| u64::MAX];
    for hash in hashes {
        let (file, _) = parse_with("a\nb\nbb\na\nb\ncc\nb\na\n".into(), None, hash);
        let occurrences: Vec<u32> = (0..file.len()).map(|i| file.occurrence(i)).collect();
        assert_eq!(occurrences, [0, 0, 0, 1, 1, 0, 2, 2]);
        for i in 0..file.len() {
            for j in 0..file.len() {
                assert_eq!(file.text_hash(i) == file.text_hash(j), file.command(i) == file.command(j));
            }
        }
    }
}

#[test]
fn an_empty_file_has_no_jobs() {
    assert!(JobsFile::empty().is_empty());
    assert_eq!(JobsFile::empty().len(), 0);
}

#[test]
fn debug_output_has_no_commands() {
    let (file, _) = parse_jobs_file("curl -H 'Token: secret'\n");
    assert!(!format!("{file:?}").contains("secret"));
}
