//! Jobs files of the CSV kind: each column, what a line becomes, and which lines
//! are the same job.

use e2e::wait_until;

use crate::place::{LONG, Place};
use crate::scheduler::{script_place, started};

/// Tells its words, its GPUs and its Python environment, a line each time.
const SCRIPT: &str = "import os, sys\n\
    with open('seen', 'a') as seen:\n    \
        print(sys.argv[1:], os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('CONDA_DEFAULT_ENV'), file=seen)\n\
    sys.exit(3 if '--fail' in sys.argv else 0)\n";

/// A place with the script `train.py` and these jobs; nothing where there is no
/// Python.
fn place(jobs: &str) -> Option<Place> {
    script_place(jobs, SCRIPT)
}

/// Waits until the script has told so many lines, and gives them sorted.
#[track_caller]
fn seen(place: &Place, lines: usize) -> Vec<String> {
    wait_until("the scripts have run", LONG, || place.read("seen").lines().count() >= lines);
    let mut seen: Vec<String> = place.read("seen").lines().map(str::to_owned).collect();
    seen.sort_unstable();
    seen
}

#[test]
fn the_file_of_the_readme_means_what_it_says() {
    let Some(place) = place(
        "priority,script,conda,arguments,allowed_gpus\n\
         # Comments start with #\n\
         0,train.py,,--llm qwen2.5-7b-inst --epochs 100,0-3\n\n\
         1,train.py,,--llm qwen2.5-3b-inst --dataset test,\n\
         2,train.py,,--llm qwen2.5-32b-inst --batch_size 1,1,4,5,6,7\n",
    ) else {
        return;
    };
    let running = started(&place, &[]);
    running.wait_for("3 jobs queued");
    running.wait_for("queue drained");
    let seen = seen(&place, 3);
    assert!(
        seen[0].starts_with("['--llm', 'qwen2.5-32b-inst', '--batch_size', '1', '--cuda', '1'] 1 "),
        "{seen:?}"
    );
    assert!(seen[1].starts_with("['--llm', 'qwen2.5-3b-inst', '--dataset', 'test', '--cuda', "), "{seen:?}");
    assert!(
        seen[2].starts_with("['--llm', 'qwen2.5-7b-inst', '--epochs', '100', '--cuda', '0'] 0 "),
        "{seen:?}"
    );
}

#[test]
fn a_csv_file_also_runs_to_its_end_in_the_foreground() {
    let Some(place) = place("0,train.py\n[name=second vram=1G] 0,train.py,,--fail\n") else { return };
    let done = place.start(place.queue(&[])).wait();
    done.exits(3).says("2 jobs queued").says("declared 1024 MiB/gpu) — second: python -u train.py");
    done.says("job 2 finished [EXIT 3]");
    assert_eq!(seen(&place, 2).len(), 2);
    // What looks like CSV and is not.
    let place = Place::new("1,2 2>/dev/null; echo ran > ran\n");
    place.run(&["--format", "lines"]).exits(0);
    assert_eq!(place.read("ran"), "ran\n");
}

#[test]
fn arguments_reach_the_script_as_they_were_written() {
    let Some(place) = place(
        "0,train.py,,\"--layers 1,2,3 --text \"\"it's $HOME; `x` # no\"\" --empty '' --sleep 0.1\",\n\
         0,train.py,,--pattern *.py --home ~ --tab 'a\tb',0\n",
    ) else {
        return;
    };
    let running = started(&place, &[]);
    running.wait_for("queue drained");
    let seen = seen(&place, 2);
    let expect = r#"['--layers', '1,2,3', '--text', "it's $HOME; `x` # no", '--empty', '', '--sleep', '0.1', '--cuda', "#;
    assert!(seen[0].starts_with(expect), "{seen:?}");
    assert!(
        seen[1].starts_with(r"['--pattern', '*.py', '--home', '~', '--tab', 'a\tb', '--cuda', '0'] 0 "),
        "{seen:?}"
    );
}

#[test]
fn a_comma_that_tears_the_arguments_is_an_error() {
    let place = Place::new("0,train.py,,--lr 1,0\n0,train.py,env,--layers 1,2,3 --sleep 0.1\n");
    let done = place.ask(&["start", "--sim", "1"]);
    done.exits(2);
    let first = done.err.lines().next().unwrap();
    assert!(first.starts_with("gpusched: jobs file line 2, column "), "{}", done.err);
    assert!(done.err.contains("\"--layers 1,2,3 --sleep 0.1\""), "the remedy is written out: {}", done.err);
    assert!(done.err.contains('^'), "and the place is shown: {}", done.err);
    for (line, complaint) in [
        ("high,train.py", "high"),
        ("0,,env,--x", "script"),
        ("0,\"train.py", "quot"),
        ("0,train.py,,--x 'y,0", "quot"),
        ("0,train.py,,--x,0-x", "0-x"),
    ] {
        place.write("jobs.txt", &format!("0,a.py\n{line}\n"));
        let done = place.ask(&["start", "--sim", "1"]);
        done.exits(2);
        assert!(done.err.starts_with("gpusched: jobs file line 2, column "), "{line}: {}", done.err);
        assert!(done.err.contains(complaint), "{line}: {}", done.err);
    }
}

#[test]
fn allowed_gpus_are_kept_to() {
    let Some(place) = place("0,train.py,,--a,1\n0,train.py,,--b,0-1\n0,train.py,,--c,7\n") else { return };
    let running = started(&place, &[]);
    running.wait_for("job 3 INFEASIBLE — needs 1 GPUs but only 0 of those it may use (7) are usable");
    running.wait_for("queue drained");
    assert!(seen(&place, 2)[0].starts_with("['--a', '--cuda', '1'] 1 "));
}

#[test]
fn lines_added_to_the_file_are_run() {
    let Some(place) = place("") else { return };
    let running = started(&place, &[]);
    running.wait_for("queue drained");
    let mut file = std::fs::OpenOptions::new().append(true).open(place.path("jobs.txt")).unwrap();
    std::io::Write::write_all(&mut file, b"0,train.py,,--by hand,0-1\n").unwrap();
    drop(file);
    running.wait_for("job 1 finished [OK]");
    assert!(seen(&place, 1)[0].starts_with("['--by', 'hand', "));
}

#[test]
fn a_jobs_file_that_is_not_there_is_made() {
    let Some(place) = place("") else { return };
    std::fs::remove_file(place.path("jobs.txt")).unwrap();
    let running = started(&place, &["--jobs-file", "later.csv"]);
    running.wait_for("made an empty jobs file, later.csv");
    running.wait_for("queue drained");
    place.ask(&["add", "train.py", "--args", "--x", "--output-file", "later.csv"]).exits(0);
    running.wait_for("job 1 finished [OK]");
}

#[test]
fn the_same_job_twice_runs_once() {
    let Some(place) = place("0,train.py,,--x 1,0\n5,train.py,,--x   1,0-1\n0,train.py,,--x 2,0\n") else {
        return;
    };
    let running = started(&place, &[]);
    running.wait_for("line 2 of the jobs file is the same job as line 1: it runs once");
    running.wait_for("2 jobs queued");
    running.wait_for("queue drained");
    assert_eq!(seen(&place, 2).len(), 2);
    // Nor does it run again when it is added again, or after a restart.
    place.ask(&["add", "train.py", "--args", "--x 1"]).exits(0);
    running.wait_for("line 4 of the jobs file is the same job as line 1");
    drop(running);
    let running = started(&place, &[]);
    running.wait_for("2 of them ended in an earlier run");
    running.wait_for("queue drained");
    assert_eq!(place.read("seen").lines().count(), 2);
}

#[test]
fn the_order_of_arguments_matters() {
    let Some(place) = place("0,train.py,,--lr 1 --bs 2,\n0,train.py,,--lr 2 --bs 1,\n") else { return };
    let running = started(&place, &[]);
    running.wait_for("queue drained");
    assert_eq!(seen(&place, 2).len(), 2);
}

#[test]
fn add_writes_a_line_that_runs() {
    let Some(place) = place("") else { return };
    place.write("jobs.txt", "# no line end");
    let words =
        ["add", "train.py", "--args", "--text \"a, b\" --mode train", "--priority", "-3", "--gpus", "0,1"];
    place.ask(&words).exits(0).says(r#"added to jobs.txt: -3,train.py,,"--text ""a, b"" --mode train",0,1"#);
    place.ask(&["add", "train.py", "--conda", "myenv"]).exits(0).says("0,train.py,myenv");
    let text = place.read("jobs.txt");
    assert_eq!(text.lines().count(), 3, "{text}");
    let running = started(&place, &["--max-assign-attempts", "1"]);
    running.wait_for("job 2 was not started — there is no conda environment 'myenv'");
    running.wait_for("job 1 finished [OK]");
    assert!(seen(&place, 1)[0].starts_with("['--text', 'a, b', '--mode', 'train', '--cuda', "));
    for (words, complaint) in [
        (vec!["add", "train.py", "--gpus", "0-x"], "--gpus 0-x: item 1, '0-x', is not the index of a GPU"),
        (vec!["add", "train.py", "--args", "it's"], "quot"),
        (vec!["add", "train\n.py"], "line break"),
        (vec!["add", ""], "script"),
    ] {
        let done = place.ask(&words);
        done.exits(2);
        assert!(done.err.contains(complaint), "{words:?}: {}", done.err);
    }
    assert_eq!(place.read("jobs.txt"), text);
}

#[test]
fn add_prints_the_line_on_request() {
    let place = Place::new("");
    let done = place.ask(&["add", "a b.py", "--args", "--x 1", "--output-file", "-"]);
    assert_eq!(done.exits(0).out, "0,a b.py,,--x 1\n");
    assert_eq!(place.read("jobs.txt"), "");
}

#[test]
fn add_leaves_other_files_alone() {
    let place = Place::new("echo a\n");
    let done = place.ask(&["add", "train.py"]);
    done.exits(2);
    assert!(done.err.contains("jobs.txt holds shell commands, not CSV"), "{}", done.err);
    assert_eq!(place.read("jobs.txt"), "echo a\n");
}

#[test]
fn a_script_is_told_its_gpus_by_cuda() {
    let Some(place) =
        place("0,train.py,,--one,1\n0,train.py,,--cuda 9 --two,1\n0,train.py,,--cuda=9 --three,1\n")
    else {
        return;
    };
    let running = started(&place, &[]);
    running.wait_for("queue drained");
    let expect = ["['--cuda', '1', '--two'] 1 ", "['--cuda=1', '--three'] 1 ", "['--one', '--cuda', '1'] 1 "];
    let all = seen(&place, 3);
    assert!(all.iter().zip(expect).all(|(line, expect)| line.starts_with(expect)), "{all:?}");
    drop(running);
    // By the numbers a job sees behind CUDA_VISIBLE_DEVICES.
    place.edit("0,train.py,,--four,1\n");
    let running = started(&place, &["--cuda-ids", "visible"]);
    running.wait_for("queue drained");
    assert!(seen(&place, 4).iter().any(|line| line.starts_with("['--four', '--cuda', '0'] 1 ")));
}

#[test]
fn commands_are_told_their_gpus_where_they_ask() {
    let words = "echo $0 $* >> seen";
    let place = Place::new(&format!(
        "[cuda on=1] sh -c '{words}' a --cuda 7\n\
         [cuda=visible gpus=2] sh -c '{words}' b\n\
         [on=1] sh -c '{words}' c --device {{gpus}} ${{gpus}}\n\
         sh -c '{words}' d --cuda 7\n"
    ));
    let running = place.started(&[]);
    running.wait_for("queue drained");
    assert_eq!(seen(&place, 4), ["a --cuda 1", "b --cuda 0,1", "c --device 1", "d --cuda 7"]);
    let place = Place::new("[cuda] python a.py | tee log\n");
    let done = place.run(&[]);
    done.exits(2);
    assert!(done.err.contains("--cuda {gpus}"), "{}", done.err);
}
