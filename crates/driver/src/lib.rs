//! The imperative shell: the only crate with threads, processes, files and
//! clocks.
//!
//! [`Shell`] is the real world of the job queue: it waits for the keeper, the
//! jobs file, the GPUs and signals on one thread, and hands what happened to
//! [`engine::drive()`] one event at a time. Two other threads exist because what
//! they wait for knows no descriptor: the syncer of the journal and the reader
//! of the GPUs.
//!
//! - [`shell`]: the world of the queue; [`publish`]: who finds its words.
//! - [`keeper`]: the process that starts jobs, waits for them and outlives the
//!   scheduler; [`host`]: the scheduler's side of it; `wire`: their language.
//! - [`seat`]: a job in a session of screen or tmux.
//! - [`proc`]: what `/proc` tells about processes.
//! - [`jobsfile`]: the jobs file, watched; [`signals`]: signals as descriptors.
//! - [`conda`]: what a job in a Python environment is started with.
//! - `gpus`: reading GPUs without waiting for them; [`command`]: running a
//!   program for its output.
//! - [`medium`]: files that must survive; `syncer`: putting them on the disk;
//!   [`lock`]: one scheduler per directory.
//! - [`clock`]: a wall clock that cannot go back; `waker`: how threads reach
//!   the one that waits; [`point`]: where tests have a process die.
//!
//! **Invariant:** nothing here decides: what happens next is the engine's
//! business, and what is said is a [`Reporter`]'s.

pub mod clock;
pub mod command;
pub mod conda;
mod gpus;
pub mod host;
pub mod jobsfile;
pub mod keeper;
pub mod lock;
pub mod medium;
pub mod point;
pub mod proc;
pub mod publish;
pub mod seat;
pub mod shell;
pub mod signals;
mod spawn;
mod syncer;
mod waker;
mod wire;

pub use command::Commands;
pub use host::{KeeperConfig, KeeperHost};
pub use lock::DirLock;
pub use medium::{FileMedium, PathError};
pub use publish::Reporter;
pub use seat::SeatKind;
pub use shell::{Parts, Shell};
