//! The program itself, with real processes on simulated GPUs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod campaign;
mod crash;
mod ending;
mod place;
mod queue;
mod starting;
