//! What commands in a sandbox can see and do, and what is left of them.

use std::path::Path;

use rustix::process::{Pid, Signal};
use slipway_backend::{BackendError, conformance::Harness};

use crate::parts::{Native, is_gvisor};

/// Runs one command; answers what it said.
async fn said(harness: &Harness<'_>, command: &str) -> Vec<String> {
    let mut workspace = harness.open(Some(harness.base)).await;
    let text = format!("PATH=/.werf/stapel/embedded/bin:$PATH; {command}");
    let (ended, said) = harness.run(workspace.as_mut(), &[(1, &text)], &[]).await;
    ended.unwrap_or_else(|error| panic!("{command}: {error}: {said:?}"));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_see_nothing_of_the_host() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let store = native.store();
    let secret = store.parent().expect("a home").join("secret");
    std::fs::write(&secret, "secret").expect("a file");
    // Only the shell and what it started are there; the shell is the first.
    assert_eq!(
        said(&harness, "echo $$; for p in /proc/[0-9]*; do [[ -e $p/exe ]] && echo $p; done | wc -l").await[0],
        "1"
    );
    let mounts = said(&harness, "cat /proc/self/mountinfo").await.join("\n");
    for part in ["/dev/vda", &*store.to_string_lossy(), "/etc/shadow"] {
        assert!(
            !mounts.lines().any(|line| line.split(' ').nth(4) != Some("/")
                && line.contains(part)
                && ![" /etc/", " /.werf/stapel "].iter().any(|known| line.contains(known))),
            "{part}: {mounts}"
        );
    }
    let secret = secret.display();
    let tries = format!(
        "cat {secret} 2>/dev/null && echo leaked; ls /proc/1/root{secret} 2>/dev/null && echo leaked; \
         for fd in /proc/self/fd/*; do [[ -d $fd/ ]] && ls $fd/ 2>/dev/null | grep -q secret && echo leaked; done; echo done"
    );
    assert_eq!(said(&harness, &tries).await, ["done"]);
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_have_the_rights_of_a_container_and_no_more() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let status = said(&harness, "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status").await;
    let status: Vec<String> = status.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    // Docker's default set.
    let kept = "00000000a80425fb";
    let expected = [
        "CapInh: 0000000000000000".to_owned(),
        format!("CapPrm: {kept}"),
        format!("CapEff: {kept}"),
        format!("CapBnd: {kept}"),
        "CapAmb: 0000000000000000".to_owned(),
        "NoNewPrivs: 1".to_owned(),
        "Seccomp: 2".to_owned(),
    ];
    // gVisor does not tell the rest, and has a filter of its own around itself.
    match is_gvisor() {
        false => assert_eq!(status, expected),
        true => assert_eq!(status[..4], expected[..4]),
    }
    for forbidden in [
        "busybox mount -t tmpfs none /bin",
        "busybox umount /proc",
        "busybox unshare -m true",
        "busybox hostname other",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "busybox mknod /bin/disk b 8 0 && read -r -n 1 < /bin/disk",
        "touch /.werf/stapel/embedded/bin/x",
        "touch /sys/x",
        "busybox ip link add d0 type dummy",
        "busybox chroot /proc/1/root true 2>/dev/null && cat /proc/1/root/proc/kcore | head -c 1 | grep -q .",
    ] {
        let tried =
            said(&harness, &format!("if ( {forbidden} ) >/dev/null 2>&1; then echo could; else echo not; fi")).await;
        assert_eq!(tried, ["not"], "{forbidden}");
    }
    let network = said(&harness, "busybox ip -o link | wc -l; busybox ping -c 1 127.0.0.1 >/dev/null && echo up").await;
    assert_eq!(network, ["1", "up"]);
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_have_what_systems_have() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let checks = "for d in null zero full random urandom tty; do [[ -c /dev/$d ]] || echo no $d; done; \
                  echo x > /dev/shm/x; head -c 3 /dev/zero | wc -c; [[ -e /dev/fd/0 && -d /dev/pts ]] && echo devices; \
                  echo $HOME $HOSTNAME; cat /etc/hostname; grep -c localhost /etc/hosts; umask; pwd; id -u; id -G";
    let found = said(&harness, checks).await;
    assert_eq!(found, ["3", "devices", "/root slipway", "slipway", "2", "0022", "/", "0", "0"]);
    // None of it is in the image.
    let image = harness.built(&native.base, &[(1, "echo x > /made; echo y > /etc/hosts")]).await;
    assert_eq!(harness.paths(&image, "/").await, [".", "bin", "etc", "etc/passwd", "made"]);
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_the_network_of_the_host_change_nothing_of_it() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let attempt = slipway_process::random_id();
    let setup = slipway_backend::Setup {
        attempt,
        platform: slipway_oci::Platform::host(),
        network: Some("host".to_owned()),
        to: None,
        mounts: Vec::new(),
        secrets: slipway_backend::Secrets::none(),
    };
    let opened = slipway_backend::ImageBuilder::open(&native.backend, Some(&native.base), setup).await;
    let text = "PATH=/.werf/stapel/embedded/bin:$PATH; [[ -d /sys/class/net/lo ]] && echo seen; \
                (echo 1 > /sys/kernel/mm/ksm/run) 2>/dev/null || busybox ip link add d0 type dummy 2>/dev/null || echo not";
    let (ended, said) = harness.run(opened.expect("a workspace").as_mut(), &[(1, text)], &[]).await;
    // gVisor shows no networks there.
    let expected = if is_gvisor() { vec!["not"] } else { vec!["seen", "not"] };
    assert!(ended.is_ok() && said == expected, "{ended:?}: {said:?}");
    native.end().await;
}

/// A node can be made, for an image, and opens nothing: the host's disks and memory are out of reach.
#[tokio::test(flavor = "multi_thread")]
async fn devices_of_the_host_are_not_opened() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let text = "[[ ! -e /proc/partitions ]] || while read -r major minor rest; do [[ $major == [0-9]* ]] && list+=\" b:$major:$minor\"; done < /proc/partitions; \
                for node in $list c:1:1 c:1:3 c:1:5 c:1:11 c:10:229; do IFS=: read -r kind major minor <<< $node; \
                for place in /bin /dev /dev/shm; do busybox mknod $place/node $kind $major $minor 2>/dev/null || :; \
                (exec 3< $place/node) 2>/dev/null && echo opened $node in $place; busybox rm -f $place/node; done; done; \
                head -c 1 /dev/zero | wc -c; echo x > /dev/null";
    let mut found = said(&harness, text).await;
    if is_gvisor() {
        // Its memory opens devices: those that its own kernel plays.
        found.retain(|line| !["c:1:3", "c:1:5", "c:10:229"].iter().any(|own| line.contains(&format!("{own} in /dev"))));
    }
    assert_eq!(found, ["1"]);
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_of_a_stage_end_with_it() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let mark = format!("{}", 100_000 + std::process::id());
    said(
        &harness,
        &format!(
            "busybox sleep {mark} & busybox setsid busybox sleep {mark} >/dev/null 2>&1 </dev/null & echo started"
        ),
    )
    .await;
    assert_eq!(running(&mark), 0);
    native.end().await;
}

/// Processes of this machine one of whose arguments is a text, or holds a path.
fn running(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("a listing").filter_map(|found| {
        let arguments = std::fs::read(found.ok()?.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&arguments)
            .split('\0')
            .any(|word| word == text || (text.starts_with('/') && word.contains(text)))
            .then_some(())
    });
    processes.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_given_up_leaves_nothing() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let mut workspace = harness.open(Some(&native.base)).await;
    let mark = format!("{}", 300_000 + std::process::id());
    let text = format!("/.werf/stapel/embedded/bin/sleep {mark} & echo up; wait");
    let script = slipway_backend::Script { commands: vec![(1, text)], ..Default::default() };
    let (logs, mut lines) = tokio::sync::mpsc::channel(1);
    let begun = async {
        assert_eq!(lines.recv().await.as_deref(), Some(b"up".as_slice()));
        // What runs by gVisor is no process of this machine.
        while !is_gvisor() && running(&mark) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = workspace.run(script, logs) => panic!("{ended:?}"),
        () = begun => {}
    }
    drop(workspace);
    let store = native.store().display().to_string();
    native.end().await;
    assert_eq!((running(&mark), running(&store)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_are_unknown_are_refused() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let setup = slipway_backend::Setup {
        attempt: harness.attempt(),
        platform: slipway_oci::Platform::host(),
        network: Some("container:x".to_owned()),
        to: None,
        mounts: Vec::new(),
        secrets: slipway_backend::Secrets::none(),
    };
    let mut workspace =
        slipway_backend::ImageBuilder::open(&native.backend, Some(&native.base), setup).await.expect("a workspace");
    let (ended, _) = harness.run(workspace.as_mut(), &[(1, "true")], &[]).await;
    assert!(matches!(&ended, Err(BackendError::Refused(why)) if why.starts_with("not supported yet")), "{ended:?}");
    drop(workspace);
    native.end().await;
}

/// Names of one file in a layer below are files of their own above, whichever was looked at last.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_changes_by_the_name_that_is_used() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let tools = "PATH=/.werf/stapel/embedded/bin:$PATH; ";
    let lower = format!("{tools} echo a > /a; ln /a /b; mkdir /d; ln /a /d/c");
    let image = harness.built(&native.base, &[(1, &lower)]).await;
    let upper = format!("{tools} echo new > /x; ln /x /d/y; chmod 600 /b");
    let image = harness.built(&image, &[(1, &upper)]).await;
    let modes = |name: &'static str| {
        let (harness, image) = (&harness, &image);
        async move { harness.items(image, "/").await.into_iter().find(|item| item.path == name).map(|item| item.mode) }
    };
    assert_eq!((modes("a").await, modes("d/c").await), (Some(0o644), Some(0o644)));
    assert_eq!(modes("b").await, Some(0o600));
    native.end().await;
}

/// Processes that were started from a program.
fn processes(program: &Path) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").expect("a listing").flatten();
    let numbers = all.filter_map(|found| found.file_name().to_str()?.parse().ok());
    let is_it = |number: &i32| std::fs::read_link(format!("/proc/{number}/exe")).is_ok_and(|exe| exe == program);
    numbers.filter(is_it).collect()
}

async fn waiting(program: &Path) -> Vec<i32> {
    loop {
        let found = processes(program);
        if found.len() >= 2 {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

/// It waits from the second command on, is what the next one runs in, and is no loss when somebody ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_waits_for_the_next_command() {
    let Some(native) = Native::start().await else { return };
    let place = tempfile::tempdir().expect("a directory");
    // What is started from a copy is of this test.
    let program = place.path().join("slipway-sandbox");
    std::fs::copy(crate::parts::program(), &program).expect("a copy");
    let backend = native.again_by(program.clone()).await;
    let harness = Harness::new(&backend, &native.base);
    assert_eq!(said(&harness, "echo one").await, ["one"]);
    assert!(processes(&program).is_empty(), "who runs one command needs one sandbox");
    assert_eq!(said(&harness, "echo two").await, ["two"]);
    let waits = waiting(&program).await;
    assert_eq!(said(&harness, "echo three").await, ["three"]);
    let next = waiting(&program).await;
    assert!(
        next.iter().all(|number| !waits.contains(number)),
        "the third ran in the one that waited: {waits:?} {next:?}"
    );
    for number in &next {
        // One of them may have ended with the other.
        let _ = rustix::process::kill_process(Pid::from_raw(*number).expect("a process"), Signal::KILL);
    }
    while !processes(&program).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(said(&harness, "echo four").await, ["four"]);
    waiting(&program).await;
    backend.shut_down().await.expect("an end");
    assert!(processes(&program).is_empty());
    native.end().await;
}
