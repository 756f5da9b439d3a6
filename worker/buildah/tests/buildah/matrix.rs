//! The tests of this program once more: without root, and with other ways for layers to lie on each other.

use slipway_native::rootless;
use slipway_parts::user::{USER, as_user, can_be_another};
use slipway_process::{Environment, child::command};

use crate::parts::{DRIVER, MODE, RUNTIME};

/// Asks for all of it; else what takes long is left out.
const ALL: &str = "SLIPWAY_TEST_BUILDAH";
/// Says to a test that it was started by another one.
const INSIDE: &str = "SLIPWAY_TEST_BUILDAH_INSIDE";
/// What is run in every way when not all is asked for: a stage with files and limits, in one storage.
const SHORT: &str = "every_limit_is_seen_by_a_command";
/// Ways beside the usual one of root: mode, runtime, and driver.
const WAYS: [(&str, &str, &str); 6] = [
    ("native-chroot", "", "vfs"),
    ("native-rootless", "runc", "overlay"),
    ("native-rootless", "runc", "vfs"),
    ("native-rootless", "crun", "overlay"),
    ("native-rootless", "runc", "fuse-overlayfs"),
    ("native-chroot", "", "overlay"),
];

pub(crate) fn is_asked_for() -> bool {
    Environment::from_process().non_empty(ALL).is_some_and(|asked| asked == "all")
}

fn run(way: (&str, &str, &str), without_root: bool, tests: &[&str]) {
    let (mode, runtime, driver) = way;
    let home = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("a program");
    let mut run = match without_root {
        // The namespace is made as the program makes its own.
        true => {
            let mut run = as_user(home.path());
            // It belongs to that user, as the directory above it lets it.
            let place = home.path().join("tmp/run");
            run.args(["sh", "-c", "mkdir -p \"$XDG_RUNTIME_DIR\"; exec buildah unshare \"$@\"", "sh"]).arg(own);
            run.env("XDG_RUNTIME_DIR", place);
            run
        }
        false => command(own),
    };
    run.args(tests).args(["--skip", "matrix::"]).env(INSIDE, USER).env(MODE, mode).env(DRIVER, driver);
    if !runtime.is_empty() {
        run.env(RUNTIME, runtime);
    }
    let output = run.output().expect("a run");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let machine = ["cgroups in hybrid mode", "/dev/fuse"].into_iter().find(|why| said.contains(why));
    match machine {
        Some(why) if !output.status.success() => {
            slipway_parts::skip("buildah", &format!("{mode} {runtime} {driver} does not work here: {why}"));
        }
        _ => assert!(output.status.success(), "{mode} {runtime} {driver}, without root: {without_root}\n{said}"),
    }
}

#[test]
fn all_ways_do_the_same() {
    if Environment::from_process().get(INSIDE).is_some() || rootless::is_needed() || rootless::is_inside() {
        return;
    }
    let all = is_asked_for();
    if command("buildah").arg("--version").output().is_err() {
        return slipway_parts::skip("buildah", "it is not installed");
    }
    let is_other = can_be_another();
    for way in WAYS {
        let (mode, runtime, driver) = way;
        // Without root in every way; with root by copies.
        let roots = if mode == "native-chroot" && driver == "vfs" { [false, true].as_slice() } else { &[true] };
        for without_root in roots {
            let usual = (runtime, driver) == ("runc", "overlay") || !*without_root;
            if (*without_root && !is_other) || !(all || usual) {
                continue;
            }
            run(way, *without_root, if all { &[] } else { &[SHORT] });
        }
    }
}
