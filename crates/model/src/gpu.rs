//! GPUs as observed. Every cell may be unknown: `[N/A]` is `None`, never 0.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{AttemptId, Mib, Pid};

/// The index of a GPU as `nvidia-smi` and NVML count: by PCI bus, from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GpuIndex(pub u16);

/// From a number or from its digits: as the key of a JSON object it is a string,
/// and serde does not turn it back where the object is part of a tagged enum.
impl<'de> Deserialize<'de> for GpuIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Index;
        impl de::Visitor<'_> for Index {
            type Value = GpuIndex;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the index of a GPU")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<GpuIndex, E> {
                u16::try_from(number).map(GpuIndex).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, digits: &str) -> Result<GpuIndex, E> {
                digits.parse().map(GpuIndex).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Index)
    }
}

/// NVIDIA's identifier of a GPU (`GPU-…`) or MIG instance (`MIG-…`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GpuUuid(pub Box<str>);

/// A whole percentage, such as `utilization.gpu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub u8);

/// Whether a GPU can be trusted with work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing speaks against it.
    Healthy,
    /// Something is odd; the reason, in words. Nothing new is placed on it.
    Suspect(String),
    /// The driver has lost it; the reason, in words.
    Lost(String),
}

/// One GPU at one moment, in the terms of `nvidia-smi --query-gpu`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its index.
    pub index: GpuIndex,
    /// Its identifier.
    pub uuid: GpuUuid,
    /// `memory.total`.
    pub total: Option<Mib>,
    /// `memory.used`.
    pub used: Option<Mib>,
    /// `memory.free`. What the driver reserves is in neither `used` nor `free`.
    pub free: Option<Mib>,
    /// `utilization.gpu`.
    pub utilization: Option<Percent>,
    /// Whether MIG is on: the whole device then cannot be used.
    pub mig: bool,
    /// Whether it can be trusted with work.
    pub health: Health,
}

/// A process that holds memory on a GPU (`nvidia-smi --query-compute-apps`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeApp {
    /// The GPU.
    pub gpu: GpuIndex,
    /// The process.
    pub pid: Pid,
    /// `used_memory`; unknown in some containers and on WSL.
    pub used: Option<Mib>,
    /// The attempt the process belongs to, where the job host could tell. A
    /// monitor leaves it empty.
    pub owner: Option<AttemptId>,
}

/// All GPUs of a machine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuSnapshot {
    /// The devices, by index.
    pub gpus: BTreeMap<GpuIndex, Gpu>,
    /// The processes that hold memory on them.
    pub apps: Vec<ComputeApp>,
}

impl Gpu {
    /// The memory jobs can have of the device when it is empty: used plus free,
    /// which leaves out what the driver keeps for itself; `memory.total` where
    /// one of the two is unknown.
    pub fn usable(&self) -> Option<Mib> {
        match (self.used, self.free) {
            (Some(used), Some(free)) => Some(used + free),
            _ => self.total,
        }
    }
}

impl fmt::Display for GpuIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
