//! GPUs as the tests write them.

use model::{Gpu, Health, Mib};

/// Total, used, free, utilization, MIG and health, in one line; `?` where a cell
/// is unknown.
pub(crate) fn shown(gpu: &Gpu) -> String {
    let or = |mib: Option<Mib>| mib.map_or("?".to_owned(), |mib| mib.get().to_string());
    let utilization = gpu.utilization.map_or("?".to_owned(), |percent| percent.0.to_string());
    let mig = if gpu.mig { " mig" } else { "" };
    let health = match &gpu.health {
        Health::Healthy => String::new(),
        Health::Suspect(why) => format!(" suspect: {why}"),
        Health::Lost(why) => format!(" lost: {why}"),
    };
    let (total, used, free) = (or(gpu.total), or(gpu.used), or(gpu.free));
    format!("{total} {used} {free} {utilization}{mig}{health}")
}
