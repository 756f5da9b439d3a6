//! The network of commands: their own, behind the host's address; nothing of it is left.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::sched::{CloneFlags, setns};
use rustix::net::{Shutdown, shutdown};

use slipway_backend::{
    BackendError, ContainerBackend as _, ImageBuilder as _, Logs, Script, Setup, Workspace, conformance::Harness,
};
use slipway_native::network::{Commands, clear, probe};
use slipway_oci::Platform;
use slipway_process::{Environment, child::command};

use crate::parts::{self, Native};

/// Says to a test that it was started in a network of its own, and which part it plays.
const PART: &str = "SLIPWAY_TEST_NETWORK_PART";

/// Whether this machine can do it; said aloud when not.
fn can() -> bool {
    let tools = [("ip", "-V"), ("busybox", "true")].into_iter().find(|(tool, argument)| {
        !command(tool).arg(argument).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    let lacks = match tools {
        Some((tool, _)) => Err(format!("{tool} is not installed")),
        None => probe(&parts::program()),
    };
    lacks.map_err(|why| slipway_parts::skip("network", &why)).is_ok()
}

fn ip(arguments: &str) -> String {
    let output = command("ip").args(arguments.split(' ')).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Counts other hosts of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Another host, on a cable of its own, with a server that says hello.
pub(crate) struct Other {
    name: String,
    pub(crate) address: String,
    /// This host's on the cable to it.
    pub(crate) here: String,
    server: Arc<TcpListener>,
}

impl Other {
    pub(crate) fn start() -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 8;
        let (name, cable) = (format!("slt-{id}"), format!("slt{id}"));
        let [high, low] = u16::try_from(id % 16_000 * 4).expect("small").to_be_bytes();
        let network = format!("198.18.{high}.");
        ip(&format!("netns add {name}"));
        ip(&format!("link add {cable} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {network}{}/30 dev {cable}", low + 1));
        ip(&format!("link set {cable} up"));
        let here = format!("{network}{}", low + 1);
        let address = format!("{network}{}", low + 2);
        ip(&format!("-n {name} addr add {address}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        let server = Arc::new(listener_in(&name));
        let serving = Arc::clone(&server);
        std::thread::spawn(move || serving.incoming().map_while(Result::ok).for_each(say_hello));
        Self { name, address, here, server }
    }
}

/// A listener in a named network.
fn listener_in(name: &str) -> TcpListener {
    let network = std::fs::File::open(format!("/run/netns/{name}")).expect("a network");
    let listen = move || {
        setns(network, CloneFlags::CLONE_NEWNET).expect("the network is entered");
        TcpListener::bind("0.0.0.0:7777").expect("a listener")
    };
    std::thread::spawn(listen).join().expect("a thread")
}

/// Whoever went away meanwhile is not minded.
fn say_hello(mut client: TcpStream) {
    let said = client.write_all(b"hello\n").and_then(|()| client.shutdown(std::net::Shutdown::Write));
    let _ = said.and_then(|()| client.read_to_end(&mut Vec::new()));
}

impl Drop for Other {
    fn drop(&mut self) {
        // Ends the thread, and with it what holds the network.
        shutdown(&*self.server, Shutdown::Both).expect("an end");
        ip(&format!("netns del {}", self.name));
    }
}

async fn opened(native: &Native, network: Option<&str>) -> Box<dyn Workspace> {
    let setup = Setup {
        attempt: slipway_process::random_id(),
        platform: Platform::host(),
        network: network.map(str::to_owned),
        to: None,
        mounts: Vec::new(),
        secrets: slipway_backend::Secrets::none(),
    };
    native.backend.open(Some(&native.base), setup).await.expect("a workspace")
}

async fn tried(native: &Native, network: Option<&str>, text: &str) -> (Result<(), BackendError>, Vec<String>) {
    let mut workspace = opened(native, network).await;
    let text = format!("PATH=/.werf/stapel/embedded/bin:$PATH; {text}");
    Harness::new(&native.backend, &native.base).run(workspace.as_mut(), &[(1, &text)], &[]).await
}

async fn said(native: &Native, text: &str) -> Vec<String> {
    let (ended, said) = tried(native, None, text).await;
    ended.unwrap_or_else(|error| panic!("{text}: {error}: {said:?}"));
    said
}

/// What asks a server until it says something; nothing is asked while it is not up yet.
fn hello(address: &str) -> String {
    format!("until said=$(busybox nc -w 5 {address} 7777 </dev/null) && [[ $said ]]; do :; done; echo $said")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_others_from_a_network_of_their_own() {
    if !can() {
        return;
    }
    let Some(native) = Native::start().await else { return };
    let other = Other::start();
    // It has no route to the sandbox's address: that it answers shows that it sees the host's.
    assert_eq!(said(&native, &hello(&other.address)).await, ["hello"]);
    let own = said(&native, "busybox ip -o link | wc -l; busybox ip -o -4 addr show eth0 | awk '{ print $4 }'").await;
    let [links, address] = own.as_slice() else { panic!("{own:?}") };
    assert_eq!(links, "2");
    // The sixth version is there as with Docker: on the loopback.
    let sixth = "busybox ip -o -6 addr | awk '{ print $2, $4 }'; (exec 3<>/dev/tcp/::1/1) 2>&1 | grep -q refused && echo refused";
    let expected =
        if std::path::Path::new("/proc/net/if_inet6").exists() { vec!["lo ::1/128", "refused"] } else { vec![] };
    let (_, seen) = tried(&native, None, sixth).await;
    assert_eq!(seen, expected);
    let (address, gateway) =
        (address.trim_end_matches("/30"), said(&native, "busybox ip route | awk '/^default/ { print $3 }'").await);
    assert_ne!(gateway, [address]);
    // A service of this process, on the host's loopback, is not theirs.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let ask = format!("if (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; then echo reached; else echo not; fi");
    assert_eq!(said(&native, &ask).await, ["not"]);
    let host = tried(&native, Some("host"), &ask).await;
    assert_eq!((host.0.is_ok(), host.1), (true, vec!["reached".to_owned()]));
    let none = tried(&native, Some("none"), &ask).await;
    assert_eq!((none.0.is_ok(), none.1), (true, vec!["not".to_owned()]));
    drop(other);
    native.end().await;
    // The kernel takes its time to remove what nobody holds.
    while ip("-o -4 addr").contains(&format!("inet {}/30", gateway[0])) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_used_again_when_nothing_was_left_in_it() {
    if !can() {
        return;
    }
    let Some(native) = Native::start().await else { return };
    let strangers = Native::of(None, Commands::Strangers).await.expect("it started before");
    // Each cable has a number of its own, made up when it is laid; addresses of the protocol are given out again.
    let place = "cat /sys/class/net/eth0/address";
    let first = said(&native, place).await;
    assert_eq!(said(&native, place).await, first);
    // Whoever hangs up first leaves, nearly always, a socket that waits for late packets: nobody else could listen there.
    let call = "busybox nc -l -p 7777 </dev/null >/dev/null & \
                until (exec 3<>/dev/tcp/127.0.0.1/7777) 2>/dev/null; do :; done; wait";
    let waits = "[[ $(busybox awk '$4 == \"06\"' /proc/net/tcp) ]]";
    let text = format!("{place}; until {waits}; do {call}; done");
    let spoiled = said(&native, &text).await;
    let mut others = BTreeSet::new();
    for _ in 0..4 {
        // A command that fails leaves no more than one that does not.
        assert!(tried(&native, None, "exit 125").await.0.is_err());
        others.extend(said(&native, place).await);
    }
    // One is in use, and one in the sandbox that waits.
    assert!(others.len() <= 2 && !others.contains(&spoiled[0]), "{others:?} after {spoiled:?}");
    // Strangers get a new one each.
    assert_ne!(said(&strangers, place).await, said(&strangers, place).await);
    native.end().await;
    strangers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_reach_neither_the_host_nor_each_other() {
    if !can() {
        return;
    }
    let Some(native) = Native::of(None, Commands::Strangers).await else { return };
    let own = Native::start().await.expect("it started before");
    let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let ask = format!(
        "host=$(busybox ip route | awk '/^default/ {{ print $3 }}'); \
         if (exec 3<>/dev/tcp/$host/{port}) 2>/dev/null; then echo reached; else echo not; fi"
    );
    assert_eq!(said(&own, &ask).await, ["reached"]);
    assert_eq!(said(&native, &ask).await, ["not"]);
    let refused = tried(&native, Some("host"), "true").await.0;
    assert!(matches!(&refused, Err(BackendError::Refused(why)) if why.contains("`host`")), "{refused:?}");

    // Two sandboxes at once: the first says its address and waits to be called.
    let mut waiting = opened(&own, None).await;
    let text = "B=/.werf/stapel/embedded/bin/busybox; $B ip -o -4 addr show eth0 | $B awk '{ print $4 }'; $B nc -l -p 7777 -e $B echo hello";
    let (logs, mut lines): (Logs, _) = tokio::sync::mpsc::channel(8);
    let script = Script { commands: vec![(1, text.to_owned())], ..Script::default() };
    let calling = async {
        let address = String::from_utf8(lines.recv().await.expect("an address")).expect("text");
        let address = address.trim().trim_end_matches("/30").to_owned();
        said(&native, &format!("busybox nc -w 1 {address} 7777 </dev/null || true")).await
    };
    tokio::select! {
        ended = waiting.run(script, logs) => panic!("somebody called: {ended:?}"),
        heard = calling => assert!(!heard.contains(&"hello".to_owned()), "{heard:?}"),
    }
    drop(waiting);
    native.end().await;
    own.end().await;
}

/// What says that it runs, and does so until it is killed.
fn forever() -> Script {
    Script { commands: vec![(1, "echo up; while :; do :; done".to_owned())], ..Script::default() }
}

/// The rules of this network.
fn rules() -> String {
    let tables = ["filter", "nat"].map(|table| {
        let output = command("iptables").args(["-w", "10", "-t", table, "-S"]).output().expect("iptables runs");
        String::from_utf8(output.stdout).expect("text")
    });
    tables.concat()
}

/// Runs a test of this program again, alone in a network that nothing else is in.
fn again(network: &str, part: &str) -> std::process::ExitStatus {
    let own: PathBuf = std::env::current_exe().expect("a program");
    let mut again = command("ip");
    again.args(["netns", "exec", network]).arg(own).args(["--exact", "--nocapture"]);
    again
        .arg("network::rules_come_with_the_first_user_and_stay_until_they_are_cleared")
        .env(PART, part)
        .status()
        .expect("a run")
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_come_with_the_first_user_and_stay_until_they_are_cleared() {
    match Environment::from_process().get(PART) {
        None => {}
        Some("closed") => return be_without().await,
        Some("killed") => return be_killed().await,
        Some(_) => return come_and_go().await,
    }
    if !can() {
        return;
    }
    if !command("iptables").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return slipway_parts::skip("network", "iptables is not installed");
    }
    let network = format!("slr-{}", std::process::id());
    ip(&format!("netns add {network}"));
    let pass_on = |value: u8| ip(&format!("netns exec {network} busybox sysctl -q -w net.ipv4.ip_forward={value}"));
    pass_on(0);
    let closed = again(&network, "closed");
    pass_on(1);
    let first = again(&network, "alone");
    let killed = again(&network, "killed");
    let after = again(&network, "after");
    ip(&format!("netns del {network}"));
    use std::os::unix::process::ExitStatusExt as _;
    assert!(closed.success(), "{closed}");
    assert!(first.success(), "{first}");
    assert_eq!(killed.signal(), Some(9), "{killed}");
    assert!(after.success(), "{after}");
}

/// A host that passes no packets on: the user's commands see its network, strangers' commands do not run.
async fn be_without() {
    let Some(native) = Native::start().await else { return };
    let strangers = Native::of(None, Commands::Strangers).await.expect("it started before");
    assert!(probe(&parts::program()).expect_err("no packets").contains("net.ipv4.ip_forward=1"));
    assert_eq!(said(&native, "busybox ip -o link | wc -l").await, ["1"]);
    let refused = tried(&strangers, None, "true").await.0.expect_err("no network");
    assert!(refused.is_retryable() && refused.to_string().contains("net.ipv4.ip_forward=1"), "{refused}");
    assert!(tried(&strangers, Some("none"), "true").await.0.is_ok());
    native.end().await;
    strangers.end().await;
    assert!(!rules().contains("SLIPWAY"), "rules are left: {}", rules());
}

/// Waits until no cable is left: the kernel takes its time.
fn no_cable() {
    while ip("-o link").contains("slw") {}
}

/// After it, all is as before; leftovers of a killed process are gone too.
async fn come_and_go() {
    let Some(native) = Native::start().await else { return };
    native.backend.sweep().await.expect("a sweep");
    no_cable();
    let mut workspace = opened(&native, None).await;
    let (logs, mut lines) = tokio::sync::mpsc::channel(8);
    {
        let mut running = workspace.run(forever(), logs);
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            line = lines.recv() => assert_eq!(line.as_deref(), Some(b"up".as_slice())),
        }
        assert!(rules().contains("MASQUERADE") && ip("-o link").contains("slwo"));
    }
    // A second user keeps them.
    let other = Native::start().await.expect("it started before");
    said(&other, "true").await;
    drop(workspace);
    native.end().await;
    assert!(!clear().expect("rules are looked for"), "the rules are in use");
    assert!(rules().contains("MASQUERADE"));
    said(&other, "true").await;
    other.end().await;
    no_cable();
    // Those who come next find them, and put back what somebody removed.
    let jump = "FORWARD -j SLIPWAY-FORWARD";
    assert!(rules().contains(jump));
    let gone = command("iptables").args(["-w", "10", "-D"]).args(jump.split(' ')).status().expect("iptables runs");
    assert!(gone.success());
    let third = Native::start().await.expect("it started before");
    said(&third, "true").await;
    assert_eq!(rules().matches(jump).count(), 1);
    third.end().await;
    assert!(clear().expect("rules are removed"));
    assert!(!rules().contains("SLIPWAY"), "rules are left: {}", rules());
    assert!(!clear().expect("rules are looked for"));
}

/// Is killed while a command runs.
async fn be_killed() {
    let Some(native) = Native::start().await else { return };
    let mut workspace = opened(&native, None).await;
    let (logs, mut lines) = tokio::sync::mpsc::channel(8);
    let mut running = workspace.run(forever(), logs);
    tokio::select! {
        ended = &mut running => panic!("{ended:?}"),
        line = lines.recv() => assert_eq!(line.as_deref(), Some(b"up".as_slice())),
    }
    assert!(rules().contains("MASQUERADE") && ip("-o link").contains("slwo"));
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
