//! Tests across crates.

mod tidy;
