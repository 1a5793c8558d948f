//! What the machine offers: programs, file systems, limits.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Where version 2 of control groups is mounted (`man 7 cgroups`).
const CGROUPS: &str = "/sys/fs/cgroup";

/// File systems that other machines may write to, by the number `statfs` gives
/// (`linux/magic.h`, and the sources of those that are not in the kernel).
const SHARED: [(u64, &str); 9] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x00c3_6400, "Ceph"),
    (0x1983_0326, "BeeGFS"),
    (0x0102_1997, "9P"),
    (0x6573_5546, "FUSE"),
];

/// What limits the memory of this process and of all it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// So many bytes, for the whole control group.
    Bytes(u64),
    /// Nothing but the machine's size.
    Machine,
    /// It can't be told: there is no version 2 of control groups.
    Unknown,
}

/// Where the shell would find a program, given the value of `PATH`.
pub fn on_path(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path?).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program)).find(is_program)
}

/// Whether a process runs whose first word names this program. Processes that
/// are hidden from this user are not seen.
pub fn runs(program: &str) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_processes = entries.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    of_processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|words| {
        let first = words.split(|byte| *byte == 0).next().unwrap_or_default();
        first.rsplit(|byte| *byte == b'/').next() == Some(program.as_bytes())
    })
}

/// Asks the kernel for notices about a directory, as the jobs file is watched by.
///
/// # Errors
/// When it gives none, as with the limits of inotify used up.
pub fn gives_notices(dir: &Path) -> io::Result<()> {
    let notices = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&notices, dir, WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR)?;
    Ok(())
}

/// The kind of file system a directory is on, where other machines may write to
/// it.
///
/// # Errors
/// When the directory can't be asked about.
pub fn shared_file_system(dir: &Path) -> io::Result<Option<&'static str>> {
    // The field has another width and sign on some architectures; the numbers
    // have 32 bits.
    let kind = i128::from(rustix::fs::statfs(dir)?.f_type) & 0xffff_ffff;
    Ok(SHARED.iter().find(|(number, _)| i128::from(*number) == kind).map(|(_, name)| *name))
}

/// What limits the memory of this process and all it starts: the smallest
/// `memory.max` of its control group and those around it.
pub fn memory_limit() -> MemoryLimit {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit_of(&own, |path| fs::read_to_string(path).ok())
}

fn limit_of(own: &str, read: impl Fn(&Path) -> Option<String>) -> MemoryLimit {
    let Some(group) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return MemoryLimit::Unknown;
    };
    let controllers = read(&Path::new(CGROUPS).join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_ascii_whitespace().any(|name| name == "memory") {
        return MemoryLimit::Unknown;
    }
    let dir = Path::new(CGROUPS).join(group);
    let groups = dir.ancestors().take_while(|dir| dir.starts_with(CGROUPS));
    let limits = groups.filter_map(|dir| read(&dir.join("memory.max"))?.trim().parse().ok());
    limits.min().map_or(MemoryLimit::Machine, MemoryLimit::Bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[track_caller]
    fn check_limit(own: &str, files: &[(&str, &str)], expect: MemoryLimit) {
        let files: BTreeMap<PathBuf, &str> =
            files.iter().map(|(name, text)| (Path::new(CGROUPS).join(name), *text)).collect();
        let read = |path: &Path| files.get(path).map(|text| (*text).to_owned());
        assert_eq!(limit_of(own, read), expect, "{own:?} {files:?}");
    }

    #[test]
    fn the_smallest_limit_around_us_holds() {
        let all = ("cgroup.controllers", "cpu memory pids\n");
        let own = "0::/user.slice/job\n";
        let around = |limit| [all, ("user.slice/memory.max", limit), ("user.slice/job/memory.max", "max\n")];
        check_limit(own, &around("4096\n"), MemoryLimit::Bytes(4096));
        check_limit(own, &around("max\n"), MemoryLimit::Machine);
        check_limit(own, &[all, ("user.slice/job/memory.max", "7\n")], MemoryLimit::Bytes(7));
        check_limit("0::/\n", &[all, ("memory.max", "1024\n")], MemoryLimit::Bytes(1024));
        check_limit("0::/\n", &[all], MemoryLimit::Machine);
    }

    #[test]
    fn without_version_2_nothing_is_known() {
        check_limit("4:memory:/a\n0::/\n", &[], MemoryLimit::Unknown);
        check_limit("4:memory:/a\n", &[("cgroup.controllers", "memory\n")], MemoryLimit::Unknown);
        check_limit("0::/\n", &[("cgroup.controllers", "cpu\n")], MemoryLimit::Unknown);
    }

    #[test]
    fn programs_are_executable_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tool"), "").unwrap();
        let find = |program| on_path(program, Some(dir.path().as_os_str()));
        assert_eq!(find("tool"), None);
        fs::set_permissions(dir.path().join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool"), Some(dir.path().join("tool")));
        assert_eq!(find("other"), None);
        assert_eq!(on_path("tool", Some(OsStr::new("relative::"))), None);
        assert_eq!(on_path("sh", None), None);
    }

    #[test]
    fn this_machine() {
        let dir = tempfile::tempdir().unwrap();
        assert!(gives_notices(&dir.path().join("missing")).is_err());
        assert!(shared_file_system(&dir.path().join("missing")).is_err());
        assert_eq!(shared_file_system(Path::new("/proc")).unwrap(), None);
        let name = std::env::current_exe().unwrap();
        assert!(runs(name.file_name().unwrap().to_str().unwrap()));
        assert!(!runs("no-such-program"));
    }
}
