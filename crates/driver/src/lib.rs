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
//! - [`jobsfile`]: the jobs file, watched; [`signals`]: signals as descriptors;
//!   [`mailbox`]: what commands ask for; [`statefile`]: the published state, and
//!   edits of it; [`models`]: what each model needs; `watched`: any small file.
//! - [`conda`]: what a job in a Python environment is started with.
//! - [`machine`]: what the machine offers.
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
pub mod machine;
pub mod mailbox;
pub mod medium;
pub mod models;
pub mod point;
pub mod proc;
pub mod publish;
pub mod seat;
pub mod shell;
pub mod signals;
mod spawn;
pub mod statefile;
mod syncer;
mod waker;
mod watched;
mod wire;

pub use command::Commands;
pub use host::{KeeperConfig, KeeperHost};
pub use lock::DirLock;
pub use medium::{FileMedium, PathError};
pub use publish::Reporter;
pub use seat::SeatKind;
pub use shell::{Parts, Shell};

/// Makes this process the leader of a session of its own, without a terminal.
///
/// # Errors
/// When it leads a process group already.
pub fn own_session() -> std::io::Result<()> {
    Ok(rustix::process::setsid().map(drop)?)
}
