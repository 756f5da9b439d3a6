//! The tests of this program once more, by a user who is not root.

use std::{path::PathBuf, process::Stdio};

use slipway_process::{Environment, child::command};

/// Says to a test that it was started without root.
const INSIDE: &str = "SLIPWAY_TEST_ROOTLESS";
/// A user that every Debian has, and who has nothing.
const USER: &str = "nobody";
/// What runs a program as that user, who has some ids of the host for it and nothing else: `$0` is a directory, the rest
/// the program.
const AS_USER: &str = "set -e; printf '%s:100000:65536\\n' nobody | tee \"$0/subuid\" > \"$0/subgid\"; \
                       touch /etc/subuid /etc/subgid; mount --bind \"$0/subuid\" /etc/subuid; mount --bind \"$0/subgid\" /etc/subgid; \
                       exec setpriv --reuid nobody --regid nogroup --clear-groups \"$@\"";
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

#[test]
fn a_user_without_root_can_do_the_same() {
    if Environment::from_process().get(INSIDE).is_some() || !can() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let own: PathBuf = std::env::current_exe().expect("a program");
    let temporary = home.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    use std::os::unix::fs::PermissionsExt as _;
    for (directory, mode) in [(home.path(), 0o755), (&*temporary, 0o1777)] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let mut run = command("unshare");
    run.args(["--mount", "--propagation", "private", "sh", "-c", AS_USER]).arg(home.path());
    run.arg(env!("CARGO_BIN_EXE_slipway-sandbox")).arg(slipway_native::rootless::ENTER).arg(own);
    run.args(FOR_ROOT.iter().flat_map(|name| ["--skip", name]));
    run.env(INSIDE, USER).env("TMPDIR", &temporary).env("HOME", &temporary);
    let ended = run.status().expect("a run");
    // What belongs to ids of the user's namespace is root's to remove.
    assert!(ended.success(), "the tests of a user without root: {ended}");
}
