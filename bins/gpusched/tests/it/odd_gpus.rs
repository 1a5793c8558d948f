//! GPUs and an `nvidia-smi` as they are in real life: cells without numbers,
//! errors, hangs, GPUs that come and go. Whatever they say, nothing is placed on
//! a guess, and what is not known is said so and never 0.

use std::fs;

use e2e::wait_until;

use crate::place::{LONG, Place, Running, UNTIL_GO, is_there};

/// A place whose GPUs are those of a stand-in for `nvidia-smi`.
struct Machine {
    place: Place,
}

impl Machine {
    /// Nothing where the stand-in is not built.
    fn new(jobs: &str, state: &str) -> Option<Self> {
        let machine = Self { place: Place::new(jobs) };
        machine.place.queue_on_smi(&[])?;
        machine.set(state);
        Some(machine)
    }

    /// What `nvidia-smi` shows from now on.
    fn set(&self, state: &str) {
        self.place.write("state.new", state);
        fs::rename(self.place.path("state.new"), self.place.path("state.json")).unwrap();
    }

    fn start(&self) -> Running {
        let mut command = self.place.queue_on_smi(&[]).unwrap();
        command.env("FAKE_SMI_CALLS", self.place.path("calls"));
        self.place.start(command)
    }

    fn board(&self) -> String {
        self.place.read("gpusched_logs/status.txt")
    }

    #[track_caller]
    fn board_shows(&self, text: &str) {
        wait_until(&format!("the board shows '{text}'"), LONG, || self.board().contains(text));
    }

    /// Waits until the GPUs were looked at several times more.
    #[track_caller]
    fn looks_again(&self) {
        let before = self.place.read("calls").len();
        wait_until("more looks at the GPUs", LONG, || self.place.read("calls").len() >= before + 10);
    }
}

/// GPUs in the state, each given by further parts of it.
fn gpus(parts: &[&str]) -> String {
    let gpu = |(index, part): (usize, &&str)| format!(r#"{{"uuid":"GPU-{index}",{part}}}"#);
    let gpus: Vec<String> = parts.iter().enumerate().map(gpu).collect();
    format!(r#"{{"gpus":[{}]}}"#, gpus.join(","))
}

/// The state with these processes: GPU, pid, use.
fn with_apps(state: &str, apps: &[(u16, u32, &str)]) -> String {
    let app = |(gpu, pid, used): &(u16, u32, &str)| format!(r#"{{"gpu":{gpu},"pid":{pid},"used":{used}}}"#);
    let apps: Vec<String> = apps.iter().map(app).collect();
    format!(r#"{},"apps":[{}]}}"#, state.strip_suffix('}').unwrap(), apps.join(","))
}

const EMPTY: &str = r#""total":24576,"used":4,"free":24210"#;

#[test]
fn only_a_gpu_that_can_be_judged_gets_jobs() {
    let odd = [
        (r#""total":null,"used":null,"free":null"#, "how much of its memory is in use is unknown"),
        (
            r#""total":"[Not Supported]","used":"[Not Supported]","free":"[Not Supported]""#,
            "how much of its memory is in use is unknown",
        ),
        (
            r#""total":24576,"used":"[Unknown Error]","free":"[Unknown Error]""#,
            "memory.used reads [Unknown Error]",
        ),
        (
            r#""total":0,"used":0,"free":0,"extra":{"pstate":"[GPU requires reset]"}"#,
            "the driver says that the GPU requires a reset",
        ),
        (
            r#""total":24576,"used":0,"free":24576,"util":"[GPU is lost]""#,
            "the driver says that the GPU is lost",
        ),
        (
            r#""total":24576,"used":4,"free":24210,"util":"ERR!","extra":{"power.draw":"ERR!"}"#,
            "2 of its readings are ERR!",
        ),
        (
            r#""total":24576,"used":"[Insufficient Permissions]","free":null"#,
            "how much of its memory is in use is unknown",
        ),
        (r#""total":24576,"used":4,"free":24210,"extra":{"mig.mode.current":"Enabled"}"#, "MIG is on"),
    ];
    // A single sensor that fails and an unknown utilization are no reason.
    let fine = r#""total":24576,"used":4,"free":24210,"util":null,"extra":{"power.draw":"ERR!"}"#;
    let parts: Vec<&str> = odd.iter().map(|(part, _)| *part).chain([fine]).collect();
    let jobs = "[vram=1G] echo a\necho b\n[vram=23G] echo c\n[vram=1G gpus=2] echo d\n";
    let Some(machine) = Machine::new(jobs, &gpus(&parts)) else { return };
    let running = machine.start();
    for no in 1..=3 {
        running.wait_for(&format!("job {no} finished [OK]"));
    }
    machine.board_shows("needs 2 GPUs with 1024 + 512 MiB each, and there is only 1; ");
    machine.looks_again();
    running.signal("INT");
    let done = running.wait();
    done.exits(130);
    for (gpu, (_, why)) in odd.iter().enumerate() {
        done.says(&format!("WARN  gpu {gpu} takes no new jobs — {why}\n"));
    }
    assert_eq!(done.out.matches(" takes no new jobs").count(), odd.len(), "told once each\n{}", done.out);
    assert_eq!(done.out.matches(" started on gpu [8] ").count(), 3, "{}", done.out);
    assert!(!done.out.contains("job 4 started"), "{}", done.out);
    assert!(!done.out.contains("avg gpu util"), "it is unknown\n{}", done.out);
}

#[test]
fn a_machine_that_tells_no_memory_keeps_jobs_waiting_and_says_so() {
    let dark = gpus(&[r#""total":null,"used":null,"free":null"#]);
    let Some(machine) = Machine::new("[vram=1G] echo a\necho b\n", &dark) else { return };
    let running = machine.start();
    running.wait_for("WARN  gpu 0 takes no new jobs — how much of its memory is in use is unknown");
    machine.board_shows("(needs 1 idle GPU; the memory of GPU 0 is unknown) — echo b");
    machine.board_shows("(needs 1024 + 512 MiB; the memory of GPU 0 is unknown) — echo a");
    machine.set(&gpus(&[EMPTY]));
    let done = running.wait();
    done.exits(0).says("gpu 0 takes jobs again").says("all 2 jobs done — 2 ok");
}

#[test]
fn no_answer_is_told_and_places_nothing_until_there_is_one() {
    let row = "0, GPU-0, 24576, 4, 24210, 0, [N/A], [N/A], [N/A], [N/A]\\n";
    let answers = [
        (
            r#"{"stdout":"Unable to determine the device handle for GPU 0000:02:00.0: GPU is lost.  Reboot the system to recover this GPU\n","exit":15}"#.to_owned(),
            "reboot the machine",
        ),
        (
            r#"{"stdout":"Unable to determine the device handle for GPU0000:07:00.0: Unknown Error\n","exit":255}"#
                .to_owned(),
            "a reset or a reboot brings it back",
        ),
        (
            r#"{"stdout":"Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124\n","exit":18}"#
                .to_owned(),
            "the driver was updated under the running kernel module",
        ),
        (
            r#"{"stdout":"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n","exit":9}"#
                .to_owned(),
            "load the driver (modprobe nvidia)",
        ),
        (r#"{"stdout":"No devices were found\n","exit":6}"#.to_owned(), "the driver sees no GPU"),
        (r#"{"stdout":"","exit":0}"#.to_owned(), "the driver lists no GPU"),
        (format!(r#"{{"stdout":"{row}1, GPU-1, 245"}}"#), "the answer breaks off"),
        (format!(r#"{{"stdout":"{row}1, GPU-1, 245\n"}}"#), "a line that cannot be made out"),
        (format!(r#"{{"stdout":"{row}{row}"}}"#), "two GPUs of index 0"),
        (r#"{"stdout":"{","stderr":"Segmentation fault\n","exit":139}"#.to_owned(), "Segmentation fault"),
    ];
    let good = gpus(&[EMPTY, EMPTY]);
    let first = format!("{UNTIL_GO}\n");
    let Some(machine) = Machine::new(&first, &good) else { return };
    let running = machine.start();
    running.wait_for("job 1 started on gpu [0]");
    for (answer, why) in &answers {
        machine.set(answer);
        running.wait_for(why);
    }
    machine.place.edit(&format!("{first}echo b\n"));
    machine.board_shows("! the GPUs cannot be read, so nothing new starts: ");
    machine.board_shows("job 2   pending");
    machine.looks_again();
    assert!(!running.out().contains("job 2 started"), "{}", running.out());
    machine.set(&good);
    running.wait_for("job 2 finished [OK]");
    machine.place.write("go", "");
    let done = running.wait();
    done.exits(0).says("GPU query works again").says("job 2 started on gpu [1]");
    assert!(!done.out.contains("takes no new jobs"), "no GPU was missed\n{}", done.out);
}

#[test]
fn a_gpu_that_is_gone_for_a_while_is_waited_for() {
    let busy = r#""total":24576,"used":9000,"free":15206"#;
    let both = gpus(&[EMPTY, EMPTY]);
    let Some(machine) = Machine::new("[gpus=2] echo $CUDA_VISIBLE_DEVICES\n", &gpus(&[EMPTY, busy])) else {
        return;
    };
    let running = machine.start();
    machine.board_shows("GPU 1 has 9000 MiB used by other processes");
    machine.set(&gpus(&[EMPTY]));
    running.wait_for("WARN  gpu 1 takes no new jobs — it is not there at the moment");
    machine.board_shows("(needs 2 idle GPUs, and there is only 1; GPU 1 is not there at the moment)");
    machine.set(&both);
    let done = running.wait();
    done.exits(0).says("gpu 1 takes jobs again").says("job 1 started on gpu [0,1]");
    assert!(!done.out.contains("INFEASIBLE"), "{}", done.out);
}

#[test]
fn gpus_that_change_their_numbers_get_no_jobs() {
    let three =
        r#"{"gpus":[{"uuid":"A","total":24576},{"uuid":"B","total":24576},{"uuid":"C","total":24576}]}"#;
    let two = r#"{"gpus":[{"uuid":"B","total":24576},{"uuid":"C","total":24576}]}"#;
    let jobs = format!("[vram=20G gpus=3] {UNTIL_GO}\n");
    let Some(machine) = Machine::new(&jobs, three) else { return };
    let running = machine.start();
    running.wait_for("job 1 started on gpu [0,1,2]");
    // By their numbers, B would be what A was: what job 1 has of it unknown.
    machine.set(two);
    running.wait_for("WARN  gpu 1 takes no new jobs — the driver has renumbered the GPUs");
    machine.place.edit(&format!("{jobs}[vram=3G] echo b\n[vram=10G] echo c\n"));
    machine.board_shows("job 3   pending");
    machine.looks_again();
    assert!(!running.out().contains("job 2 started"), "{}", running.out());
    machine.set(three);
    running.wait_for("job 2 finished [OK]");
    machine.place.write("go", "");
    running.wait().exits(0).says("all 3 jobs done — 3 ok");
}

#[test]
fn an_old_driver_is_asked_for_fewer_fields() {
    for unknown in [r#"["mig.mode.current"]"#, r#"["mig.mode.current","utilization.gpu"]"#] {
        let state = gpus(&[r#""total":24576,"used":9000,"free":15206"#, EMPTY]);
        let state = format!(r#"{},"unknown_fields":{unknown}}}"#, state.strip_suffix('}').unwrap());
        let Some(machine) = Machine::new("[vram=20G] echo a\n", &state) else { return };
        let done = machine.start().wait();
        done.exits(0).says("job 1 started on gpu [1]");
        assert!(!done.out.contains("WARN"), "{}", done.out);
    }
}

#[test]
fn a_hang_holds_up_neither_timeouts_nor_cancels() {
    let good = gpus(&[EMPTY]);
    let timed = format!("{UNTIL_GO}\n[vram=1G timeout=2s] sleep 61\n");
    let jobs = format!("[vram=1G] sleep 60\n[vram=1G] {timed}");
    let Some(machine) = Machine::new(&jobs, &good) else { return };
    let running = machine.start();
    running.wait_for("job 3 started");
    machine.set(r#"{"hang":true}"#);
    let cancelled = format!("[vram=1G cancel] sleep 60\n[vram=1G] {timed}");
    machine.place.edit(&cancelled);
    running.wait_for("job 1 finished [CANCELLED]");
    running.wait_for("job 3 finished [TIMEOUT]");
    let why = "nvidia-smi did not answer within 10 s; the driver hangs or is busy: see the Xid lines";
    assert!(!running.out().contains(why), "both were held up\n{}", running.out());
    running.wait_for(&format!("WARN  GPU query failed ({why}"));
    machine.board_shows(&format!("! the GPUs cannot be read, so nothing new starts: {why}"));
    machine.place.edit(&format!("{cancelled}[vram=1G] echo d\n"));
    machine.board_shows("job 4   pending");
    machine.set(&good);
    running.wait_for("GPU query works again");
    running.wait_for("job 4 finished [OK]");
    machine.place.write("go", "");
    running.wait().exits(1).says("all 4 jobs done — 2 ok, 1 failed, 1 cancelled");
}

#[test]
fn use_of_a_job_that_is_not_told_is_not_nothing() {
    let jobs = format!("[vram=8G] echo $$ > pid; {UNTIL_GO}\n");
    let used = gpus(&[r#""total":24576,"used":3004,"free":21210"#]);
    let Some(machine) = Machine::new(&jobs, &gpus(&[EMPTY])) else { return };
    let running = machine.start();
    wait_until("the job has begun", LONG, || machine.place.read("pid").ends_with('\n'));
    let pid: u32 = machine.place.read("pid").trim().parse().unwrap();
    machine.board_shows("no use seen yet — ");
    machine.set(&with_apps(&used, &[(0, pid, "null")]));
    machine.board_shows("s  n/a — ");
    machine.set(&with_apps(&used, &[(0, pid, "3000")]));
    machine.board_shows("s  gpu0:3000 MiB (peak 3000) — ");
    machine.set(&with_apps(&used, &[(0, pid, "\"Not available in WDDM driver model\"")]));
    machine.board_shows("s  n/a (peak 3000) — ");
    // Its GPU is gone: the last that was known is not 0 either.
    machine.set(r#"{"gpus":[{"uuid":"GPU-9","total":24576,"extra":{"index":"9"}}]}"#);
    running.wait_for("gpu 0 takes no new jobs — it is not there at the moment");
    machine.board_shows("s  n/a (peak 3000) — ");
    machine.place.write("go", "");
    running.wait().exits(0).says("peak vram gpu0:3000 MiB |");
}

#[test]
fn processes_of_a_container_have_no_owner_but_their_memory_counts() {
    let jobs = format!("[vram=8G] {UNTIL_GO}\n[vram=12G] echo b\n");
    let Some(machine) = Machine::new(&jobs, &gpus(&[r#""total":24576,"used":4"#])) else { return };
    // No process here has that id: it is one of the host.
    let used = gpus(&[r#""total":24576,"used":9000"#]);
    machine.set(&with_apps(&used, &[(0, 4_000_000_000, "8000"), (0, 3_999_999_999, "null")]));
    let running = machine.start();
    running.wait_for("job 1 started on gpu [0]");
    machine.board_shows("no use seen yet — ");
    machine.board_shows("(needs 12288 + 512 MiB; GPU 0 comes closest with 7384 MiB free) — echo b");
    machine.looks_again();
    assert!(!running.out().contains("job 2 started"), "{}", running.out());
    machine.place.write("go", "");
    let done = running.wait();
    done.exits(0).says("job 1 finished [OK]").says("peak vram n/a (never seen on its GPU");
    assert!(!done.out.contains("gpu0:0"), "{}", done.out);
}

#[test]
fn memory_of_strangers_is_left_to_them_while_they_live() {
    let stranger = std::process::id();
    let gpu = |used: u32| gpus(&[&format!(r#""total":24576,"used":{used},"free":{}"#, 24210 - used)]);
    let Some(machine) = Machine::new("[vram=8G] echo a\n", &gpu(4)) else { return };
    machine.set(&with_apps(&gpu(20_000), &[(0, stranger, "20000")]));
    let running = machine.start();
    machine.board_shows("(needs 8192 + 512 MiB; GPU 0 comes closest with ");
    // It breathes out, and will breathe in again.
    machine.set(&with_apps(&gpu(100), &[(0, stranger, "100")]));
    machine.looks_again();
    assert!(!running.out().contains("job 1 started"), "{}", running.out());
    machine.set(&gpu(4));
    running.wait().exits(0).says("job 1 started on gpu [0]");
}

#[test]
fn without_an_answer_at_the_start_nothing_is_called_done() {
    let row = "0, GPU-0, 24576, 4, 24210, 0, [N/A], [N/A], [N/A], [N/A]\\n";
    let answers = [
        (
            r#"{"stdout":"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n","exit":9}"#
                .to_owned(),
            "the driver is not loaded",
            "load the driver (modprobe nvidia)",
        ),
        (
            r#"{"stdout":"Failed to initialize NVML: Driver/library version mismatch\n","exit":18}"#.to_owned(),
            "Driver/library version mismatch",
            "reboot, or reload the module",
        ),
        (
            r#"{"stdout":"No devices were found\n","exit":6}"#.to_owned(),
            "No devices were found",
            "see the kernel log",
        ),
        (r#"{"gpus":[]}"#.to_owned(), "the driver lists no GPU", "run it yourself"),
        (format!(r#"{{"stdout":"{row}1, GPU-1, 24"}}"#), "the answer breaks off", "run it yourself"),
    ];
    let Some(machine) = Machine::new("echo a >> ran\n", "{}") else { return };
    for (answer, why, remedy) in &answers {
        machine.set(answer);
        let done = machine.start().wait();
        done.exits(69);
        assert!(done.err.starts_with("gpusched: cannot read the GPUs: nvidia-smi"), "{}", done.err);
        assert!(done.err.contains(why) && done.err.contains(remedy), "{why}, {remedy}\n{}", done.err);
        assert_eq!(done.out, "");
    }
    let command = machine.place.queue_on_smi(&[]).unwrap();
    fs::remove_file(machine.place.path("bin/nvidia-smi")).unwrap();
    let done = machine.place.start(command).wait();
    done.exits(69);
    let missing = "nvidia-smi is not on PATH; it comes with the NVIDIA driver";
    assert!(done.err.contains(missing), "{}", done.err);
    assert!(!is_there(&machine.place.path("gpusched_logs/journal.jsonl")), "nothing was to be journalled");
    assert!(!is_there(&machine.place.path("ran")));
}

#[test]
fn a_slow_driver_is_waited_for_at_the_start() {
    let state = gpus(&[EMPTY]);
    let slow = format!(r#"{},"delay_ms":5500}}"#, state.strip_suffix('}').unwrap());
    let Some(machine) = Machine::new("[vram=1G] echo a\n", &slow) else { return };
    let running = machine.start();
    let waiting = "gpusched: the GPUs have not answered yet; still waiting\n";
    wait_until("it says what it waits for", LONG, || machine.place.read("err") == waiting);
    machine.set(&state);
    running.wait().exits(0).says("all 1 jobs done — 1 ok");
}
