//! The tests of this program once more, by a user who is not root.

use std::{path::PathBuf, process::Stdio};

use slipway_parts::user::{USER, as_user as as_another, can_be_another};
use slipway_process::{Environment, child::command};

use crate::{
    helped::{HERE, OTHER},
    matrix::{self, AGAIN},
    network::Other,
    parts::{DRIVER, RUNTIME},
};

/// Says to a test that it was started without root.
const INSIDE: &str = "SLIPWAY_TEST_ROOTLESS";
/// Tests that need what only the host's root may, or that are about it.
const FOR_ROOT: [&str; 3] = ["network::", "limits::", "rootless::"];

/// Runs tests of this program as that user, in a home of their own; `path` = programs that are in reach, all when empty.
fn as_user(arguments: &[&str], variables: &[(&str, &str)], path: &[&str]) {
    let home = tempfile::tempdir().expect("a directory");
    use std::os::unix::fs::PermissionsExt as _;
    let own: PathBuf = std::env::current_exe().expect("a program");
    let programs = home.path().join("bin");
    let mut run = as_another(home.path());
    std::fs::create_dir_all(&programs).expect("a directory");
    std::fs::set_permissions(&programs, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    for program in path {
        std::os::unix::fs::symlink(which(program).expect("it is installed"), programs.join(program)).expect("a link");
    }
    run.arg(env!("CARGO_BIN_EXE_slipway-sandbox")).arg(slipway_native::rootless::ENTER).arg(own);
    run.args(arguments);
    run.env(INSIDE, USER).envs(variables.iter().copied());
    if !path.is_empty() {
        run.env("OWN_PATH", &programs);
    }
    let ended = run.status().expect("a run");
    // What belongs to ids of the user's namespace is root's to remove.
    assert!(ended.success(), "the tests of a user without root: {arguments:?} {variables:?}: {ended}");
}

/// Where a program is.
fn which(program: &str) -> Option<PathBuf> {
    let path = Environment::from_process().get("PATH").unwrap_or_default().to_owned();
    path.split(':').map(|directory| PathBuf::from(directory).join(program)).find(|program| program.is_file())
}

#[test]
fn a_user_without_root_can_do_the_same() {
    if Environment::from_process().get(INSIDE).is_some() || !can_be_another() {
        return;
    }
    let skipped: Vec<&str> = FOR_ROOT.iter().flat_map(|name| ["--skip", name]).collect();
    let environment = Environment::from_process();
    if !matrix::is_gvisor(&environment) {
        as_user(&skipped, &[], &[]);
    }
    for (runtime, driver) in matrix::pairs(&environment) {
        let rooms = tempfile::tempdir().expect("a directory");
        if !matrix::can((runtime, driver), &rooms.path().join("store")) {
            continue;
        }
        let all = [(RUNTIME, runtime), (DRIVER, driver)];
        let variables: Vec<(&str, &str)> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        as_user(&AGAIN, &variables, &[]);
    }
}

/// Each helper by itself, and none.
#[test]
fn a_user_without_root_has_a_network() {
    if Environment::from_process().get(INSIDE).is_some() || !can_be_another() {
        return;
    }
    let usual = ["newuidmap", "newgidmap"];
    as_user(&["helped::without"], &[(OTHER, "none")], &usual);
    let tools = [("ip", "-V"), ("busybox", "true")].into_iter().find(|(tool, argument)| {
        !command(tool).arg(argument).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    if let Some((tool, _)) = tools {
        return slipway_parts::skip("network", &format!("{tool} is not installed"));
    }
    let other = Other::start();
    for helper in ["pasta", "slirp4netns"] {
        if which(helper).is_none() || !std::path::Path::new("/dev/net/tun").exists() {
            slipway_parts::skip("network", &format!("{helper} or /dev/net/tun is not there"));
            continue;
        }
        let path = [&usual[..], &[helper]].concat();
        as_user(&["helped::commands"], &[(OTHER, &other.address), (HERE, &other.here)], &path);
    }
}
