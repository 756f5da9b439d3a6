//! Whether this host can run sandboxes: tried, not read off versions.

use std::{fs, path::Path};

use rustix::mount::MountAttrFlags;
use slipway_layers::{Store, store::Options};
use slipway_process::random_id;

use crate::{overlay, rootless};

/// Tries an overlay in the store that lies in `root`, or, without root, whether a namespace can be made in which to try; why the native backend cannot work here, when it cannot. Blocks.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn probe(root: &Path) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("the native backend needs Linux: use a virtual machine, or WSL2 on Windows".to_owned());
    }
    if rootless::is_needed() {
        return rootless::probe();
    }
    let store = Store::open(root, &Options { limit: None }).map_err(|error| error.to_string())?;
    let work = store.work(&format!("probe-{}", random_id())).map_err(|error| error.to_string())?;
    let tried = || -> std::io::Result<()> {
        let (upper, scratch) = (work.path().join("upper"), work.path().join("scratch"));
        fs::create_dir(&upper)?;
        fs::create_dir(&scratch)?;
        let writable = overlay::Writable { upper: &upper, work: &scratch };
        overlay::mount(&store.empty(), Some(writable), MountAttrFlags::empty()).map(drop)
    };
    tried().map_err(|error| {
        format!(
            "mount an overlay in {}: {error}; the native backend needs Linux 6.5 with overlayfs, the right to mount, and \
             a home directory on a file system that overlay can stand on (not another overlay or a network's): choose \
             another with --home-dir, or use --backend docker",
            root.display()
        )
    })
}
