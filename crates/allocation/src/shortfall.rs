//! Why a job can't have GPUs now, or ever, with the numbers.

use std::fmt;

use model::{GpuIndex, GpuSet, Mib, Ratio, Share};

/// Why a job can never run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Infeasible {
    /// There are not that many GPUs.
    #[error("needs {needed} GPUs but only {usable} are usable")]
    TooFewGpus {
        /// How many it needs.
        needed: u16,
        /// How many were ever seen, of those that may be used.
        usable: usize,
    },
    /// Too few of those it may have are there.
    #[error("needs {needed} GPUs but only {usable} of those it may use ({on}) are usable")]
    TooFewAllowed {
        /// How many it needs.
        needed: u16,
        /// How many of them were ever seen.
        usable: usize,
        /// Those it may have.
        on: GpuSet,
    },
    /// Too few GPUs are large enough, even when empty.
    #[error("declared {declared} + {margin} margin exceeds total capacity of {needed} required GPU(s)")]
    TooLittleMemory {
        /// What it declared, per GPU.
        declared: Mib,
        /// What has to stay free beside it; nothing where it would be alone.
        margin: Mib,
        /// How many GPUs it needs.
        needed: u16,
        /// What the largest GPU has.
        largest: Option<Mib>,
    },
}

/// Why a job has to wait. Its text is a fragment for a human:
/// `needs 24061 + 512 MiB; GPU 0 comes closest with 24572 MiB free`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortfall {
    /// No GPU could be read yet.
    Unread,
    /// Too few GPUs have the memory to spare.
    Memory {
        /// How many it needs.
        needed: u16,
        /// What it declared, per GPU.
        declared: Mib,
        /// What has to stay free beside it.
        margin: Mib,
        /// How many GPUs would do.
        fitting: usize,
        /// Why the others don't, the nearest first.
        obstacles: Vec<Obstacle>,
    },
    /// No GPU has such a part of it left, or the memory that goes with it.
    Part {
        /// The part.
        share: Share,
        /// What it declared.
        vram: Option<Mib>,
        /// What has to stay free beside that.
        margin: Mib,
        /// Why the GPUs don't do, the nearest first.
        obstacles: Vec<Obstacle>,
    },
    /// Too few GPUs are idle.
    Idle {
        /// How many it needs.
        needed: u16,
        /// How large each has to be.
        vram: Option<Mib>,
        /// How many GPUs would do.
        fitting: usize,
        /// Why the others don't, the nearest first.
        obstacles: Vec<Obstacle>,
    },
}

/// Why one GPU does not do, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Its memory is taken or spoken for.
    Full {
        /// The GPU.
        gpu: GpuIndex,
        /// What it has to spare.
        headroom: Mib,
    },
    /// Too much of it is given away in parts.
    Taken {
        /// The GPU.
        gpu: GpuIndex,
        /// The part that is left.
        left: Share,
    },
    /// Its memory or its load is above the threshold.
    Above {
        /// The GPU.
        gpu: GpuIndex,
        /// Which of the two, in a word.
        what: &'static str,
        /// What was measured.
        percent: u8,
        /// The threshold.
        limit: Ratio,
    },
    /// It was told to take no new jobs.
    Paused {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// Others use too much of it for it to count as idle.
    InUse {
        /// The GPU.
        gpu: GpuIndex,
        /// What they use.
        external: Mib,
        /// What they would have to stay below.
        idle_threshold: Mib,
    },
    /// A job of ours is on it.
    Held {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// A job of ours has it to itself.
    HeldAlone {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// It was there before and isn't now.
    Absent {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// It can't be told how much memory it has, or how much is in use.
    Unknown {
        /// The GPU.
        gpu: GpuIndex,
    },
    /// It can't be trusted with work, or can't be used as a whole.
    Trouble {
        /// The GPU.
        gpu: GpuIndex,
        /// Why not, in words.
        why: String,
    },
    /// Even empty it is too small.
    TooSmall {
        /// The GPU.
        gpu: GpuIndex,
        /// What it has.
        usable: Mib,
    },
}

impl Obstacle {
    /// How far the GPU is from being usable: first the kind, by how soon it may
    /// pass, then the number of MiB where there is one.
    pub(crate) fn distance(&self) -> (u8, u32) {
        match self {
            Self::Full { headroom, .. } => (0, u32::MAX - headroom.get()),
            Self::Taken { .. } => (1, 0),
            Self::Above { percent, .. } => (2, u32::from(*percent)),
            Self::InUse { external, .. } => (3, external.get()),
            Self::Held { .. } => (4, 0),
            Self::HeldAlone { .. } => (5, 0),
            Self::Paused { .. } => (6, 0),
            Self::Absent { .. } => (7, 0),
            Self::Unknown { .. } => (8, 0),
            Self::Trouble { .. } => (9, 0),
            Self::TooSmall { .. } => (10, 0),
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (needed, fitting, obstacles) = match self {
            Self::Unread => return f.write_str("the GPUs have not been read yet"),
            Self::Memory { needed: 1, declared, margin, fitting, obstacles } => {
                write!(f, "needs {} + {margin}", declared.get())?;
                (1, fitting, obstacles)
            }
            Self::Memory { needed, declared, margin, fitting, obstacles } => {
                write!(f, "needs {needed} GPUs with {} + {margin} each", declared.get())?;
                (*needed, fitting, obstacles)
            }
            Self::Part { share, vram, margin, obstacles } => {
                write!(f, "needs {share} of a GPU")?;
                if let Some(vram) = vram {
                    write!(f, " with {} + {margin}", vram.get())?;
                }
                (1, &0, obstacles)
            }
            Self::Idle { needed, vram, fitting, obstacles } => {
                write!(f, "needs {needed} idle GPU{}", if *needed == 1 { "" } else { "s" })?;
                if let Some(vram) = vram {
                    write!(f, " of {vram}")?;
                }
                (*needed, fitting, obstacles)
            }
        };
        match (needed, fitting) {
            (1, _) => {}
            (_, 0) => f.write_str(", and there is none")?,
            (_, 1) => f.write_str(", and there is only 1")?,
            (_, many) => write!(f, ", and there are only {many}")?,
        }
        obstacles.first().map_or(Ok(()), |nearest| write!(f, "; {nearest}"))
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { gpu, headroom } => write!(f, "GPU {gpu} comes closest with {headroom} free"),
            Self::Taken { gpu, left } => write!(f, "GPU {gpu} has {left} of it left"),
            Self::Above { gpu, what, percent, limit } => {
                write!(f, "GPU {gpu} is at {percent}% {what}, above the threshold of {limit}")
            }
            Self::Paused { gpu } => write!(f, "GPU {gpu} is paused"),
            Self::InUse { gpu, external, idle_threshold } => {
                write!(
                    f,
                    "GPU {gpu} has {external} used by other processes (idle means below {idle_threshold})"
                )
            }
            Self::Held { gpu } => write!(f, "GPU {gpu} is held by a job"),
            Self::HeldAlone { gpu } => write!(f, "GPU {gpu} is held by a job that has it to itself"),
            Self::Absent { gpu } => write!(f, "GPU {gpu} is not there at the moment"),
            Self::Unknown { gpu } => write!(f, "the memory of GPU {gpu} is unknown"),
            Self::Trouble { gpu, why } => write!(f, "GPU {gpu} takes no jobs: {why}"),
            Self::TooSmall { gpu, usable } => write!(f, "GPU {gpu} has only {usable} in all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: GpuIndex = GpuIndex(0);

    #[track_caller]
    fn check(why: &impl fmt::Display, expect: &str) {
        assert_eq!(why.to_string(), expect);
    }

    #[test]
    fn infeasible_in_the_words_of_the_python_tool() {
        check(&Infeasible::TooFewGpus { needed: 3, usable: 2 }, "needs 3 GPUs but only 2 are usable");
        check(
            &Infeasible::TooLittleMemory {
                declared: Mib::new(25600),
                margin: Mib::new(512),
                needed: 1,
                largest: Some(Mib::new(24576)),
            },
            "declared 25600 MiB + 512 MiB margin exceeds total capacity of 1 required GPU(s)",
        );
    }

    #[test]
    fn too_little_memory_now() {
        let memory = |needed, fitting| Shortfall::Memory {
            needed,
            declared: Mib::new(24061),
            margin: Mib::new(512),
            fitting,
            obstacles: vec![
                Obstacle::Full { gpu: GPU, headroom: Mib::new(24572) },
                Obstacle::Held { gpu: GPU },
            ],
        };
        check(&memory(1, 0), "needs 24061 + 512 MiB; GPU 0 comes closest with 24572 MiB free");
        check(
            &memory(2, 1),
            "needs 2 GPUs with 24061 + 512 MiB each, and there is only 1; \
             GPU 0 comes closest with 24572 MiB free",
        );
    }

    #[test]
    fn too_few_idle() {
        let obstacles =
            vec![Obstacle::InUse { gpu: GPU, external: Mib::new(300), idle_threshold: Mib::new(200) }];
        check(
            &Shortfall::Idle { needed: 1, vram: None, fitting: 0, obstacles },
            "needs 1 idle GPU; GPU 0 has 300 MiB used by other processes (idle means below 200 MiB)",
        );
        let obstacles = vec![Obstacle::HeldAlone { gpu: GPU }];
        check(
            &Shortfall::Idle { needed: 4, vram: Some(Mib::new(9000)), fitting: 2, obstacles },
            "needs 4 idle GPUs of 9000 MiB, and there are only 2; \
             GPU 0 is held by a job that has it to itself",
        );
    }
}
