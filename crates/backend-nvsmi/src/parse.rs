//! What `nvidia-smi --format=csv,noheader,nounits` prints, as model types. Pure
//! functions over text.
//!
//! Separators are a comma and a blank. A cell may hold words in the place of a
//! number: `[N/A]`, `[Not Supported]`, `[Insufficient Permissions]`,
//! `[Unknown Error]`, `[GPU requires reset]`, `ERR!`. None of them is 0.

use std::collections::BTreeMap;

use model::{ComputeApp, Gpu, GpuIndex, GpuUuid, Health, Mib, Percent, Pid};

use crate::is_plausible;

/// Fields of `--query-gpu`, from the most telling set to the barest. The later
/// ones are for drivers that refuse a field of the earlier ones.
///
/// The sensors at the end of the first set are asked for their failures alone:
/// that is where a GPU that needs a reset says so.
pub(crate) const FIELD_SETS: [&[&str]; 3] = [
    &[
        "index",
        "uuid",
        "memory.total",
        "memory.used",
        "memory.free",
        "utilization.gpu",
        "mig.mode.current",
        "pstate",
        "temperature.gpu",
        "power.draw",
    ],
    &["index", "uuid", "memory.total", "memory.used", "memory.free", "utilization.gpu"],
    &["index", "uuid", "memory.total", "memory.used", "memory.free"],
];

/// Fields of `--query-compute-apps`.
pub(crate) const APP_FIELDS: &[&str] = &["gpu_uuid", "pid", "used_memory"];

/// An answer can't be taken for the whole truth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the answer breaks off: {0:?}")]
    Cut(String),
    #[error("the answer has a line that cannot be made out: {0:?}")]
    Line(String),
    #[error("the answer has two GPUs of index {0}")]
    Twice(GpuIndex),
    #[error("the driver lists no GPU")]
    NoGpu,
    #[error("process {pid} is on {uuid}, which is not among the GPUs")]
    ElsewhereApp { pid: Pid, uuid: String },
}

/// The GPUs in an answer to a query for `fields`, which begin with index and
/// UUID.
///
/// # Errors
/// When a line is cut short or odd, or there is none: half an answer must not
/// look like a machine with fewer GPUs.
pub(crate) fn gpus(text: &str, fields: &[&str]) -> Result<BTreeMap<GpuIndex, Gpu>, AnswerError> {
    let mut gpus = BTreeMap::new();
    for line in lines(text)? {
        let odd = || AnswerError::Line(line.to_owned());
        let gpu = Row::split(line, fields).and_then(|row| row.gpu()).ok_or_else(odd)?;
        let index = gpu.index;
        if gpus.insert(index, gpu).is_some() {
            return Err(AnswerError::Twice(index));
        }
    }
    if gpus.is_empty() { Err(AnswerError::NoGpu) } else { Ok(gpus) }
}

/// The processes in an answer to a query for [`APP_FIELDS`], on the GPUs that
/// were listed just before.
///
/// A process on a MIG instance is counted to the GPU of the instance where that
/// is plain: the instance's name tells it, or only one GPU has MIG on. Else it
/// is left out, as is one whose process id is not told: neither can be put
/// anywhere. Nothing is lost by it, because a GPU with MIG on takes no jobs, and
/// the memory of all others is counted in the device's own `memory.used`.
///
/// # Errors
/// When a line is cut short or odd, or names another GPU that was not listed:
/// then the two answers are not of the same machine, and the next ones will be.
pub(crate) fn apps(text: &str, gpus: &BTreeMap<GpuIndex, Gpu>) -> Result<Vec<ComputeApp>, AnswerError> {
    let mut apps = Vec::new();
    for line in lines(text)?.filter(|line| !line.contains("No running processes found")) {
        let odd = || AnswerError::Line(line.to_owned());
        let row = Row::split(line, APP_FIELDS).ok_or_else(odd)?;
        let uuid = row.cell("gpu_uuid").unwrap_or_default();
        let pid = match row.cell("pid").unwrap_or_default() {
            cell if is_unknown(cell) => continue,
            cell => Pid(cell.parse().map_err(|_| odd())?),
        };
        let Some(gpu) = gpus.values().find(|gpu| &*gpu.uuid.0 == uuid).or_else(|| mig_parent(uuid, gpus))
        else {
            if uuid.starts_with("MIG-") {
                continue;
            }
            return Err(AnswerError::ElsewhereApp { pid, uuid: uuid.to_owned() });
        };
        let used = row.mib("used_memory").filter(|used| is_plausible(*used, gpu.total));
        apps.push(ComputeApp { gpu: gpu.index, pid, used, owner: None });
    }
    Ok(apps)
}

/// The lines that carry data. `nvidia-smi` ends every line, so a last one
/// without an end was cut; a warning about an infoROM stands among the rows.
fn lines(text: &str) -> Result<impl Iterator<Item = &str>, AnswerError> {
    match text.rsplit_once('\n').map_or(text, |(_, last)| last) {
        "" => {
            Ok(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("WARNING:")))
        }
        rest => Err(AnswerError::Cut(rest.to_owned())),
    }
}

/// The GPU a MIG instance is part of: `MIG-GPU-<uuid>/<gi>/<ci>` names it, as
/// drivers before R470 wrote; `MIG-<uuid>` does not.
fn mig_parent<'a>(uuid: &str, gpus: &'a BTreeMap<GpuIndex, Gpu>) -> Option<&'a Gpu> {
    let instance = uuid.strip_prefix("MIG-")?;
    if let Some((parent, _)) = instance.split_once('/') {
        return gpus.values().find(|gpu| &*gpu.uuid.0 == parent);
    }
    let mut with_mig = gpus.values().filter(|gpu| gpu.mig);
    with_mig.next().filter(|_| with_mig.next().is_none())
}

/// One line of an answer: its cells by their fields.
struct Row<'a> {
    fields: &'a [&'a str],
    cells: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn split(line: &'a str, fields: &'a [&'a str]) -> Option<Self> {
        let cells: Vec<_> = line.split(',').map(str::trim).collect();
        (cells.len() == fields.len()).then_some(Self { fields, cells })
    }

    fn cell(&self, field: &str) -> Option<&'a str> {
        let at = self.fields.iter().position(|name| *name == field)?;
        self.cells.get(at).copied()
    }

    fn mib(&self, field: &str) -> Option<Mib> {
        self.cell(field).and_then(number).map(Mib::new)
    }

    fn gpu(&self) -> Option<Gpu> {
        let index = GpuIndex(self.cell("index")?.parse().ok()?);
        let uuid = self.cell("uuid").filter(|uuid| !uuid.is_empty() && !is_unknown(uuid))?;
        let health = self.health();
        // What a lost GPU still prints (0 MiB, as a rule) is no observation.
        let known = |mib: &Mib| !matches!(health, Health::Lost(_)) && mib.get() <= MOST_MIB;
        let utilization = self.cell("utilization.gpu").and_then(number);
        Some(Gpu {
            index,
            uuid: GpuUuid(uuid.into()),
            total: self.mib("memory.total").filter(known).filter(|total| *total > Mib::ZERO),
            used: self.mib("memory.used").filter(known),
            free: self.mib("memory.free").filter(known),
            utilization: utilization
                .and_then(|percent| u8::try_from(percent).ok())
                .filter(|percent| *percent <= 100)
                .map(Percent),
            mig: self.cell("mig.mode.current").is_some_and(|mode| bare(mode) == "Enabled"),
            health,
        })
    }

    fn health(&self) -> Health {
        let says = |words: &str| self.cells.iter().any(|cell| cell.to_ascii_lowercase().contains(words));
        if says("is lost") {
            return Health::Lost("the driver says that the GPU is lost".to_owned());
        }
        if says("requires reset") {
            return Health::Lost("the driver says that the GPU requires a reset".to_owned());
        }
        let unreadable = self.fields.iter().zip(&self.cells).find(|(field, cell)| {
            field.starts_with("memory.") && cell.to_ascii_lowercase().contains("unknown error")
        });
        if let Some((field, cell)) = unreadable {
            return Health::Suspect(format!("{field} reads {cell}"));
        }
        match self.cells.iter().filter(|cell| bare(cell) == "ERR!").count() {
            0 | 1 => Health::Healthy, // a single sensor fails in passing
            failing => Health::Suspect(format!("{failing} of its readings are ERR!")),
        }
    }
}

/// More than any GPU has (64 TiB): a larger number is noise.
const MOST_MIB: u32 = 1 << 26;

/// A whole number, with or without its unit: some drivers print it in spite of
/// `nounits`.
fn number(cell: &str) -> Option<u32> {
    let number = cell.trim_end_matches("MiB").trim_end_matches('%').trim_end();
    number.bytes().all(|b| b.is_ascii_digit()).then_some(number)?.parse().ok()
}

/// Whether a cell says that there is nothing to tell.
fn is_unknown(cell: &str) -> bool {
    cell.starts_with('[') || ["N/A", "Not Supported", "ERR!"].contains(&cell)
}

fn bare(cell: &str) -> &str {
    cell.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::shown;

    /// The GPUs of an answer, a line for each: index, total, used, free,
    /// utilization, MIG, health.
    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let gpus = gpus(text, FIELD_SETS[0]).expect("an answer that can be read");
        let got: Vec<_> = gpus.values().map(|gpu| format!("{} {}", gpu.index, shown(gpu))).collect();
        assert_eq!(got, expect);
    }

    #[track_caller]
    fn check_error(text: &str, expect: &str) {
        let error = gpus(text, FIELD_SETS[0]).expect_err("half an answer");
        assert_eq!(error.to_string(), expect);
    }

    /// The processes of an answer, a line for each: GPU, process, memory.
    #[track_caller]
    fn check_apps(listed: &str, text: &str, expect: Result<&[&str], &str>) {
        let gpus = gpus(listed, FIELD_SETS[0]).expect("an answer that can be read");
        let got = apps(text, &gpus).map_err(|error| error.to_string()).map(|apps| {
            let used = |app: &ComputeApp| app.used.map_or("?".to_owned(), |used| used.get().to_string());
            apps.iter().map(|app| format!("{} {} {}", app.gpu, app.pid, used(app))).collect::<Vec<_>>()
        });
        let expect = expect.map(|lines| lines.iter().map(ToString::to_string).collect());
        assert_eq!(got, expect.map_err(str::to_owned));
    }

    const HEALTHY: &str = include_str!("../fixtures/healthy-8.csv");
    const MIG: &str = include_str!("../fixtures/mig-parent.csv");

    #[test]
    fn a_healthy_node() {
        check(
            HEALTHY,
            &[
                "0 81559 4 80994 0",
                "1 81559 40213 40785 97",
                "2 81559 4 80994 0",
                "3 81559 4 80994 0",
                "4 81559 80998 0 100",
                "5 81559 4 80994 0",
                "6 81559 519 80479 1",
                "7 81559 4 80994 0",
            ],
        );
        let uuid = &gpus(HEALTHY, FIELD_SETS[0]).unwrap()[&GpuIndex(1)].uuid;
        assert_eq!(&*uuid.0, "GPU-5f1c2a90-0d8e-7b7a-41b8-3e7b7c1f0001");
    }

    #[test]
    fn cells_without_a_number() {
        check(include_str!("../fixtures/gb10.csv"), &["0 ? ? ? 0"]);
        check(MIG, &["0 40960 0 ? ? mig", "1 40960 4 40338 0"]);
        check("0, GPU-1, 99999999999, -4, 1.5, 7, , , ,\n", &["0 ? ? ? 7"]);
    }

    #[test]
    fn gpus_that_cannot_be_trusted() {
        check(
            include_str!("../fixtures/lost-cells.csv"),
            &["0 24576 4 24210 0", "1 ? ? ? ? lost: the driver says that the GPU is lost"],
        );
        check(
            include_str!("../fixtures/requires-reset.csv"),
            &["0 ? ? ? ? lost: the driver says that the GPU requires a reset", "1 81559 4 80994 0"],
        );
        check(
            include_str!("../fixtures/errors.csv"),
            &[
                "0 24576 4 24210 0",
                "1 24576 4 24210 ? suspect: 3 of its readings are ERR!",
                "2 24576 ? ? 0 suspect: memory.used reads [Unknown Error]",
                "3 24576 4 24210 ?",
            ],
        );
    }

    #[test]
    fn odd_spacing_units_and_line_ends() {
        check(include_str!("../fixtures/spacing-crlf.csv"), &["0 24576 4 24210 7", "1 24576 4 24210 ? mig"]);
        check(
            "WARNING: infoROM is corrupted at gpu 0000:89:00.0\n0, GPU-1, 8192, 0, 8000, 0, , , ,\n",
            &["0 8192 0 8000 0"],
        );
    }

    #[test]
    fn half_an_answer_is_none() {
        check_error(include_str!("../fixtures/cut.csv"), r#"the answer breaks off: "1, GPU-51, 245""#);
        check_error(
            "0, GPU-1, 24576\n",
            r#"the answer has a line that cannot be made out: "0, GPU-1, 24576""#,
        );
        check_error(
            "0, [N/A], , , , , , , ,\n",
            r#"the answer has a line that cannot be made out: "0, [N/A], , , , , , , ,""#,
        );
        check_error("0, A, , , , , , , ,\n0, B, , , , , , , ,\n", "the answer has two GPUs of index 0");
        check_error("", "the driver lists no GPU");
        check_error("\r\n", "the driver lists no GPU");
    }

    #[test]
    fn an_answer_cut_anywhere_but_between_lines_is_noticed() {
        for cut in 0..HEALTHY.len() {
            let whole_lines = cut > 0 && HEALTHY[..cut].ends_with('\n');
            assert_eq!(gpus(&HEALTHY[..cut], FIELD_SETS[0]).is_ok(), whole_lines, "cut at {cut}");
        }
    }

    #[test]
    fn fewer_fields_tell_less() {
        let gpu = gpus("3, GPU-1, 24576, 4, 24210\n", FIELD_SETS[2]).unwrap().remove(&GpuIndex(3)).unwrap();
        assert_eq!((gpu.free, gpu.utilization, gpu.mig), (Some(Mib::new(24210)), None, false));
    }

    #[test]
    fn processes() {
        let apps = include_str!("../fixtures/healthy-8-apps.csv");
        check_apps(HEALTHY, apps, Ok(&["1 40170 40204", "4 40171 80000", "4 40188 ?", "6 51002 185"]));
        check_apps(HEALTHY, "", Ok(&[]));
        check_apps(HEALTHY, "No running processes found\n", Ok(&[]));
        let one = "GPU-5f1c2a90-0d8e-7b7a-41b8-3e7b7c1f0000";
        check_apps(HEALTHY, &format!("{one}, 12, [Insufficient Permissions]\r\n"), Ok(&["0 12 ?"]));
        check_apps(HEALTHY, &format!("{one}, [N/A], 300\n"), Ok(&[]));
        check_apps(HEALTHY, &format!("{one}, 12, 4000000000\n"), Ok(&["0 12 ?"]));
    }

    #[test]
    fn processes_on_mig_instances() {
        let apps = include_str!("../fixtures/mig-apps.csv");
        check_apps(MIG, apps, Ok(&["0 7001 19000", "0 7002 4000", "1 7003 300"]));
        let two = MIG.replace("Disabled", "Enabled");
        check_apps(&two, apps, Ok(&["0 7002 4000", "1 7003 300"]));
    }

    #[test]
    fn a_list_of_processes_that_does_not_fit_the_gpus() {
        check_apps(MIG, "GPU-9, 12, 300\n", Err("process 12 is on GPU-9, which is not among the GPUs"));
        check_apps(MIG, "GPU-9, 12\n", Err(r#"the answer has a line that cannot be made out: "GPU-9, 12""#));
        check_apps(
            MIG,
            "GPU-9, 1x2, 3\n",
            Err(r#"the answer has a line that cannot be made out: "GPU-9, 1x2, 3""#),
        );
        check_apps(MIG, "GPU-9, 12, 30", Err(r#"the answer breaks off: "GPU-9, 12, 30""#));
    }
}
