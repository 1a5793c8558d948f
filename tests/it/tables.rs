//! Tables of documents whose last column names the tests that show a row.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A row of such a table.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    /// What it tells: all cells but the last.
    pub(crate) cells: Vec<String>,
    /// The tests its last cell names.
    pub(crate) tests: Vec<String>,
}

/// The rows of the tables of a document of this project that have this heading
/// row. Fails where there is none, where a cell is empty, or where a row names no
/// test or one that no end-to-end test of the program is called.
#[track_caller]
pub(crate) fn checked_rows(document: &str, heading: &str) -> Vec<Row> {
    let text = fs::read_to_string(root().join(document)).unwrap_or_else(|e| panic!("{document}: {e}"));
    let rows = rows(&text, heading);
    let faults = faults(&rows, &end_to_end_tests());
    assert!(faults.is_empty(), "in {document}, table '{heading}':\n{faults}");
    rows
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The names of all end-to-end tests of the program that are run each time.
fn end_to_end_tests() -> BTreeSet<String> {
    fn walk(dir: &Path, names: &mut BTreeSet<String>) {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, names);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let functions = text.split("#[test]\nfn ").skip(1);
            names.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
    let mut names = BTreeSet::new();
    walk(&root().join("bins/gpusched/tests/it"), &mut names);
    names
}

/// The rows of the tables of a text that have this heading row.
fn rows(text: &str, heading: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == heading) {
        let table = lines.by_ref().take_while(|line| line.starts_with('|'));
        rows.extend(table.skip(1).map(row));
    }
    rows
}

fn row(line: &str) -> Row {
    // A bar in a cell is written with a backslash before it.
    let bar = "\u{0}";
    let line = line.replace("\\|", bar);
    let inner = line.strip_prefix('|').unwrap_or(&line);
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let mut cells: Vec<String> = inner.split('|').map(|cell| cell.trim().replace(bar, "|")).collect();
    let named = cells.pop().unwrap_or_default();
    let tests = named.split(", ").filter(|name| !name.is_empty());
    Row { tests: tests.map(|name| name.trim_matches('`').to_owned()).collect(), cells }
}

/// What is wrong with the rows, a line each.
fn faults(rows: &[Row], tests: &BTreeSet<String>) -> String {
    let mut faults = if rows.is_empty() { "it has no row\n".to_owned() } else { String::new() };
    let columns = rows.first().map_or(0, |row| row.cells.len());
    for Row { cells, tests: named } in rows {
        let told = cells.join(" | ");
        if cells.len() != columns || cells.iter().any(String::is_empty) {
            let _ = writeln!(faults, "{told}: a cell is empty, or there are too few or too many");
        }
        if named.is_empty() {
            let _ = writeln!(faults, "{told}: no test shows it");
        }
        for name in named.iter().filter(|name| !tests.contains(*name)) {
            let _ = writeln!(faults, "{told}: there is no test {name}");
        }
    }
    faults
}

/// The names that stand in a text as code, without a value: of `--gpus 0,1`,
/// `vram=18G` and `vram now` the names are `--gpus`, `vram` and `vram now`.
pub(crate) fn code_names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter_map(|code| {
        let end = if code.starts_with('-') { [' ', '='] } else { ['=', '='] };
        code.split(end).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, expect: &str) {
        let text =
            format!("Words.\n\n| then | now | tests |\n|---|---|---|\n{table}\n\nMore.\n| a | b | c |\n");
        let there = ["one".to_owned(), "two".to_owned()].into();
        assert_eq!(faults(&rows(&text, "| then | now | tests |"), &there), expect, "{table}");
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told() {
        check("| a \\| b | c | `one`, `two` |\n| d | e | `two` |", "");
        check("", "it has no row\n");
        check("| a | b |  |", "a | b: no test shows it\n");
        check("| a | b | `three` |", "a | b: there is no test three\n");
        check("| a | b | `one` `two` |", "a | b: there is no test one` `two\n");
        check("| a |  | `one` |", "a | : a cell is empty, or there are too few or too many\n");
        check("| a | b | `one` |\n| c | `one` |", "c: a cell is empty, or there are too few or too many\n");
    }

    #[test]
    fn all_tables_with_the_heading_count() {
        let table = "| then | now | tests |\n|---|---|---|\n| a | b | `one` |\n";
        let text = format!("{table}\n| other | tests |\n|---|---|\n| c | `two` |\n\n{table}");
        let rows = rows(&text, "| then | now | tests |");
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[1],
            Row { cells: vec!["a".to_owned(), "b".to_owned()], tests: vec!["one".to_owned()] }
        );
    }

    #[test]
    fn names_in_code() {
        let names: Vec<&str> = code_names("`--gpus 0,1` and `vram=18G`, or `vram now`").collect();
        assert_eq!(names, ["--gpus", "vram", "vram now"]);
    }
}
