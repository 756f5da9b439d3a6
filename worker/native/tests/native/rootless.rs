//! The tests of this program once more, by a user who is not root.

use std::{path::PathBuf, process::Stdio};

use slipway_process::{Environment, child::command};

use crate::{
    helped::{HERE, OTHER},
    matrix::{self, AGAIN, PAIRS},
    network::Other,
    parts::{DRIVER, RUNTIME},
};

/// Says to a test that it was started without root.
const INSIDE: &str = "SLIPWAY_TEST_ROOTLESS";
/// A user that every Debian has, and who has nothing.
const USER: &str = "nobody";
/// What runs a program as that user, who has some ids of the host for it, the devices that users usually have, and
/// nothing else: `$0` is a directory, the rest
/// the program.
const AS_USER: &str = "set -e; printf '%s:100000:65536\\n' nobody | tee \"$0/subuid\" > \"$0/subgid\"; \
                       touch /etc/subuid /etc/subgid; mount --bind \"$0/subuid\" /etc/subuid; mount --bind \"$0/subgid\" /etc/subgid; \
                       node() { if [ -e \"/dev/$1\" ]; then mknod -m 666 \"$0/$2\" c 10 $3; mount --bind \"$0/$2\" \"/dev/$1\"; fi; }; \
                       node net/tun tun 200; node fuse fuse 229; \
                       exec setpriv --reuid nobody --regid nogroup --clear-groups env PATH=\"${OWN_PATH:-$PATH}\" \"$@\"";
/// Tests that need what only the host's root may, or that are about it.
const FOR_ROOT: [&str; 3] = ["network::", "limits::", "rootless::"];

/// Whether this machine can do it; said aloud when not.
fn can() -> bool {
    let missing = |program: &&str| {
        let mut which = command("sh");
        which.args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null());
        !which.status().is_ok_and(|status| status.success())
    };
    let lacks = match ["newuidmap", "newgidmap", "setpriv", "unshare"].into_iter().find(missing) {
        Some(program) => Some(format!("{program} is not installed")),
        None if !rustix::process::geteuid().is_root() => Some("only root can become another user".to_owned()),
        None => None,
    };
    lacks.map(|why| slipway_parts::skip("rootless", &why)).is_none()
}

/// Runs tests of this program as that user, in a home of their own; `path` = programs that are in reach, all when empty.
fn as_user(arguments: &[&str], variables: &[(&str, &str)], path: &[&str]) {
    let home = tempfile::tempdir().expect("a directory");
    let own: PathBuf = std::env::current_exe().expect("a program");
    let (temporary, programs) = (home.path().join("tmp"), home.path().join("bin"));
    use std::os::unix::fs::PermissionsExt as _;
    for (directory, mode) in [(home.path(), 0o755), (&*temporary, 0o1777), (&*programs, 0o755)] {
        std::fs::create_dir_all(directory).expect("a directory");
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    for program in path {
        std::os::unix::fs::symlink(which(program).expect("it is installed"), programs.join(program)).expect("a link");
    }
    let mut run = command("unshare");
    run.args(["--mount", "--propagation", "private", "sh", "-c", AS_USER]).arg(home.path());
    run.arg(env!("CARGO_BIN_EXE_slipway-sandbox")).arg(slipway_native::rootless::ENTER).arg(own);
    run.args(arguments);
    run.env(INSIDE, USER).env("TMPDIR", &temporary).env("HOME", &temporary).envs(variables.iter().copied());
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
    if Environment::from_process().get(INSIDE).is_some() || !can() {
        return;
    }
    let skipped: Vec<&str> = FOR_ROOT.iter().flat_map(|name| ["--skip", name]).collect();
    as_user(&skipped, &[], &[]);
    for (runtime, driver) in PAIRS {
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
    if Environment::from_process().get(INSIDE).is_some() || !can() {
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
