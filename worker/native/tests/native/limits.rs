//! What commands may use, and what is left of their groups.

use std::path::{Path, PathBuf};

use slipway_backend::{BackendError, ContainerBackend as _, conformance::Harness};
use slipway_native::{
    limits::{Limits, ProcessLimit},
    network::Commands,
};

use crate::parts::Native;

/// Hierarchies that groups may be in.
const ROOTS: [&str; 4] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"];

async fn with(limits: Limits) -> Option<Native> {
    Native::within(None, Commands::Own, limits).await
}

async fn tried(native: &Native, text: &str) -> (Result<(), BackendError>, Vec<String>) {
    let harness = Harness::new(&native.backend, &native.base);
    let mut workspace = harness.open(Some(harness.base)).await;
    let text = format!("PATH=/.werf/stapel/embedded/bin:$PATH; {text}");
    harness.run(workspace.as_mut(), &[(1, &text)], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_have_the_limits_that_are_asked_for() {
    let process = ProcessLimit::parse_all("nofile:1000:2000,core:0").expect("limits");
    let Some(native) = with(Limits { process, ..Limits::default() }).await else { return };
    let (ended, said) = tried(&native, "ulimit -Sn; ulimit -Hn; ulimit -Hc").await;
    assert_eq!((ended.is_ok(), said), (true, ["1000", "2000", "0"].map(str::to_owned).to_vec()));
    native.end().await;
}

/// Whether this machine can limit at all; said aloud when not.
async fn limited(limits: Limits) -> Option<Native> {
    let native = with(limits).await?;
    match tried(&native, "true").await.0 {
        Err(BackendError::Refused(why)) if why.contains("without its limit") => {
            slipway_parts::skip("cgroups", &why);
            None
        }
        ended => {
            ended.expect("a command runs within limits");
            Some(native)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_use_no_more_processes_than_they_may() {
    let Some(native) = limited(Limits { pids: Some(20), ..Limits::default() }).await else { return };
    let (ended, said) = tried(&native, "for i in 1 2 3 4 5; do busybox sleep 1000 & done; jobs -r | wc -l").await;
    assert_eq!((ended.is_ok(), said), (true, vec!["5".to_owned()]));
    let (ended, said) = tried(&native, "for i in $(seq 40) 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3; do /.werf/stapel/embedded/bin/sleep 1000 & done; echo all").await;
    assert!(ended.is_err() && !said.contains(&"all".to_owned()), "{ended:?} {said:?}");
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_use_no_more_memory_than_they_may() {
    let Some(native) = limited(Limits { memory: Some(64 << 20), ..Limits::default() }).await else { return };
    let fill = |amount: u32| format!("head -c {amount} /dev/zero | tail -c {amount} | wc -c");
    let (ended, said) = tried(&native, &fill(1 << 20)).await;
    assert_eq!((ended.is_ok(), said), (true, vec![(1 << 20).to_string()]));
    let (ended, said) = tried(&native, &format!("set -o pipefail; {}", fill(200 << 20))).await;
    assert!(ended.is_err(), "{said:?}");
    native.end().await;
}

/// Our groups in all hierarchies.
fn groups() -> Vec<PathBuf> {
    let listings = ROOTS.into_iter().filter_map(|root| std::fs::read_dir(Path::new(root).join("slipway")).ok());
    listings.flatten().flatten().map(|found| found.path()).filter(|place| place.is_dir()).collect()
}

/// Sweeps until a group is gone: another process may be looking at it in this moment.
async fn gone(native: &Native, group: &Path) {
    while groups().iter().any(|found| found == group) {
        native.backend.sweep().await.expect("a sweep");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_dead_processes_are_swept() {
    let Some(native) = with(Limits::default()).await else { return };
    let Some(root) = ROOTS.into_iter().find(|root| {
        Path::new(root).join("cgroup.kill").exists() || Path::new(root).join("cgroup.controllers").exists()
    }) else {
        return slipway_parts::skip("cgroups", "there is no version 2");
    };
    let ours = Path::new(root).join("slipway");
    let dead = ours.join(format!("dead-{}", std::process::id()));
    if std::fs::create_dir_all(&dead).is_err() {
        return slipway_parts::skip("cgroups", "groups cannot be made here");
    }
    // A process of a dead build is in it, and another one in a group of somebody alive.
    let mut left = slipway_process::child::command("sleep").arg("1000").spawn().expect("a process");
    std::fs::write(dead.join("cgroup.procs"), left.id().to_string()).expect("it enters");
    let alive = ours.join(format!("alive-{}", std::process::id()));
    std::fs::create_dir(&alive).expect("a group");
    let lock = std::fs::File::open(&alive).expect("a group");
    lock.try_lock().expect("a lock");
    native.backend.sweep().await.expect("a sweep");
    // It was killed as a whole; its group goes at the latest with the next sweep.
    assert!(!left.wait().expect("an end").success());
    gone(&native, &dead).await;
    assert!(groups().contains(&alive), "{:?}", groups());
    drop(lock);
    gone(&native, &alive).await;
    native.end().await;
}
