//! What this machine, or the control group that the process lives in, has: CPUs and memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the kernel shows control groups of version 2.
const GROUPS: &str = "sys/fs/cgroup";

/// Thousandths of a CPU: the machine's, or fewer when the process may not use all of them.
pub(crate) fn cpu_millis() -> u64 {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64 * 1000
}

/// Memory in MiB: the machine's, or less when a control group limits it; 0 = it is not told.
pub(crate) fn memory_mib() -> u64 {
    memory_below(Path::new("/"))
}

fn memory_below(root: &Path) -> u64 {
    let total = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total_kib(&text));
    let limits = groups(root).into_iter().filter_map(|group| fs::read_to_string(group.join("memory.max")).ok());
    // Without a limit it says `max`.
    let limits = limits.filter_map(|text| text.trim().parse::<u64>().ok()).map(|bytes| bytes >> 20);
    total.map(|kib| kib >> 10).into_iter().chain(limits).min().unwrap_or(0)
}

fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The control group of this process and all that it lies in.
fn groups(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let (top, own) = (root.join(GROUPS), root.join(GROUPS).join(own));
    own.ancestors().take_while(|group| group.starts_with(&top)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        assert_eq!(memory_below(root.path()), 0);
        write("proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
        assert_eq!(memory_below(root.path()), 16_000);
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        assert_eq!(memory_below(root.path()), 16_000);
        write("sys/fs/cgroup/a/memory.max", "1073741824\n");
        assert_eq!(memory_below(root.path()), 1024);
        assert!(cpu_millis() >= 1000);
    }
}
