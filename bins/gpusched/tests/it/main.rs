//! The program itself, with real processes on simulated GPUs.

mod ending;
mod place;
mod queue;
mod starting;
