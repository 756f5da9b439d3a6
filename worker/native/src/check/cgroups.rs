//! Control groups: limits of what commands take.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use slipway_process::random_id;

use super::Finding;

const NAME: &str = "cgroups";
/// Where the kernel shows them.
const MOUNT: &str = "/sys/fs/cgroup";

/// Makes a group below the one of this process, and removes it.
pub(super) fn limits(root: bool) -> Finding {
    if !Path::new(MOUNT).join("cgroup.controllers").exists() {
        let mend = format!("mount -t cgroup2 none {MOUNT}");
        return Finding::fails(NAME, format!("{MOUNT} is no cgroup of version 2; commands run without limits"), mend);
    }
    let own = own().unwrap_or_else(|| PathBuf::from(MOUNT));
    match made(&own) {
        Ok(controllers) => Finding::works(NAME, format!("version 2 with {controllers}")),
        Err(error) => {
            let mend = if root {
                format!("mount -o remount,rw {MOUNT}")
            } else {
                "systemd-run --user --scope -p Delegate=yes slipway …".to_owned()
            };
            let why = format!("make a group in {}: {error}; commands run without limits", own.display());
            Finding::fails(NAME, why, mend)
        }
    }
}

/// The group of this process.
fn own() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(MOUNT).join(path))
}

fn made(parent: &Path) -> io::Result<String> {
    let group = parent.join(format!("slipway-check-{}", random_id()));
    fs::create_dir(&group)?;
    fs::remove_dir(&group)?;
    let controllers = fs::read_to_string(parent.join("cgroup.controllers"))?;
    let useful: Vec<&str> =
        controllers.split_whitespace().filter(|name| ["cpu", "memory", "pids"].contains(name)).collect();
    Ok(if useful.is_empty() { "no controllers of cpu, memory or pids".to_owned() } else { useful.join(", ") })
}
