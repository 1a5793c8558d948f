//! Tests across crates.

mod tidy;
mod simulation;
