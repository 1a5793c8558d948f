//! The table of the Python tool's faults: it has all of them, and each has a
//! test that there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const FAULTS: usize = 34;

/// The names of all tests of the program in `dir`.
fn tests(dir: &Path, names: &mut BTreeSet<String>) {
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            tests(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let functions = text.split("#[test]\nfn ").skip(1);
        names.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
    }
}

#[test]
fn every_fault_has_a_test_that_is_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("faults.md")).unwrap();
    let mut names = BTreeSet::new();
    tests(&here.join("../bins/gpusched/tests/it"), &mut names);
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> =
        table.lines().filter(|line| line.starts_with("| ")).skip(1).map(cells).collect();
    let numbers: Vec<&str> = rows.iter().map(|cells| cells[0].as_str()).collect();
    let expected: Vec<String> = (1..=FAULTS).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    for cells in &rows {
        let [number, fault, here, named] = cells.as_slice() else { panic!("{cells:?} has not four cells") };
        assert!(!fault.is_empty() && !here.is_empty(), "{number} is not told");
        let named: Vec<&str> = named.split(", ").map(|name| name.trim_matches('`')).collect();
        let missing: Vec<_> = named.iter().filter(|name| !names.contains(**name)).collect();
        assert!(missing.is_empty(), "{number}: there is no test {missing:?}");
    }
}
