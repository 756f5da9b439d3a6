//! The description of a sandbox for a runtime: as our own makes it, in the words of the OCI specification.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use slipway_rootfs::toolbox::MOUNT;

use super::{Spec, filter, init, mounts::Waiting, rights};

/// Version of the specification.
const VERSION: &str = "1.0.2";

/// Where things lie while a sandbox is described.
pub(super) struct Sources<'a> {
    /// The root.
    pub(super) root: &'a Path,
    /// `/dev` with its devices; `None` = the runtime has its own.
    pub(super) devices: Option<&'a Path>,
    /// The toolbox; `None` = the image has no place for it.
    pub(super) toolbox: Option<&'a Path>,
    /// The image's own directories, by their paths in it and here, where the runtime would put something else.
    pub(super) own: &'a [(String, std::path::PathBuf)],
    /// Files in the place of the image's: path in the image, path here.
    pub(super) files: &'a [(String, std::path::PathBuf)],
    /// What else is seen of the host, what lies deeper last.
    pub(super) mounts: &'a [Waiting],
    /// Whether `/sys` is the host's, since the network is.
    pub(super) foreign_system: bool,
}

/// The text of `config.json`.
pub(super) fn describe(spec: &Spec, sources: &Sources<'_>) -> Value {
    let variables: Vec<String> = spec.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let rights = rights::names(spec.raw);
    let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({ "type": kind }));
    let (uid, gid, groups) = spec.user.as_ref().map_or((0, 0, &[][..]), |user| (user.uid, user.gid, &user.groups));
    // As when root becomes another: what it may do is not what the other may.
    let effective: &[String] = if uid == 0 { &rights } else { &[] };
    json!({
        "ociVersion": VERSION,
        "root": { "path": sources.root },
        "hostname": spec.hostname,
        "process": {
            "terminal": false,
            "user": { "uid": uid, "gid": gid, "additionalGids": groups, "umask": 0o022 },
            "args": spec.command,
            "env": variables,
            "cwd": spec.directory,
            "noNewPrivileges": true,
            "rlimits": limits(spec),
            "capabilities": { "bounding": rights, "effective": effective, "permitted": effective },
        },
        "mounts": mounts(sources),
        "linux": {
            // The others are those that the runtime is started in.
            "namespaces": namespaces,
            "rootfsPropagation": "private",
            "maskedPaths": init::HIDDEN,
            "readonlyPaths": init::READ_ONLY,
            "seccomp": filter::describe(),
        },
    })
}

/// What is asked for, and how many files, which runtimes change for themselves.
fn limits(spec: &Spec) -> Vec<Value> {
    let one = |kind: &str, soft: Option<u64>, hard: Option<u64>| {
        let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        json!({ "type": format!("RLIMIT_{}", kind.to_uppercase()), "soft": number(soft), "hard": number(hard) })
    };
    let named = spec.limits.iter().map(|limit| one(limit.kind(), limit.soft(), limit.hard()));
    let mut all: Vec<Value> = named.collect();
    if !spec.limits.iter().any(|limit| limit.kind() == "nofile") {
        let files = getrlimit(Resource::Nofile);
        all.push(one("nofile", files.current, files.maximum));
    }
    all
}

fn mounts(sources: &Sources<'_>) -> Vec<Value> {
    let made = |kind: &str, to: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": kind, "options": options });
    let bound = |from: &Path, to: &str, options: &[&str]| json!({ "destination": to, "type": "bind", "source": from, "options": options });
    let mut all = vec![made("proc", "/proc", &["nosuid", "noexec", "nodev"])];
    all.push(if sources.foreign_system {
        bound(Path::new("/sys"), "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    } else {
        made("sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"])
    });
    // Devices are the host's own, one by one: a runtime would make nodes, where nodes can be opened then. gVisor has its own.
    all.push(match sources.devices {
        Some(devices) => bound(devices, "/dev", &["rbind", "nosuid", "nodev"]),
        None => made("tmpfs", "/dev", &["nosuid"]),
    });
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    all.push(made("devpts", "/dev/pts", &terminals));
    all.push(made("tmpfs", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]));
    all.push(made("mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]));
    all.extend(sources.toolbox.map(|toolbox| bound(toolbox, MOUNT, &["rbind", "ro", "nosuid", "nodev"])));
    all.extend(sources.own.iter().map(|(to, from)| bound(from, to, &["rbind"])));
    all.extend(sources.files.iter().map(|(to, from)| bound(from, to, &["bind"])));
    for mount in sources.mounts {
        let options: Vec<&str> = ["rbind"].into_iter().chain(mount.lacks.iter().copied()).collect();
        all.push(bound(&mount.source, &mount.target, &options));
    }
    all
}
