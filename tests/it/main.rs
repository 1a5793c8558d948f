//! Tests across crates.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fairness;
mod fault_table;
mod promise_tables;
mod simulation;
mod tables;
mod tidy;
