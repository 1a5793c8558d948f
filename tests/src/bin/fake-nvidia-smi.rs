//! An `nvidia-smi` without a GPU, for tests: put it first on PATH under that
//! name. It answers `--query-gpu` and `--query-compute-apps` as CSV.
//!
//! `FAKE_SMI_STATE` names a JSON file with the state, all parts optional:
//!
//! ```json
//! {
//!   "gpus": [{"uuid": "GPU-a", "total": 24576, "used": 4, "free": 24572, "util": 0, "extra": {"pstate": "P8"}}],
//!   "apps": [{"gpu": 0, "pid": 123, "used": 300}],
//!   "unknown_fields": ["mig.mode.current"],
//!   "stdout": "instead of an answer", "stderr": "", "exit": 0, "delay_ms": 0, "hang": false
//! }
//! ```
//!
//! Numbers of a GPU or process may be `null` or text and are shown as
//! `[N/A]` or as that text. A hang lasts until the file says otherwise or is gone. A `used` that is missing is the sum of the GPU's
//! processes, a `free` that is missing is the rest. `extra` has the cells of
//! further fields, or other ones for the usual fields.
//!
//! With `FAKE_SMI_APPS`, processes register themselves: each line `GPU MIB` of
//! a file `<pid>` in that directory is one more process on a GPU, as long as it
//! lives. With `FAKE_SMI_CALLS`, each call adds a byte to that file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use serde_json::Value;

/// What a field holds that the device does not know.
const NOT_AVAILABLE: &str = "[N/A]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let surroundings = Surroundings {
        state: env::var_os("FAKE_SMI_STATE"),
        apps: env::var_os("FAKE_SMI_APPS"),
        calls: env::var_os("FAKE_SMI_CALLS"),
    };
    match run(&arguments, &surroundings) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fake-nvidia-smi: {error}");
            ExitCode::from(255)
        }
    }
}

/// The values of the environment variables that drive this program.
struct Surroundings {
    state: Option<OsString>,
    apps: Option<OsString>,
    calls: Option<OsString>,
}

fn run(arguments: &[String], surroundings: &Surroundings) -> io::Result<ExitCode> {
    if let Some(calls) = &surroundings.calls {
        File::options().create(true).append(true).open(calls)?.write_all(b".")?;
    }
    let path = surroundings.state.as_ref().ok_or_else(|| io::Error::other("FAKE_SMI_STATE is not set"))?;
    let read = || -> io::Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let mut state = read()?;
    while state["hang"] == true {
        thread::sleep(Duration::from_millis(50));
        state = read()?;
    }
    if let Some(dir) = &surroundings.apps {
        register(&mut state, Path::new(dir))?;
    }
    thread::sleep(Duration::from_millis(state["delay_ms"].as_u64().unwrap_or(0)));
    let answer = answer(arguments, &state);
    io::stdout().write_all(state["stdout"].as_str().unwrap_or(&answer.text).as_bytes())?;
    io::stderr().write_all(state["stderr"].as_str().unwrap_or_default().as_bytes())?;
    let code = state["exit"].as_u64().map_or(answer.code, |code| u8::try_from(code).unwrap_or(255));
    Ok(ExitCode::from(code))
}

/// Adds the living processes that registered themselves in `dir`.
fn register(state: &mut Value, dir: &Path) -> io::Result<()> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        if is_alive(pid) {
            found.insert(pid, fs::read_to_string(path).unwrap_or_default());
        }
    }
    let lines = found.iter().flat_map(|(pid, text)| text.lines().map(move |line| (pid, line)));
    let apps = lines.filter_map(|(pid, line)| {
        let (gpu, mib) = line.trim().split_once(' ')?;
        let (gpu, mib) = (gpu.parse::<u32>().ok()?, mib.trim().parse::<u32>().ok()?);
        Some(serde_json::json!({"gpu": gpu, "pid": pid, "used": mib}))
    });
    let all = state["apps"].as_array().cloned().unwrap_or_default().into_iter().chain(apps).collect();
    state["apps"] = Value::Array(all);
    Ok(())
}

/// Whether a process runs, and has not merely not been waited for.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// What is printed, and the exit code.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    code: u8,
}

/// What there is to ask for: `gpus` or `apps` in the state, and how to fill a
/// cell of the list.
struct Query<'a> {
    list: &'static str,
    cell: fn(&Value, &str, usize) -> Option<String>,
    fields: Vec<&'a str>,
}

impl<'a> Query<'a> {
    fn of(arguments: &'a [String]) -> Option<Self> {
        let fields = |name| Some(option(arguments, name)?.split(',').map(str::trim).collect());
        match (fields("--query-gpu="), fields("--query-compute-apps=")) {
            (Some(fields), None) => Some(Self { list: "gpus", cell: gpu_cell, fields }),
            (None, Some(fields)) => Some(Self { list: "apps", cell: app_cell, fields }),
            _ => None,
        }
    }

    /// The first field that the driver does not know.
    fn unknown_field(&self, state: &Value) -> Option<&str> {
        let removed = |field| state["unknown_fields"].as_array().is_some_and(|list| list.contains(&field));
        let is_unknown =
            |field: &&str| (self.cell)(&Value::Null, field, 0).is_none() || removed((*field).into());
        self.fields.iter().copied().find(is_unknown)
    }

    fn header(&self) -> String {
        let name = |field: &&str| unit(field).map_or((*field).to_owned(), |unit| format!("{field} [{unit}]"));
        self.fields.iter().map(name).collect::<Vec<_>>().join(", ") + "\n"
    }

    fn rows(&self, state: &Value, units: bool) -> String {
        let with_unit = |field: &str, cell: String| match unit(field) {
            Some(unit) if units && cell.parse::<f64>().is_ok() => format!("{cell} {unit}"),
            _ => cell,
        };
        let row = |number| {
            let cell = |field: &&str| with_unit(field, (self.cell)(state, field, number).unwrap_or_default());
            self.fields.iter().map(cell).collect::<Vec<_>>().join(", ") + "\n"
        };
        (0..state[self.list].as_array().map_or(0, Vec::len)).map(row).collect()
    }
}

fn answer(arguments: &[String], state: &Value) -> Answer {
    let refuse = |text: String| Answer { text, code: 2 };
    let format: Vec<_> = option(arguments, "--format=").unwrap_or_default().split(',').collect();
    let Some(query) = Query::of(arguments) else {
        return refuse("Only one --query-* switch can be used at a time.\n".to_owned());
    };
    if !format.contains(&"csv") {
        return refuse(
            "\"--format=\" switch is missing. Please run 'nvidia-smi --help' for help.\n".to_owned(),
        );
    }
    if let Some(field) = query.unknown_field(state) {
        return refuse(format!("Field \"{field}\" is not a valid field to query.\n\n"));
    }
    let header = if format.contains(&"noheader") { String::new() } else { query.header() };
    Answer { text: header + &query.rows(state, !format.contains(&"nounits")), code: 0 }
}

fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    arguments.iter().find_map(|argument| argument.strip_prefix(name))
}

fn unit(field: &str) -> Option<&'static str> {
    match field {
        "utilization.gpu" => Some("%"),
        "power.draw" => Some("W"),
        "used_memory" | "used_gpu_memory" => Some("MiB"),
        _ => field.starts_with("memory.").then_some("MiB"),
    }
}

/// The cell of a GPU in the state; nothing where the field does not exist.
fn gpu_cell(state: &Value, field: &str, number: usize) -> Option<String> {
    let gpu = &state["gpus"][number];
    if let Some(extra) = gpu["extra"].get(field) {
        return Some(cell(extra));
    }
    Some(match field {
        "index" => number.to_string(),
        "uuid" | "gpu_uuid" => cell(&gpu["uuid"]),
        "name" => "Fake GPU".to_owned(),
        "memory.total" => cell(&gpu["total"]),
        "memory.used" => gpu.get("used").map_or_else(|| used(state, number).to_string(), cell),
        "memory.free" => gpu.get("free").map_or_else(|| free(state, number), cell),
        "memory.reserved" => "0".to_owned(),
        "utilization.gpu" => gpu.get("util").map_or("0".to_owned(), cell),
        "mig.mode.current"
        | "temperature.gpu"
        | "power.draw"
        | "pstate"
        | "pci.bus_id"
        | "compute_mode"
        | "persistence_mode"
        | "ecc.errors.uncorrected.volatile.total" => NOT_AVAILABLE.to_owned(),
        _ => return None,
    })
}

/// The cell of a process in the state; nothing where the field does not exist.
fn app_cell(state: &Value, field: &str, number: usize) -> Option<String> {
    let app = &state["apps"][number];
    Some(match field {
        "gpu_uuid" => {
            let gpu = app["gpu"].as_u64().and_then(|gpu| usize::try_from(gpu).ok());
            gpu.map_or_else(|| cell(&app["gpu"]), |gpu| cell(&state["gpus"][gpu]["uuid"]))
        }
        "pid" => cell(&app["pid"]),
        "used_memory" | "used_gpu_memory" => cell(&app["used"]),
        "process_name" | "name" => "fake".to_owned(),
        _ => return None,
    })
}

/// The memory of all processes on a GPU, in MiB.
fn used(state: &Value, number: usize) -> u64 {
    let apps = state["apps"].as_array().into_iter().flatten();
    let here = apps.filter(|app| app["gpu"].as_u64() == u64::try_from(number).ok());
    here.filter_map(|app| app["used"].as_u64()).sum()
}

/// What is not used of a GPU, in MiB.
fn free(state: &Value, number: usize) -> String {
    let gpu = &state["gpus"][number];
    let taken = gpu.get("used").map_or_else(|| Some(used(state, number)), Value::as_u64);
    let free = gpu["total"].as_u64().zip(taken).map(|(total, taken)| total.saturating_sub(taken));
    free.map_or(NOT_AVAILABLE.to_owned(), |free| free.to_string())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => NOT_AVAILABLE.to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GPUS: &str = "--query-gpu=index,uuid,memory.total,memory.used,memory.free,utilization.gpu";
    const APPS: &str = "--query-compute-apps=gpu_uuid,pid,used_memory";
    const BARE: &str = "--format=csv,noheader,nounits";

    #[track_caller]
    fn check(state: &Value, arguments: &[&str], code: u8, text: &str) {
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        assert_eq!(answer(&arguments, state), Answer { text: text.to_owned(), code });
    }

    fn state() -> Value {
        json!({
            "gpus": [
                {"uuid": "GPU-a", "total": 24576, "used": 4, "free": 24500, "util": 7},
                {"uuid": "GPU-b", "total": 24576, "extra": {"pstate": "[GPU requires reset]"}},
                {"uuid": "GPU-c", "total": null, "used": "[N/A]", "util": "ERR!"},
            ],
            "apps": [
                {"gpu": 1, "pid": 12, "used": 300},
                {"gpu": 1, "pid": 13, "used": null},
                {"gpu": 1, "pid": 14, "used": 500},
                {"gpu": "MIG-x", "pid": 15, "used": 20},
            ],
        })
    }

    #[test]
    fn the_gpus() {
        check(
            &state(),
            &[GPUS, BARE],
            0,
            "0, GPU-a, 24576, 4, 24500, 7\n1, GPU-b, 24576, 800, 23776, 0\n2, GPU-c, [N/A], [N/A], [N/A], ERR!\n",
        );
        check(
            &state(),
            &["--query-gpu=pstate,power.draw", BARE],
            0,
            "[N/A], [N/A]\n[GPU requires reset], [N/A]\n[N/A], [N/A]\n",
        );
        check(&json!({}), &[GPUS, BARE], 0, "");
    }

    #[test]
    fn the_processes() {
        check(
            &state(),
            &[APPS, BARE],
            0,
            "GPU-b, 12, 300\nGPU-b, 13, [N/A]\nGPU-b, 14, 500\nMIG-x, 15, 20\n",
        );
        check(&json!({}), &[APPS, BARE], 0, "");
    }

    #[test]
    fn headers_and_units() {
        check(
            &json!({"gpus": [{"uuid": "GPU-a", "total": 24576, "util": null}]}),
            &["--query-gpu=uuid,memory.total,utilization.gpu", "--format=csv"],
            0,
            "uuid, memory.total [MiB], utilization.gpu [%]\nGPU-a, 24576 MiB, [N/A]\n",
        );
    }

    #[test]
    fn refusals() {
        let unknown = json!({"unknown_fields": ["uuid"]});
        check(&unknown, &[GPUS, BARE], 2, "Field \"uuid\" is not a valid field to query.\n\n");
        check(
            &state(),
            &["--query-gpu=index,zeal", BARE],
            2,
            "Field \"zeal\" is not a valid field to query.\n\n",
        );
        check(&state(), &[GPUS, APPS, BARE], 2, "Only one --query-* switch can be used at a time.\n");
        assert_eq!(answer(&[GPUS.to_owned()], &state()).code, 2);
    }

    #[test]
    fn processes_register_themselves_while_they_live() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        for (name, text) in [
            (std::process::id().to_string(), "0 100\n1 50\nnonsense"),
            (child.id().to_string(), "0 9000"),
            ("notes".to_owned(), "0 9000"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut state = json!({"gpus": [{"uuid": "a", "total": 500}, {"uuid": "b", "total": 500}]});
        register(&mut state, dir.path()).unwrap();
        check(&state, &["--query-gpu=memory.used,memory.free", BARE], 0, "100, 400\n50, 450\n");
    }

    #[test]
    fn calls_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let [state, calls] = ["state", "calls"].map(|name| dir.path().join(name));
        fs::write(&state, r#"{"stdout": ""}"#).unwrap();
        let surroundings =
            Surroundings { state: Some(state.into()), apps: None, calls: Some(calls.clone().into()) };
        for _ in 0..3 {
            run(&[GPUS.to_owned(), BARE.to_owned()], &surroundings).unwrap();
        }
        assert_eq!(fs::read_to_string(calls).unwrap(), "...");
    }
}
