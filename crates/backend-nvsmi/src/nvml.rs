//! Asking NVML, the driver's own library, which is loaded at run time.

use std::collections::BTreeMap;

use backend::GpuBackend;
use model::{ComputeApp, Gpu, GpuIndex, GpuSnapshot, GpuUuid, Health, Mib, Percent, Pid, Unavailable};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError as Code;
use nvml_wrapper::struct_wrappers::device::{MemoryInfo, ProcessInfo, Utilization};
use nvml_wrapper::{Device, Nvml};

use crate::{is_idle, is_plausible};

/// The largest process id Linux gives out.
const MOST_PID: u32 = 1 << 22;

/// NVML can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NvmlError {
    /// It can't be loaded, or it did not come up.
    #[error("NVML cannot be used")]
    Load(#[source] Code),
    /// The driver is too old for this program.
    #[error("NVML lacks {symbol}: the driver is too old")]
    TooOld {
        /// The C function it lacks.
        symbol: &'static str,
    },
    /// It came up, but the first snapshot failed.
    #[error("NVML does not answer: {0}")]
    Answer(Unavailable),
}

/// Reads GPU state by NVML.
///
/// A snapshot asks each GPU for its memory, utilization, MIG mode and compute
/// processes, MPS clients included. Memory takes microseconds; the processes
/// take some 5 ms a GPU under a lock of the driver, so a snapshot every second
/// is as often as it should be.
///
/// GPUs this user or control group has no access to are left out. A GPU that
/// fell off the bus stays in the snapshot, as lost.
///
/// **Time is not bounded here.** With a GPU whose firmware hangs, a call can
/// stay in the driver for 45 s and more. Callers take snapshots on a worker
/// thread and bound how long they wait for it.
#[derive(Debug)]
pub struct NvmlGpus {
    nvml: Nvml,
    /// The identifiers seen so far: a GPU that is lost does not tell its own.
    uuids: BTreeMap<GpuIndex, GpuUuid>,
}

impl NvmlGpus {
    /// Loads `libnvidia-ml.so.1` and takes a first snapshot.
    ///
    /// # Errors
    /// When the library can't be loaded, the driver is too old, or the snapshot
    /// fails: then `nvidia-smi` may still do.
    pub fn open() -> Result<Self, NvmlError> {
        let nvml = Nvml::init().map_err(NvmlError::Load)?;
        // Both would leave every cell unknown, at each call.
        if nvml.lib().nvmlDeviceGetMemoryInfo_v2.is_err() {
            return Err(NvmlError::TooOld { symbol: "nvmlDeviceGetMemoryInfo_v2" });
        }
        if nvml.lib().nvmlDeviceGetComputeRunningProcesses_v3.is_err() {
            return Err(NvmlError::TooOld { symbol: "nvmlDeviceGetComputeRunningProcesses_v3" });
        }
        let mut gpus = Self { nvml, uuids: BTreeMap::new() };
        gpus.snapshot().map_err(NvmlError::Answer)?;
        Ok(gpus)
    }

    /// The version of the driver, such as `570.124`.
    pub fn driver_version(&self) -> String {
        self.nvml.sys_driver_version().unwrap_or_else(|_| "of unknown version".to_owned())
    }
}

impl GpuBackend for NvmlGpus {
    fn snapshot(&mut self) -> Result<GpuSnapshot, Unavailable> {
        let count = self.nvml.device_count().map_err(|code| cannot("count the GPUs", &code))?;
        let mut snapshot = GpuSnapshot::default();
        for number in 0..count {
            let index = GpuIndex(u16::try_from(number).map_err(|_| Unavailable(format!("{count} GPUs")))?);
            let known = self.uuids.get(&index);
            let gpu = match self.nvml.device_by_index(number) {
                Err(Code::NoPermission | Code::OperatingSystem) => continue,
                Err(code) => lost(index, known, &code),
                Ok(device) => {
                    let reading = Reading::take(&device);
                    snapshot.apps.extend(reading.apps(index)?);
                    reading.gpu(index, known)
                }
            };
            self.uuids.insert(index, gpu.uuid.clone());
            snapshot.gpus.insert(index, gpu);
        }
        if snapshot.gpus.is_empty() {
            return Err(Unavailable("NVML lists no GPU that this user has access to".to_owned()));
        }
        Ok(snapshot)
    }
}

/// What one GPU answered, call by call.
#[derive(Debug)]
struct Reading {
    uuid: Result<String, Code>,
    memory: Result<MemoryInfo, Code>,
    utilization: Result<Utilization, Code>,
    mig: Result<bool, Code>,
    /// Compute processes and clients of MPS, each with all its contexts.
    processes: Result<Vec<ProcessInfo>, Code>,
}

impl Reading {
    fn take(device: &Device<'_>) -> Self {
        let memory = device.memory_info();
        let idle = memory.as_ref().is_ok_and(|memory| is_idle(Memory::of(memory).used));
        Self {
            uuid: device.uuid(),
            utilization: device.utilization_rates(),
            mig: device.mig_mode().map(|mode| mode.current != 0),
            processes: if idle { Ok(Vec::new()) } else { processes(device) },
            memory,
        }
    }

    fn gpu(&self, index: GpuIndex, known: Option<&GpuUuid>) -> Gpu {
        let health = self.health();
        let told = self.uuid.as_ref().ok().map(|uuid| GpuUuid(uuid.as_str().into()));
        let memory = match &health {
            Health::Lost(_) => Memory::default(),
            Health::Healthy | Health::Suspect(_) => self.memory.as_ref().map(Memory::of).unwrap_or_default(),
        };
        let utilization = self.utilization.as_ref().ok().and_then(|rates| u8::try_from(rates.gpu).ok());
        Gpu {
            index,
            uuid: told.or_else(|| known.cloned()).unwrap_or_else(unknown_uuid),
            total: memory.total,
            used: memory.used,
            free: memory.free,
            utilization: utilization.filter(|percent| *percent <= 100).map(Percent),
            mig: *self.mig.as_ref().unwrap_or(&false),
            health,
        }
    }

    fn health(&self) -> Health {
        let errors = [
            self.uuid.as_ref().err(),
            self.memory.as_ref().err(),
            self.utilization.as_ref().err(),
            self.mig.as_ref().err(),
            self.processes.as_ref().err(),
        ];
        if let Some(code) = errors.into_iter().flatten().find(|code| is_loss(code)) {
            return Health::Lost(loss(code));
        }
        match (&self.uuid, &self.memory) {
            (Err(code), _) => Health::Suspect(format!("NVML does not tell its identifier: {code}")),
            (_, Err(code)) if !is_refusal(code) => {
                Health::Suspect(format!("NVML cannot read its memory: {code}"))
            }
            _ => Health::Healthy,
        }
    }

    /// The processes on the GPU; none where the driver never tells, or no
    /// longer because the GPU is lost.
    fn apps(&self, index: GpuIndex) -> Result<Vec<ComputeApp>, Unavailable> {
        let processes = match &self.processes {
            Ok(processes) => processes,
            Err(code) if is_refusal(code) || is_loss(code) => return Ok(Vec::new()),
            Err(code) => return Err(cannot(&format!("list the processes on GPU {index}"), code)),
        };
        // Drivers 535.43 to 535.86 fill records of another layout.
        if let Some(odd) = processes.iter().find(|process| process.pid == 0 || process.pid > MOST_PID) {
            return Err(Unavailable(format!(
                "NVML lists a process {} on GPU {index}, which cannot be: the driver answers in another format, \
                 as 535.43 to 535.86 do; nvidia-smi reads it right",
                odd.pid
            )));
        }
        let total = self.memory.as_ref().ok().and_then(|memory| Memory::of(memory).total);
        let mut apps = BTreeMap::<u32, Option<Mib>>::new();
        for process in processes {
            let used = match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(Mib::from_bytes(bytes)),
                UsedGpuMemory::Unavailable => None,
            };
            let used = used.filter(|used| is_plausible(*used, total));
            // A client of MPS may be in both lists, with the same memory.
            apps.entry(process.pid).and_modify(|most| *most = (*most).max(used)).or_insert(used);
        }
        let app = |(pid, used)| ComputeApp { gpu: index, pid: Pid(pid), used, owner: None };
        Ok(apps.into_iter().map(app).collect())
    }
}

/// The memory of a device in whole MiB, as `nvidia-smi` splits it.
#[derive(Debug, Default)]
struct Memory {
    total: Option<Mib>,
    used: Option<Mib>,
    free: Option<Mib>,
}

impl Memory {
    /// Drivers differ in whether `used` covers what they reserve for
    /// themselves; `free` means the same in all, so it is the base. Rounded so
    /// that nothing is promised that is not there.
    fn of(info: &MemoryInfo) -> Self {
        if info.total == 0 || info.free > info.total {
            return Self::default();
        }
        let used = (info.total - info.free).saturating_sub(info.reserved);
        let whole = |bytes: u64| u32::try_from(bytes >> 20).ok().map(Mib::new);
        Self { total: whole(info.total), used: Some(Mib::from_bytes(used)), free: whole(info.free) }
    }
}

fn processes(device: &Device<'_>) -> Result<Vec<ProcessInfo>, Code> {
    let mut processes = device.running_compute_processes()?;
    // Drivers and devices without MPS refuse this, and then nobody is missing.
    processes.extend(device.mps_running_compute_processes().unwrap_or_default());
    Ok(processes)
}

/// A GPU that does not even give a handle.
fn lost(index: GpuIndex, known: Option<&GpuUuid>, code: &Code) -> Gpu {
    let uuid = known.cloned().unwrap_or_else(unknown_uuid);
    let (total, used, free, utilization) = (None, None, None, None);
    Gpu { index, uuid, total, used, free, utilization, mig: false, health: Health::Lost(loss(code)) }
}

/// Stands for an identifier that was never told; such a GPU takes no jobs.
fn unknown_uuid() -> GpuUuid {
    GpuUuid("unknown".into())
}

/// Whether an error is the driver's word that the GPU does not work.
fn is_loss(code: &Code) -> bool {
    matches!(code, Code::GpuLost | Code::ResetRequired | Code::InsufficientPower | Code::IrqIssue)
}

/// Whether an error only means that this is not told: on this device, by this
/// driver, or to this user.
fn is_refusal(code: &Code) -> bool {
    matches!(
        code,
        Code::NotSupported | Code::NoPermission | Code::FunctionNotFound | Code::FailedToLoadSymbol(_)
    )
}

fn loss(code: &Code) -> String {
    if matches!(code, Code::GpuLost) {
        "NVML says that the GPU is lost".to_owned()
    } else if matches!(code, Code::ResetRequired) {
        "NVML says that the GPU requires a reset".to_owned()
    } else {
        format!("NVML does not reach it: {code}")
    }
}

fn cannot(what: &str, code: &Code) -> Unavailable {
    Unavailable(format!("NVML cannot {what}: {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::shown;

    const GIB: u64 = 1 << 30;

    fn memory(total: u64, reserved: u64, used: u64, free: u64) -> MemoryInfo {
        MemoryInfo { total, reserved, used, free, version: 2 }
    }

    fn process(pid: u32, mib: Option<u64>) -> ProcessInfo {
        let used_gpu_memory = mib.map_or(UsedGpuMemory::Unavailable, |mib| UsedGpuMemory::Used(mib << 20));
        ProcessInfo { pid, used_gpu_memory, gpu_instance_id: None, compute_instance_id: None }
    }

    fn healthy() -> Reading {
        Reading {
            uuid: Ok("GPU-7".to_owned()),
            memory: Ok(memory(24 * GIB, GIB, 3 * GIB, 20 * GIB)),
            utilization: Ok(Utilization { gpu: 50, memory: 10 }),
            mig: Err(Code::NotSupported),
            processes: Ok(Vec::new()),
        }
    }

    /// The GPU in one line: UUID, total, used, free, utilization, MIG, health.
    #[track_caller]
    fn check(reading: &Reading, expect: &str) {
        let gpu = reading.gpu(GpuIndex(0), Some(&GpuUuid("GPU-before".into())));
        assert_eq!(format!("{} {}", gpu.uuid, shown(&gpu)), expect);
    }

    #[test]
    fn what_is_reserved_is_neither_used_nor_free() {
        check(&healthy(), "GPU-7 24576 3072 20480 50");
        let covering = Reading { memory: Ok(memory(24 * GIB, GIB, 4 * GIB, 20 * GIB)), ..healthy() };
        check(&covering, "GPU-7 24576 3072 20480 50");
        let uneven = Reading { memory: Ok(memory(24 * GIB, 0, 1, 24 * GIB - 1)), ..healthy() };
        check(&uneven, "GPU-7 24576 1 24575 50");
    }

    #[test]
    fn an_error_in_one_cell_is_unknown() {
        check(&Reading { memory: Err(Code::NotSupported), ..healthy() }, "GPU-7 ? ? ? 50");
        check(&Reading { memory: Ok(memory(0, 0, 0, 0)), ..healthy() }, "GPU-7 ? ? ? 50");
        check(&Reading { memory: Ok(memory(GIB, 0, 0, 2 * GIB)), ..healthy() }, "GPU-7 ? ? ? 50");
        check(&Reading { utilization: Err(Code::Unknown), ..healthy() }, "GPU-7 24576 3072 20480 ?");
        let busy = Ok(Utilization { gpu: 300, memory: 0 });
        check(&Reading { utilization: busy, ..healthy() }, "GPU-7 24576 3072 20480 ?");
        check(&Reading { mig: Ok(true), ..healthy() }, "GPU-7 24576 3072 20480 50 mig");
        check(&Reading { mig: Ok(false), ..healthy() }, "GPU-7 24576 3072 20480 50");
    }

    #[test]
    fn gpus_that_cannot_be_trusted() {
        let lost = "GPU-7 ? ? ? 50 lost: NVML says that the GPU is lost";
        check(&Reading { processes: Err(Code::GpuLost), ..healthy() }, lost);
        check(
            &Reading { utilization: Err(Code::ResetRequired), ..healthy() },
            "GPU-7 ? ? ? ? lost: NVML says that the GPU requires a reset",
        );
        check(
            &Reading { uuid: Err(Code::GpuLost), ..healthy() },
            "GPU-before ? ? ? 50 lost: NVML says that the GPU is lost",
        );
        check(
            &Reading { memory: Err(Code::Unknown), ..healthy() },
            "GPU-7 ? ? ? 50 suspect: NVML cannot read its memory: an internal driver error occurred",
        );
    }

    #[test]
    fn a_gpu_without_a_handle_keeps_its_name() {
        let gpu = lost(GpuIndex(3), Some(&GpuUuid("GPU-before".into())), &Code::Unknown);
        assert_eq!(&*gpu.uuid.0, "GPU-before");
        assert_eq!(
            gpu.health,
            Health::Lost("NVML does not reach it: an internal driver error occurred".into())
        );
        assert_eq!(&*lost(GpuIndex(3), None, &Code::GpuLost).uuid.0, "unknown");
    }

    /// The processes of a GPU, a line for each: process, memory.
    #[track_caller]
    fn check_apps(processes: Result<Vec<ProcessInfo>, Code>, expect: Result<&[&str], &str>) {
        let got = Reading { processes, ..healthy() }.apps(GpuIndex(4)).map(|apps| {
            let used = |app: &ComputeApp| app.used.map_or("?".to_owned(), |used| used.get().to_string());
            apps.iter().map(|app| format!("{} {}", app.pid, used(app))).collect::<Vec<_>>()
        });
        match (got, expect) {
            (Err(Unavailable(why)), Err(expect)) => assert!(why.contains(expect), "{why}"),
            (got, expect) => {
                let expect = expect.map(|lines| lines.iter().map(ToString::to_string).collect());
                assert_eq!(got, expect.map_err(|why: &str| Unavailable(why.to_owned())));
            }
        }
    }

    #[test]
    fn processes_are_told_once() {
        check_apps(Ok(vec![process(12, Some(300)), process(9, None)]), Ok(&["9 ?", "12 300"]));
        let twice = vec![process(12, Some(300)), process(12, Some(400)), process(12, None)];
        check_apps(Ok(twice), Ok(&["12 400"]));
        check_apps(Ok(vec![process(12, Some(24577))]), Ok(&["12 ?"]));
    }

    #[test]
    fn lists_that_are_none() {
        check_apps(Err(Code::NotSupported), Ok(&[]));
        check_apps(Err(Code::NoPermission), Ok(&[]));
        check_apps(Err(Code::GpuLost), Ok(&[]));
        check_apps(Err(Code::Unknown), Err("NVML cannot list the processes on GPU 4"));
        check_apps(Err(Code::InsufficientSize(None)), Err("GPU 4"));
        check_apps(Ok(vec![process(0, Some(1))]), Err("535.43"));
        check_apps(Ok(vec![process(4_200_000, Some(1))]), Err("535.43"));
    }
}
