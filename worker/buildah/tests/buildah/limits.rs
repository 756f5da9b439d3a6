//! Limits of processes, seen by a command.

use slipway_backend::limits::ProcessLimit;
use slipway_backend::{BackendError, conformance::Harness};

use crate::parts::Buildah;

/// How the kernel lists what `WERF_BUILDAH_ULIMIT` names, and what is asked for; above the hard limit of this process, that
/// is asked for.
const KINDS: [(&str, &str, u64); 15] = [
    ("core", "Max core file size", 4096),
    ("cpu", "Max cpu time", 600),
    ("data", "Max data size", 1 << 30),
    ("fsize", "Max file size", 1 << 30),
    ("locks", "Max file locks", 100),
    ("memlock", "Max locked memory", 65536),
    ("msgqueue", "Max msgqueue size", 40960),
    ("nice", "Max nice priority", 5),
    ("nofile", "Max open files", 1000),
    ("nproc", "Max processes", 5000),
    ("rss", "Max resident set", 1 << 30),
    ("rtprio", "Max realtime priority", 3),
    ("rttime", "Max realtime timeout", 1_000_000),
    ("sigpending", "Max pending signals", 200),
    ("stack", "Max stack size", 4 << 20),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_seen_by_a_command() {
    let own = ProcessLimit::of_this_process();
    let of = |kind: &str| own.iter().find(|limit| limit.kind() == kind).and_then(ProcessLimit::hard);
    let wanted: Vec<(&str, u64)> =
        KINDS.iter().map(|(kind, _, most)| (*kind, of(kind).unwrap_or(*most).min(*most))).collect();
    // Below the hard limit where that is more than nothing, so that both are told apart.
    let text: Vec<String> = wanted.iter().map(|(kind, hard)| format!("{kind}:{}:{hard}", hard - hard / 4)).collect();
    let Some(buildah) = Buildah::within(&text.join(",")).await else { return };
    let harness = Harness::new(&buildah.backend, &buildah.base);
    let mut workspace = harness.open(Some(harness.base)).await;
    let look = "while read -r line; do echo \"$line\"; done </proc/self/limits";
    let (ended, said) = harness.run(workspace.as_mut(), &[(1, look)], &[]).await;
    ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    for ((kind, listed, _), (_, hard)) in KINDS.iter().zip(&wanted) {
        let line = said.iter().find_map(|line| line.strip_prefix(listed)).unwrap_or_else(|| panic!("{kind}: {said:?}"));
        let seen: Vec<&str> = line.split_whitespace().take(2).collect();
        assert_eq!(seen, [(hard - hard / 4).to_string(), hard.to_string()], "{kind}: {said:?}");
    }
    drop(workspace);
    buildah.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_this_process_are_those_of_commands() {
    let Some(buildah) = Buildah::start().await else { return };
    let harness = Harness::new(&buildah.backend, &buildah.base);
    let mut workspace = harness.open(Some(harness.base)).await;
    let look = "while read -r line; do echo \"$line\"; done </proc/self/limits";
    let (ended, said) = harness.run(workspace.as_mut(), &[(1, look)], &[]).await;
    ended.unwrap_or_else(|error: BackendError| panic!("{error}: {said:?}"));
    let own = std::fs::read_to_string("/proc/self/limits").expect("limits");
    for (kind, listed, _) in KINDS {
        let of = |lines: &[&str]| {
            let line = lines.iter().find_map(|line| line.strip_prefix(listed)).map(str::to_owned);
            line.map(|line| line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>())
        };
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        assert_eq!(of(&said), of(&own.lines().collect::<Vec<_>>()), "{kind}");
    }
    drop(workspace);
    buildah.end().await;
}
