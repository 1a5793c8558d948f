//! The table of the Python tool's faults: it has all of them, and each has a
//! test that there is.

use crate::tables::checked_rows;

const FAULTS: usize = 34;

#[test]
fn every_fault_has_a_test_that_is_there() {
    let rows = checked_rows("tests/faults.md", "| # | the Python tool | here | tests |");
    let numbers: Vec<&str> = rows.iter().map(|row| row.cells[0].as_str()).collect();
    let expected: Vec<String> = (1..=FAULTS).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
}
