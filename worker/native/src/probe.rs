//! Whether this host can run sandboxes: tried, not read off versions.

use std::path::Path;

use crate::{driver, rootless};

/// Tries to lay layers on each other in the store that lies in `root`, by the driver that is asked for or the first that
/// works, or, without root, whether a namespace can be made in which to try; why the native backend cannot work here, when
/// it cannot. Blocks.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn probe(root: &Path, driver: Option<&str>) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("the native backend needs Linux: use a virtual machine, or WSL2 on Windows".to_owned());
    }
    if rootless::is_needed() {
        return rootless::probe();
    }
    driver::find(driver, root).map(drop)
}
