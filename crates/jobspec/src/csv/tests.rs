use std::sync::Arc;

use super::*;
use crate::{Format, JobsFile, align, parse_jobs_file, parse_jobs_file_as};

fn read(text: &str) -> (JobsFile, Vec<SyntaxError>) {
    parse_jobs_file_as(text, Some(Format::Csv))
}

/// One line for each job, `line: [priority on GPUs] what it goes by`, for each
/// duplicate and for each error.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let (file, errors) = read(text);
    let job = |i| {
        let wants: &Attributes = file.attributes(i);
        assert_eq!((wants.gpus, wants.vram, wants.cuda), (None, None, Some(CudaIds::Index)));
        let on = wants.on.map(|on| format!(" on {on}")).unwrap_or_default();
        format!("{}: [{}{on}] {}", file.line_no(i), wants.priority, file.identity(i))
    };
    let duplicates = file.duplicates().iter().map(|again| format!("{}: is {}", again.line, again.of));
    let told = errors.iter().map(ToString::to_string);
    let found: Vec<String> = (0..file.len()).map(job).chain(duplicates).chain(told).collect();
    assert_eq!(found, expect, "{text:?}");
}

/// The error of a line and the text it points to.
#[track_caller]
fn check_error(line: &str, place: &str, expect: &str) {
    let (file, errors) = read(line);
    let [error] = errors.as_slice() else { panic!("{line:?}: {errors:?}") };
    assert!(file.is_empty(), "{line:?}");
    let told = error.to_string();
    let (_, told) = told.split_once(": ").unwrap();
    assert_eq!((&line[error.span.clone()], told), (place, expect), "{line:?}");
}

#[test]
fn lines() {
    check("", &[]);
    check("\u{feff}priority,script\n\n  # 0,x\n0,a.py", &["4: [0] python -u a.py"]);
    check("\"Priority\", script\n0,a.py\npriority\n", &["2: [0] python -u a.py"]);
    check(
        "0,a.py,,,\r\n-7 , b.py , llm , , \r\n",
        &["1: [0] python -u a.py", "2: [-7] [conda=llm] python -u b.py"],
    );
    check("+2,a.py,,--lr 0.1 --bs  8,0-3", &["1: [2 on 0-3] python -u a.py --lr 0.1 --bs 8"]);
}

#[test]
fn the_lines_of_the_old_guide() {
    check(
        "# Comments start with #\n\
         0,/path/to/train.py,pytorch_env,--llm qwen2.5-7b-inst --epochs 100,0-3\n\
         1,/path/to/eval.py,pytorch_env,--llm qwen2.5-3b-inst --dataset test,\n\
         2,/path/to/inference.py,,--llm qwen2.5-32b-inst --batch_size 1,4,5,6,7\n",
        &[
            "2: [0 on 0-3] [conda=pytorch_env] python -u /path/to/train.py --llm qwen2.5-7b-inst --epochs 100",
            "3: [1] [conda=pytorch_env] python -u /path/to/eval.py --llm qwen2.5-3b-inst --dataset test",
            "4: [2 on 4-7] python -u /path/to/inference.py --llm qwen2.5-32b-inst --batch_size 1",
        ],
    );
}

#[test]
fn quoted_fields() {
    check(
        "\"1\",\"a b.py\",\"my env\",\"--l 1,2,3\",\"4,5\"",
        &["1: [1 on 4,5] [conda=my env] python -u 'a b.py' --l '1,2,3'"],
    );
    check("0, \"a.py\" ,,\"\"", &["1: [0] python -u a.py"]);
    check("0,a.py,,\"--say \"\"a, b\"\" --x\",", &["1: [0] python -u a.py --say 'a, b' --x"]);
    check("0,a.py,,--say \"a b\",0", &["1: [0 on 0] python -u a.py --say 'a b'"]);
    check("0,\"\"\"a\"\".py\",,,", &["1: [0] python -u '\"a\".py'"]);
    check("0,a\"b.py,", &["1: [0] python -u 'a\"b.py'"]);
}

#[test]
fn words_are_quoted_for_the_shell() {
    check(
        r"0,a.py,,--x 'a  b' $HOME;ls | # \\ ''",
        &[r#"1: [0] python -u a.py --x 'a  b' '$HOME;ls' '|' '#' "\\" ''"#],
    );
}

#[test]
fn what_is_no_integer() {
    check_error(
        "high,a.py",
        "high",
        "priority must be an integer, got 'high'; a line is \
        priority,script,conda,arguments,allowed_gpus, such as 0,train.py,,--lr 0.1,0-3",
    );
    check(
        " 0,a.py\n python a.py \"b\n",
        &[
            "1: [0] python -u a.py",
            "line 2, column 2: priority must be an integer, got 'python a.py \"b'; a line is \
         priority,script,conda,arguments,allowed_gpus, such as 0,train.py,,--lr 0.1,0-3",
        ],
    );
    let (_, errors) = parse_jobs_file_as("0,a.py\npython b.py", None);
    assert_eq!(
        errors[0].to_string(),
        "line 2, column 1: priority must be an integer, got 'python b.py'; the file is CSV by its first \
         job; with --format lines it is read as shell commands"
    );
    for (line, place) in [(" ,a.py", ","), ("\"\",a.py", "\"\""), ("1.5,a.py", "1.5"), ("+-1,a.py", "+-1")] {
        let (_, errors) = read(line);
        let told = errors[0].kind.to_string();
        assert!(told.starts_with("priority must be an integer"), "{told}");
        assert_eq!(&line[errors[0].span.clone()], place);
    }
    check_error("9999999999,a.py", "9999999999", "priority is out of range, got 9999999999");
}

#[test]
fn what_has_no_script() {
    let expect = "there is no script; a line is priority,script,conda,arguments,allowed_gpus, \
                  such as 0,train.py,,--lr 0.1,0-3";
    check_error("0", "0", expect);
    check_error("0,", ",", expect);
    check_error("0 , ,env", ",", expect);
    check_error("0,\"\",env", "\"\"", expect);
}

#[test]
fn quotes_that_do_not_fit() {
    let open = "unterminated quoted field; end it with a double quote, and write those inside it twice";
    check_error("0,\"a.py,,--x 1", "\"a.py,,--x 1", open);
    check_error("0,a.py,,\"--x \"\"1\"\"", "\"--x \"\"1\"\"", open);
    let behind = |text: &str, written: &str| {
        let advice = "put the quotes around the whole field, and write those inside it twice";
        format!("'{text}' follows a quoted field; {advice}: {written}")
    };
    check_error("0, \"a\" b.py,x", "b.py", &behind("b.py", "\"\"\"a\"\" b.py\""));
    let line = "0,a.py,,\"a, b\" --x \"c,d\" ,0-3";
    check_error(line, "--x \"c", &behind("--x \"c", "\"\"\"a, b\"\" --x \"\"c,d\"\"\",0-3"));
    check_error("0,a.py,,,\"0\",1", ",1", &behind(",1", "\"\"\"0\"\",1\""));
}

#[test]
fn arguments_without_an_end() {
    let advice = "where a comma belongs to the arguments, put double quotes around them";
    check_error(
        "0,a.py,,--say \"a, b\",0-3",
        "\"a",
        &format!(
            "cannot split the arguments '--say \"a': no closing quotation; {advice}: \"--say \"\"a, b\"\"\",0-3"
        ),
    );
    check_error(
        "0,a.py,,it's",
        "'s",
        "cannot split the arguments 'it's': no closing quotation; \
        close the quotation, or put a backslash before the quote",
    );
    check_error(
        "0,a.py,,\"it's, x\",0",
        "\"it's, x\"",
        "cannot split the arguments 'it's, x': no closing \
        quotation; close the quotation, or put a backslash before the quote",
    );
    check_error(
        "0,a.py,,x\\",
        "\\",
        "cannot split the arguments 'x\\': nothing follows the backslash at \
        its end; write it twice",
    );
}

#[test]
fn commas_in_the_arguments_are_not_guessed_at() {
    let advice = "where the comma before it belongs to the arguments, put double quotes around them";
    check_error(
        "3,s.py,e,--l 1,2,0,1-2 --x",
        "2,0,1-2 --x",
        &format!(
            "allowed_gpus must be a list of GPUs, got '2,0,1-2 --x' (item 3, '1-2 --x', is not the index of a \
         GPU); {advice}: \"--l 1,2,0,1-2 --x\""
        ),
    );
    check_error(
        "0,s.py,,--layers 1,2,3 --sleep 0.1,0-3",
        "2,3 --sleep 0.1,0-3",
        &format!(
            "allowed_gpus must be a list of GPUs, got '2,3 --sleep 0.1,0-3' (item 2, '3 --sleep 0.1', is not \
         the index of a GPU); {advice}: \"--layers 1,2,3 --sleep 0.1\",0-3"
        ),
    );
    let unclear = |value: &str, written: &str| {
        format!(
            "GPUs that do not ascend may be arguments, got '{value}'; put double quotes around the \
             arguments, {written}, or list the GPUs in ascending order"
        )
    };
    check_error("3,s.py,e,--l 1,2,0,1-2", "2,0,1-2", &unclear("2,0,1-2", "\"--l 1,2\",0,1-2"));
    check_error("0,s.py,,--l 1,2,3,0-3", "2,3,0-3", &unclear("2,3,0-3", "\"--l 1,2,3\",0-3"));
    check(
        "0,s.py,,,3,1-2\n0,t.py,,\"--l 1\",3,1\n0,u.py,,--x,\"3,1\"",
        &[
            "1: [0 on 1-3] python -u s.py",
            "2: [0 on 1,3] python -u t.py --l 1",
            "3: [0 on 1,3] python -u u.py --x",
        ],
    );
    let list = "write indices and ranges with commas between them, such as 0-3,5";
    let not = |value: &str, item: &str| {
        format!(
            "allowed_gpus must be a list of GPUs, got '{value}' ({item}, is not the index of a GPU); {list}"
        )
    };
    check_error(
        "0,s.py,,--l 1,2,",
        "2,",
        &format!(
            "allowed_gpus must be a list of GPUs, got '2,' (item 2, '', is empty); {advice}: \"--l 1,2\""
        ),
    );
    check_error("0,s.py,,, gpu1", "gpu1", &not("gpu1", "item 1, 'gpu1'"));
    check_error("0,s.py,,\"--x\",200 ", "200", &not("200", "item 1, '200'"));
    check_error("0,s.py,,--x,\"0,x\"", "\"0,x\"", &not("0,x", "item 2, 'x'"));
}

#[test]
fn what_no_program_can_be_given() {
    check_error(
        "0,a.py,,\0",
        "\0",
        "the command contains a NUL byte; remove it: it can't be passed to a shell",
    );
    let (file, errors) = read(&format!("0,a.py,,{0}\n0,a.py,,{0}xx\n", "x".repeat(LONGEST_COMMAND - 16)));
    assert_eq!((file.len(), file.command(0).len(), errors.len()), (1, LONGEST_COMMAND - 1, 1));
    let (line, length) = (errors[0].line.0, LONGEST_COMMAND + 1);
    assert_eq!((line, &errors[0].kind), (2, &SyntaxErrorKind::LongCommand { length }));
}

#[test]
fn columns_count_characters() {
    let place = |text: &str| {
        let (_, errors) = read(text);
        errors[0].to_string().split_once(": ").map(|(place, _)| place.to_owned())
    };
    assert_eq!(place("0,ä.py,,é,x").as_deref(), Some("line 1, column 11"));
    assert_eq!(place("\u{feff}  x,ä.py").as_deref(), Some("line 1, column 3"));
}

#[test]
fn the_same_script_arguments_and_environment_are_one_job() {
    check(
        "0,a.py,e,--x 1,0\n5,a.py,f,--x 1\n9, a.py ,e,'--x'  1,1\n1,b.py\nx\n0,a.py,e,--x 1\n",
        &[
            "1: [0 on 0] [conda=e] python -u a.py --x 1",
            "2: [5] [conda=f] python -u a.py --x 1",
            "4: [1] python -u b.py",
            "3: is 1",
            "6: is 1",
            "line 5, column 1: priority must be an integer, got 'x'; a line is \
         priority,script,conda,arguments,allowed_gpus, such as 0,train.py,,--lr 0.1,0-3",
        ],
    );
    check(
        "0,a.py,,--lr 1 --bs 2\n0,a.py,,--lr 2 --bs 1\n0,a.py,,--bs 2 --lr 1\n",
        &[
            "1: [0] python -u a.py --lr 1 --bs 2",
            "2: [0] python -u a.py --lr 2 --bs 1",
            "3: [0] python -u a.py --bs 2 --lr 1",
        ],
    );
}

#[test]
fn what_a_job_is_told_by() {
    let text: Arc<str> = "0,a.py,e\n0,a.py\n".into();
    let (file, _) = parse_jobs_file_as(Arc::clone(&text), None);
    let (lines, _) = parse_jobs_file("[conda=e] python -u a.py\npython -u a.py\n");
    assert_eq!((file.format(), lines.format()), (Format::Csv, Format::Lines));
    assert!(Arc::ptr_eq(file.text(), &text));
    assert_eq!(file.command(0), file.command(1));
    assert_eq!(file.digest(0), crate::digest_of("[conda=e] python -u a.py"));
    assert_ne!(file.text_hash(0), file.text_hash(1));
    assert_eq!((file.key(1), file.text_hash(1)), (lines.key(0), lines.text_hash(0)));
    assert_eq!(file.attributes(0).setting.script.as_deref(), Some("a.py"));
    let (edited, _) = read("3,a.py,,,1\n-1,a.py,e\n");
    let alignment = align(&file, &edited);
    assert_eq!(alignment.origin(0), crate::Origin::Kept(1));
    assert_eq!(alignment.origin(1), crate::Origin::Moved(0));
}

#[test]
fn a_block_before_the_fields_says_more() {
    let (file, errors) = read(
        "[vram=8G gpus=2 name=a cwd=/x env.SEED=7 conda=one on=1 priority=9 timeout=1h] 0,a.py,,--x,\n\
         [conda=one on=1 cuda=visible] -3,a.py,two,,0\n",
    );
    assert_eq!(errors, []);
    let wants = file.attributes(0);
    assert_eq!((wants.vram, wants.gpus), (Some(model::Mib::new(8192)), model::GpuNeed::parse("2").ok()));
    assert_eq!((wants.priority, wants.on, wants.cuda), (0, GpuSet::parse("1").ok(), Some(CudaIds::Index)));
    assert_eq!((wants.setting.cwd.as_deref(), wants.setting.env.len()), (Some("/x"), 1));
    assert_eq!(file.identity(0), "[conda=one] python -u a.py --x");
    // What a field says counts before the block.
    let wants = file.attributes(1);
    assert_eq!((wants.priority, wants.on, wants.cuda), (-3, GpuSet::parse("0").ok(), Some(CudaIds::Visible)));
    assert_eq!((file.identity(1), file.command(1)), ("[conda=two] python -u a.py", "python -u a.py"));
    check_error("[vram=x] 0,a.py", "vram=x", "cannot parse vram value 'x' (use MiB or a G/GiB suffix)");
    check_error("[vram=8G 0,a.py", "[vram=8G 0,a.py", "unterminated '[...]' attribute block");
    let no_script = "there is no script; a line is priority,script,conda,arguments,allowed_gpus, \
                     such as 0,train.py,,--lr 0.1,0-3";
    check_error("[vram=8G] 0,", ",", no_script);
    assert_eq!(crate::detect_format("[vram=8G] 0,a.py"), Some(Format::Csv));
    assert_eq!(crate::detect_format("[vram=8G] echo 0,a.py"), Some(Format::Lines));
}
