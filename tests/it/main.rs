//! Tests across crates.

mod simulation;
mod tidy;
