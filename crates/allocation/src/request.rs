//! What a job asks for, and the rules by which it gets it.

use model::{GpuIndex, GpuNeed, GpuSet, Mib, Ratio, Share};

/// The rules of placement, the same for all jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// A GPU is idle while others use less than this of it, in MiB.
    pub idle_threshold: Mib,
    /// What has to stay free beside a newcomer's declaration, in MiB. Those who
    /// are there already do not need it any more.
    pub margin: Mib,
    /// Whether a GPU takes one job at a time.
    pub exclusive: bool,
    /// How much more than its peak a process is expected to use one day, where
    /// there is no declaration to go by.
    pub spike_buffer: Ratio,
    /// Above what a GPU takes no new job.
    pub thresholds: Thresholds,
}

/// Above what a GPU takes no new job, whoever uses it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    /// Memory in use, as a fraction of what there is; nothing means any.
    pub memory: Option<Ratio>,
    /// `utilization.gpu`, as a fraction; nothing means any.
    pub load: Option<Ratio>,
}

/// What a job asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The memory it declares, in MiB on each of its GPUs.
    pub vram: Option<Mib>,
    /// How many GPUs, or which part of one.
    pub gpus: GpuNeed,
    /// Whether it wants idle GPUs to itself, each with `vram` in all. A job that
    /// declares nothing and needs whole GPUs always does.
    pub alone: bool,
    /// The only GPUs it may have; nothing where any will do.
    pub on: Option<GpuSet>,
}

/// In which way a job wants its GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To itself, each with so much memory in all.
    Alone(Option<Mib>),
    /// So much memory of each, beside others.
    Memory(Mib),
    /// A part of one, with so much memory, else with that part of its memory.
    Part(Share, Option<Mib>),
}

impl Request {
    /// What a line that says this much asks for.
    pub fn new(vram: Option<Mib>, gpus: GpuNeed, on: Option<GpuSet>) -> Self {
        Self { vram, gpus, alone: vram.is_none() && gpus.part().is_none(), on }
    }

    pub(crate) fn wish(&self) -> Wish {
        match (self.gpus, self.vram) {
            (GpuNeed::Part(share), vram) if !self.alone => Wish::Part(share, vram),
            (GpuNeed::Whole(_), Some(vram)) if !self.alone => Wish::Memory(vram),
            (GpuNeed::Part(_) | GpuNeed::Whole(_), vram) => Wish::Alone(vram),
        }
    }

    /// What has to stay free beside its declaration: nothing where it has none,
    /// or has the GPU to itself.
    pub(crate) fn margin(&self, rules: &Rules) -> Mib {
        match self.wish() {
            Wish::Memory(_) | Wish::Part(_, Some(_)) => rules.margin,
            Wish::Alone(_) | Wish::Part(_, None) => Mib::ZERO,
        }
    }

    /// Whether it may have this GPU.
    pub(crate) fn allows(&self, gpu: GpuIndex) -> bool {
        self.on.is_none_or(|on| on.contains(gpu))
    }
}
