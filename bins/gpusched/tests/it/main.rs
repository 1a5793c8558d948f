//! The program itself, with real processes on simulated GPUs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allocation;
mod campaign;
mod crash;
mod doctor;
mod ending;
mod faults;
mod flags;
mod full_disk;
mod hostile;
mod limits;
mod odd_gpus;
mod output;
mod place;
mod python_journal;
mod python_rows;
mod queue;
mod recovery;
mod scheduler;
mod seats;
mod smi;
mod starting;
