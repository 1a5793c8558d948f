//! A machine whose GPUs are those of a fake `nvidia-smi`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::place::{Place, is_there};

/// A GPU of 24 GiB, of which so many MiB are in use.
pub(crate) fn gpu(index: usize, used: u32) -> String {
    let free = 24_576_u32.saturating_sub(used);
    format!(r#"{{"uuid":"GPU-{index}","total":24576,"used":{used},"free":{free},"util":0}}"#)
}

impl Place {
    /// `gpusched jobs.txt` with more flags, on GPUs that `nvidia-smi` tells of;
    /// their state is the file `state.json`. Nothing where the fake is not
    /// built.
    #[expect(clippy::print_stderr, reason = "what is skipped is told")]
    pub(crate) fn queue_on_smi(&self, flags: &[&str]) -> Option<Command> {
        let fake = Path::new(env!("CARGO_BIN_EXE_gpusched")).with_file_name("fake-nvidia-smi");
        if !is_there(&fake) {
            eprintln!("SKIPPED: fake-nvidia-smi is not built (cargo build -p e2e)");
            return None;
        }
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        if !is_there(&bin.join("nvidia-smi")) {
            symlink(&fake, bin.join("nvidia-smi")).unwrap();
        }
        let mut command = self.program();
        command.args(["jobs.txt", "--read-gpus", "nvidia-smi", "--poll", "0.1"]).args(flags);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command.env("FAKE_SMI_STATE", self.path("state.json"));
        Some(command)
    }

    /// What `nvidia-smi` tells from now on: these GPUs, and more of its state
    /// (`"hang": true`).
    pub(crate) fn set_gpus(&self, gpus: &[String], more: &str) {
        let comma = if more.is_empty() { "" } else { "," };
        self.write("state.new", &format!(r#"{{"gpus":[{}]{comma}{more}}}"#, gpus.join(",")));
        fs::rename(self.path("state.new"), self.path("state.json")).unwrap();
    }
}
