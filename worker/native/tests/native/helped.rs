//! The network of commands without root: their own, behind a helper. Run by the tests of a user without root.

use std::{net::TcpListener, os::unix::fs::MetadataExt as _};

use slipway_backend::{BackendError, ImageBuilder as _, Logs, Script, Setup, conformance::Harness};
use slipway_native::network::{Commands, probe};
use slipway_oci::Platform;
use slipway_process::Environment;

use crate::parts::{self, Native};

/// The address of another host, and that of this one on the cable to it.
pub(crate) const OTHER: &str = "SLIPWAY_TEST_OTHER_HOST";
pub(crate) const HERE: &str = "SLIPWAY_TEST_THIS_HOST";
/// Programs that connect sandboxes.
const HELPERS: [&str; 3] = ["pasta", "pasta.avx2", "slirp4netns"];

async fn tried(native: &Native, network: Option<&str>, text: &str) -> (Result<(), BackendError>, Vec<String>) {
    let mut setup = Setup::new(slipway_process::random_id(), Platform::host());
    setup.network = network.map(str::to_owned);
    let mut workspace = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
    let text = format!("PATH=/.werf/stapel/embedded/bin:$PATH; {text}");
    Harness::new(&native.backend, &native.base).run(workspace.as_mut(), &[(1, &text)], &[]).await
}

async fn said(native: &Native, network: Option<&str>, text: &str) -> Vec<String> {
    let (ended, said) = tried(native, network, text).await;
    ended.unwrap_or_else(|error| panic!("{text}: {error}: {said:?}"));
    said
}

/// Says whether something listens there.
fn asks(address: &str, port: u16) -> String {
    format!("if (exec 3<>/dev/tcp/{address}/{port}) 2>/dev/null; then echo {address}; fi;")
}

/// The same where nothing should answer, not even that it does not.
fn asks_in_vain(address: &str, port: u16) -> String {
    let tries = format!("exec 3<>/dev/tcp/{address}/{port}");
    format!("if (busybox timeout 2 bash -c \"{tries}\"; exit $?) 2>/dev/null; then echo {address}; fi;")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_have_a_network_behind_a_helper() {
    let environment = Environment::from_process();
    let (Some(other), Some(here)) = (environment.get(OTHER), environment.get(HERE)) else { return };
    let Some(native) = Native::start().await else { return };
    probe(&parts::program()).expect("a helper");
    // One line is read, and nothing closed before: Debian's passt repeats what it has received on a connection that is half closed.
    let hello = format!(
        "until said=$( (busybox timeout 5 bash -c 'exec 3<>/dev/tcp/{other}/7777 && read -r line <&3 && echo $line'; exit $?) 2>/dev/null) ; \
         [[ $said ]]; do :; done; echo $said; busybox ip -o link | wc -l; [[ -d /sys/class/net/eth0 ]] && echo own"
    );
    assert_eq!(said(&native, None, &hello).await, ["hello", "2", "own"]);
    // Of the host, its loopback is out of reach, whatever name it is called by; the rest is as for its user.
    let loopback = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = loopback.local_addr().expect("an address").port();
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("a listener");
    let open = everywhere.local_addr().expect("an address").port();
    let gateway = "gateway=$(busybox ip route | awk '/^default/ { print $3 }'); ";
    let mut ways = gateway.to_owned();
    for address in ["127.0.0.1", "127.0.0.53", "$gateway", "10.0.2.2", "10.0.2.3", "192.0.0.8", "0.0.0.0", here] {
        ways += &asks_in_vain(address, port);
    }
    assert_eq!(said(&native, None, &format!("{ways} echo done")).await, ["done"]);
    let way = asks(here, open);
    assert_eq!(said(&native, None, &way).await, [here]);
    // What was made by hand would go where no route leads.
    let rights = said(
        &native,
        None,
        "grep CapEff /proc/self/status; busybox ping -c 1 -w 1 127.0.0.1 >/dev/null 2>&1 || echo no",
    )
    .await;
    assert_eq!(rights, ["CapEff:\t00000000a80405fb", "no"]);
    let names = said(
        &native,
        None,
        "grep -c ^nameserver /etc/resolv.conf; grep 'nameserver 127' /etc/resolv.conf || echo reached",
    )
    .await;
    assert!(names.last().is_some_and(|last| last == "reached") && names[0] != "0", "{names:?}");
    let ways = format!("{} {} busybox ip -o link | wc -l", asks("127.0.0.1", port), asks(other, 7777));
    assert_eq!(said(&native, Some("none"), &ways).await, ["1"]);
    assert_eq!(said(&native, Some("host"), &asks("127.0.0.1", port)).await, ["127.0.0.1"]);

    // Strangers do not reach the host at all, nor what is on its link only.
    let strangers = Native::of(None, Commands::Strangers).await.expect("it started before");
    let said_by = said(
        &strangers,
        None,
        &format!("{hello}; {} {} echo done", asks_in_vain(here, open), asks_in_vain("169.254.169.254", 80)),
    )
    .await;
    assert_eq!(said_by, ["hello", "2", "own", "done"]);
    let refused = tried(&strangers, Some("host"), "true").await.0;
    assert!(matches!(&refused, Err(BackendError::Refused(why)) if why.contains("`host`")), "{refused:?}");
    strangers.end().await;

    // One that is given up takes its helper along.
    let setup = Setup::new(slipway_process::random_id(), Platform::host());
    let mut workspace = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
    let (logs, mut lines): (Logs, _) = tokio::sync::mpsc::channel(8);
    let script = Script { commands: vec![(1, "echo up; while :; do :; done".to_owned())], ..Script::default() };
    tokio::select! {
        ended = workspace.run(script, logs) => panic!("{ended:?}"),
        line = lines.recv() => assert_eq!(line.as_deref(), Some(b"up".as_slice())),
    }
    drop(workspace);
    native.end().await;
    assert_eq!(helpers(), 0, "helpers are left");
}

/// Helpers of this process's user.
fn helpers() -> usize {
    let processes = std::fs::read_dir("/proc").expect("a listing").filter_map(|found| {
        let path = found.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let is_over = status.contains("State:\tZ");
        // It goes on in a namespace of its own, as its user or as nobody.
        let is_ours = [0, 65_534].contains(&std::fs::metadata(&path).ok()?.uid());
        (HELPERS.contains(&name.trim()) && is_ours && !is_over).then_some(())
    });
    processes.count()
}

/// Without a helper, the user's commands see the host's network, and strangers' commands do not run.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_helper_nobody_is_connected() {
    let environment = Environment::from_process();
    if environment.get(OTHER) != Some("none") {
        return;
    }
    let Some(native) = Native::start().await else { return };
    let strangers = Native::of(None, Commands::Strangers).await.expect("it started before");
    assert!(probe(&parts::program()).expect_err("no helper").contains("apt-get install passt"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    assert_eq!(said(&native, None, &asks("127.0.0.1", port)).await, ["127.0.0.1"]);
    let refused = tried(&strangers, None, "true").await.0.expect_err("no network");
    assert!(refused.is_retryable() && refused.to_string().contains("pasta"), "{refused}");
    assert!(tried(&strangers, Some("none"), "true").await.0.is_ok());
    native.end().await;
    strangers.end().await;
}
