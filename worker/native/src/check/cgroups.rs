//! Control groups: limits of what commands take.

use super::Finding;
use crate::{cgroup::Group, limits::Limits};

const NAME: &str = "cgroups";
/// Limits that any host can give.
const MEMORY: u64 = 64 << 20;
const PROCESSES: u64 = 64;

/// Makes a group as builds with limits do, and removes it.
pub(super) fn limits(root: bool) -> Finding {
    let wanted = Limits { memory: Some(MEMORY), pids: Some(PROCESSES), process: Vec::new() };
    match Group::make(&wanted) {
        Ok(_) => {
            Finding::works(NAME, "a group was made that limits memory and processes: --command-memory, --command-pids")
        }
        Err(error) => {
            let mend = if root {
                "mount -o remount,rw /sys/fs/cgroup"
            } else {
                "chown -R $USER /sys/fs/cgroup/slipway, after mkdir of it as root; or do without --command-memory and --command-pids"
            };
            Finding::fails(NAME, format!("{error}; commands run without limits"), mend)
        }
    }
}
