//! A user who is not root, for tests that root starts.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use slipway_process::child::command;

use crate::skip;

/// A user that every Debian has, and who has nothing.
pub const USER: &str = "nobody";
/// What runs a program as that user, who has some ids of the host for it, the devices that users usually have, and
/// nothing else: `$0` is a directory, the rest the program.
const AS_USER: &str = "set -e; printf '%s:100000:65536\\n' nobody | tee \"$0/subuid\" > \"$0/subgid\"; \
                       touch /etc/subuid /etc/subgid; mount --bind \"$0/subuid\" /etc/subuid; mount --bind \"$0/subgid\" /etc/subgid; \
                       node() { if [ -e \"/dev/$1\" ]; then mknod -m 666 \"$0/$2\" c 10 $3; mount --bind \"$0/$2\" \"/dev/$1\"; fi; }; \
                       node net/tun tun 200; node fuse fuse 229; \
                       exec setpriv --reuid nobody --regid nogroup --clear-groups env PATH=\"${OWN_PATH:-$PATH}\" \"$@\"";

/// Whether this machine can do it; said aloud when not.
pub fn can_be_another() -> bool {
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
    lacks.map(|why| skip("rootless", &why)).is_none()
}

/// A command that runs the program and arguments which it is given yet as that user. `home` is an empty directory; the
/// user's own is `tmp` in it, and `OWN_PATH` says where programs are, if not where they are for this process.
///
/// # Panics
/// When the directory cannot be made ready.
pub fn as_user(home: &Path) -> Command {
    use std::os::unix::fs::PermissionsExt as _;
    let temporary = home.join("tmp");
    for (directory, mode) in [(home, 0o755), (&*temporary, 0o1777)] {
        std::fs::create_dir_all(directory).expect("a directory");
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let mut run = command("unshare");
    run.args(["--mount", "--propagation", "private", "sh", "-c", AS_USER]).arg(home);
    run.env("TMPDIR", &temporary).env("HOME", &temporary);
    run
}
