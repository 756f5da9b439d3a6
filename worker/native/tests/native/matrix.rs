//! The tests of this program once more, with other runtimes and other ways for layers to lie on each other.

use std::path::PathBuf;

use slipway_native::{driver, runtime::Runtime};
use slipway_process::{Environment, child::command};

use crate::parts::{DRIVER, RUNTIME};

/// What is done once more: all that a sandbox and a layer are.
pub(crate) const AGAIN: [&str; 10] = [
    "the_suite",
    "parts_of_the_host",
    "shell::",
    "sandbox::",
    "an_image_goes_to",
    "dockerfile::commands",
    "dockerfile::mounts",
    "equal_files",
    "attacks::links",
    "attacks::descriptors",
];
/// Pairs of a runtime and a driver, in which each is met once: empty = our own sandbox, the kernel's overlay.
const PAIRS: [(&str, &str); 3] = [("runc", ""), ("crun", "vfs"), ("", "fuse-overlayfs")];
/// Names a `runsc`, by which alone it is done then: it is in no distribution, and takes long.
const RUNSC: &str = "SLIPWAY_TEST_RUNSC";

/// The pairs that are asked for.
pub(crate) fn pairs(environment: &Environment) -> Vec<(&str, &str)> {
    environment.non_empty(RUNSC).map_or(PAIRS.to_vec(), |runsc| vec![(runsc, "")])
}

/// Whether it is gVisor by which alone it is done.
pub(crate) fn is_gvisor(environment: &Environment) -> bool {
    environment.non_empty(RUNSC).is_some()
}

/// Whether a pair can be tried on this machine; said aloud when not. `store` = an empty place.
pub(crate) fn can((runtime, driver): (&str, &str), store: &std::path::Path) -> bool {
    let lacks = match (runtime, driver) {
        ("", "") => Ok(()),
        // A user without root may open what the test gives to it only.
        ("", "fuse-overlayfs") if store.as_os_str().is_empty() => Ok(()),
        (runtime, _) if !runtime.is_empty() => Runtime::find(runtime).map(drop),
        (_, driver) => driver::find(Some(driver), store).map(drop),
    };
    lacks.map_err(|why| slipway_parts::skip("native", &why)).is_ok()
}

#[test]
fn runtimes_and_drivers_do_the_same() {
    let environment = Environment::from_process();
    if environment.get(RUNTIME).is_some() || environment.get(DRIVER).is_some() || slipway_native::rootless::is_inside()
    {
        return;
    }
    let own: PathBuf = std::env::current_exe().expect("a program");
    for (runtime, driver) in pairs(&environment) {
        let home = tempfile::tempdir().expect("a directory");
        if slipway_native::rootless::is_needed() || !can((runtime, driver), &home.path().join("store")) {
            continue;
        }
        let mut again = command(&own);
        again.args(AGAIN);
        for (name, value) in [(RUNTIME, runtime), (DRIVER, driver)] {
            if !value.is_empty() {
                again.env(name, value);
            }
        }
        let ended = again.status().expect("a run");
        assert!(ended.success(), "runtime `{runtime}`, driver `{driver}`: {ended}");
    }
}
