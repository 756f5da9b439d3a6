//! Commands about the host.

use std::process::Stdio;

use super::harness::{Sandbox, project};

const NO_ENGINE: &str = "unix:///nonexistent/engine.sock";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whatever works here: the exit code is that of the backends, and what does not work says why.
#[test]
fn a_check_tells_what_works_and_what_mends_the_rest() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["host", "check", "--output", "json"]);
    let checked = json(&run.out);
    let findings = checked["findings"].as_array().expect("findings");
    for name in [
        "kernel",
        "overlay",
        "user-namespaces",
        "subordinate-ids",
        "toolbox",
        "network",
        "vfs",
        "cgroups",
        "runc",
        "buildah",
    ] {
        let finding = findings.iter().find(|finding| finding["name"] == name);
        let finding = finding.unwrap_or_else(|| panic!("{name} is not in {}", run.out));
        assert!(!finding["found"].as_str().unwrap_or_default().is_empty(), "{finding}");
        if ["fails", "absent"].contains(&finding["state"].as_str().unwrap_or_default()) {
            let untried = finding["found"].as_str().is_some_and(|found| found.starts_with("not tried"));
            assert!(finding["mend"].is_string() || untried || name == "subordinate-ids", "{finding}");
        }
    }
    let backends = checked["backends"].as_array().expect("backends");
    let some = backends.iter().any(|backend| backend["works"] == true);
    assert_eq!(run.code, Some(if some { 0 } else { 1 }), "{run:?}");
    let text = sandbox.run(&["host", "check"]);
    assert!(text.out.contains("kernel") && text.out.contains("can"), "{}", text.out);
}

#[test]
fn a_check_fails_when_nothing_can_build() {
    let sandbox = Sandbox::new().with("DOCKER_HOST", NO_ENGINE);
    // Nobody can keep layers in a file.
    sandbox.write("file", "");
    let run = sandbox.run(&["host", "check", "--home-dir", "file"]);
    assert!(run.out.contains("cannot    docker") && run.out.contains("cannot    native-"), "{}", run.out);
    run.ends(1, &["no backend can build on this host"]);
}

#[test]
fn to_look_is_not_to_make() {
    let sandbox = Sandbox::new().with("DOCKER_HOST", NO_ENGINE);
    let home = sandbox.path().join("kept");
    let kept = json(&sandbox.run(&["host", "df", "--home-dir", "kept", "-o", "json"]).ends(0, &[]).out);
    assert_eq!((&kept["layers"]["number"], &kept["stages"]), (&0.into(), &0.into()));
    sandbox.run(&["host", "cleanup", "--home-dir", "kept"]).ends(0, &[]);
    assert!(!home.exists());
    sandbox.run(&["host", "df", "--allowed-backend-storage-volume-usage", "much"]).ends(2, &["`much` is neither"]);
    sandbox.run(&["host", "purge"]).ends(2, &["it asks nobody: give --force"]);
    sandbox.run(&["host"]).ends(2, &["Usage"]);
    let purge = sandbox.run(&["host", "purge", "--force", "--home-dir", "kept"]).ends(0, &[]);
    assert!(purge.out.contains("removed: nothing") && purge.out.contains("does not answer"), "{}", purge.out);
    assert!(!home.exists());
}

/// What a cleanup may remove is made by hand: copies, blobs, leftovers of a cleanup that was killed.
#[test]
fn a_killed_cleanup_or_purge_is_finished_by_the_next() {
    let sandbox = Sandbox::new().with("DOCKER_HOST", NO_ENGINE);
    let home = sandbox.path().join("kept");
    let all = ["--allowed-local-cache-volume-usage=0", "--home-dir", "kept"];
    let aged = |name: &str| {
        sandbox.write(&format!("kept/{name}"), "x");
        let entry = home.join(name);
        let entry = if name.ends_with("HEAD") { entry.parent().expect("a parent").to_owned() } else { entry };
        let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
        std::fs::File::open(entry).and_then(|file| file.set_times(times)).expect("a time");
    };
    let fill = || ["git/a/HEAD", "git/b/HEAD", "local_cache/blobs/sha256-c"].iter().for_each(|name| aged(name));
    let cleanup = [&["host", "cleanup"][..], &all].concat();
    let copies =
        || std::fs::read_dir(home.join("git")).map_or(0, |all| all.flatten().filter(|it| it.path().is_dir()).count());
    fill();
    for passage in ["1", "2"] {
        let killed =
            sandbox.command(&cleanup).env("SLIPWAY_FAILPOINT", format!("host-cleanup-aside:{passage}")).status();
        assert_eq!(killed.expect("it runs").code(), None, "it is killed at passage {passage}");
        assert!(home.join("gone").read_dir().expect("it was moved there").next().is_some());
        let dry = sandbox.run(&[&cleanup[..], &["--dry-run"]].concat()).ends(0, &[]);
        assert!(dry.out.contains("would remove: 1 ") && dry.out.contains("a cleanup that was killed"), "{}", dry.out);
        sandbox.run(&cleanup).ends(0, &[]);
        assert_eq!((copies(), home.join("gone").read_dir().expect("a directory").count()), (0, 0));
        fill();
    }
    assert_eq!(copies(), 2);
    let purge = ["host", "purge", "--force", "--home-dir", "kept"];
    for passage in 1..=3 {
        let killed = sandbox.command(&purge).env("SLIPWAY_FAILPOINT", format!("host-purge:{passage}")).status();
        assert_eq!(killed.expect("it runs").code(), None, "it is killed at passage {passage}");
        assert!(home.join("gone").exists());
        sandbox.run(&purge).ends(0, &[]);
        assert!(!home.exists(), "passage {passage}");
        fill();
    }
    // Two at once, cleaning the same.
    let children: Vec<_> = (0..2)
        .map(|_| sandbox.command(&cleanup).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(copies(), 0);
}

/// A cleanup by thresholds on a volume of its own: the oldest goes, until there is room.
#[test]
fn a_small_volume_is_cleaned_down_to_its_margin() {
    let sandbox = Sandbox::new().with("DOCKER_HOST", NO_ENGINE);
    let home = sandbox.path().join("kept");
    std::fs::create_dir(&home).expect("a directory");
    let mount = |program: &str, arguments: &[&str]| {
        slipway_process::child::command(program)
            .args(arguments)
            .arg(&home)
            .status()
            .is_ok_and(|status| status.success())
    };
    if !rustix::process::geteuid().is_root() || !mount("mount", &["-t", "tmpfs", "-o", "size=10m", "tmpfs"]) {
        slipway_parts::skip("mount", "a small volume needs root and mounts");
        return;
    }
    let blob = |at: u64| home.join(format!("local_cache/blobs/sha256-{at}"));
    std::fs::create_dir_all(home.join("local_cache/blobs")).expect("a directory");
    for at in 0..9 {
        std::fs::write(blob(at), vec![1; 1 << 20]).expect("a file");
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
        let times = std::fs::FileTimes::new().set_modified(time);
        std::fs::File::open(blob(at)).and_then(|file| file.set_times(times)).expect("a time");
    }
    let cleanup = |more: &[&str]| {
        let all = [&["host", "cleanup", "--home-dir", "kept"][..], more].concat();
        sandbox.run(&all)
    };
    let left = || (0..9).filter(|at| blob(*at).exists()).collect::<Vec<_>>();
    let runs = [
        // It is full by nine tenths.
        (cleanup(&["--allowed-local-cache-volume-usage=95"]), left()),
        (cleanup(&["--allowed-local-cache-volume-usage=80%", "--allowed-local-cache-volume-usage-margin=20"]), left()),
        (
            cleanup(&["--allowed-local-cache-volume-usage=4MiB", "--allowed-local-cache-volume-usage-margin=1MiB"]),
            left(),
        ),
    ];
    assert!(mount("umount", &[]));
    let [all, some, few] = runs.map(|(run, left)| {
        run.ends(0, &[]);
        left
    });
    assert_eq!(all.len(), 9);
    // Down to six tenths and what the directories take.
    assert!(some == [3, 4, 5, 6, 7, 8] || some == [4, 5, 6, 7, 8], "{some:?}");
    assert_eq!(few, [6, 7, 8]);
}

/// After a command that builds, however it ends, when the last cleanup was long ago; nobody waits for it.
#[test]
fn a_build_has_the_host_cleaned_now_and_then() {
    let Some(sandbox) = project(&[("werf.yaml", "project: shop\nconfigVersion: 1\n---\nimage: a\nfrom: b\n")]) else {
        return;
    };
    let sandbox = sandbox.with("DOCKER_HOST", NO_ENGINE).with("SLIPWAY_BACKEND", "docker");
    let (home, limit) = (sandbox.path().join(".git/kept"), "--allowed-local-cache-volume-usage=0");
    let old = || {
        for name in [".git/kept/service/host-cleanup", ".git/kept/local_cache/blobs/sha256-a"] {
            sandbox.write(name, "\n");
            let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
            let file = std::fs::File::options().write(true).open(sandbox.path().join(name));
            file.and_then(|file| file.set_times(times)).expect("a time");
        }
    };
    let stamped = || {
        let stamp = std::fs::metadata(home.join("service/host-cleanup")).and_then(|stamp| stamp.modified());
        stamp.expect("a stamp") > std::time::SystemTime::UNIX_EPOCH
    };
    let build = |more: &[&str]| {
        sandbox
            .run(&[&["build", limit, "--home-dir", ".git/kept"], more].concat())
            .ends(1, &["no container engine answers"])
    };
    old();
    build(&[]);
    assert!(!stamped(), "it is switched off");
    build(&["--disable-auto-host-cleanup=false"]);
    assert!(stamped());
    while home.join("local_cache/blobs/sha256-a").exists() {
        std::thread::yield_now();
    }
    // It still writes what it did.
    let said = || std::fs::read_to_string(home.join("service/host-cleanup.log")).expect("a log");
    while !said().contains("removed: 1 ") {
        std::thread::yield_now();
    }
    // The next build finds that it was done.
    std::fs::write(home.join("service/host-cleanup.log"), "").expect("a file");
    build(&["--disable-auto-host-cleanup=false"]);
    assert_eq!(said(), "");
}
