//! `mount`, `docker` and `network`: what commands see of the host, and what of it is in images.

use std::fs;

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, Run, engine, project::backend, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
/// Counts in a file, and says how far.
const COUNT: &str = "n=$(cat /mount/counter 2>/dev/null || echo 0); echo $((n + 1)) > /mount/counter";
const SAY: &str = "echo Result number is $(cat /mount/counter)";

fn counting(mount: &str, version: u32) -> String {
    format!(
        "image: app\nfrom: BASE\nfromCacheVersion: '{version}'\nmount: [{{{mount}, to: /mount}}]\n\
         shell: {{install: ['{COUNT}'], beforeSetup: ['{COUNT}', '{SAY}']}}\n"
    )
}

fn said(run: &Run) -> Vec<String> {
    let all = format!("{}{}", run.stdout, run.stderr);
    let found = all.lines().filter_map(|line| Some(line.split_once("Result number is ")?.1.trim().to_owned()));
    // The commands themselves are shown too.
    found.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

#[test]
fn fixture_37_what_is_mounted_lasts_as_long_as_it_should() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start()?;
    for (name, mount, expected) in [
        ("tmp-dir", "from: tmp_dir", ["2", "2"]),
        ("build-dir", "from: build_dir", ["2", "4"]),
        ("from-path", "fromPath: ./", ["4", "6"]),
    ] {
        let project = Project::new(name)?;
        project.write("counter", "2\n")?;
        let repo = registry.repo(name);
        for (version, expected) in (1..).zip(expected) {
            project.config(&counting(mount, version))?;
            project.commit("another")?;
            let loose = ["--repo", &repo, "--loose-giterminism"];
            let built = project.build(&loose)?;
            assert_eq!(built.run.built(), ["app/from", "app/install", "app/beforeSetup"], "{}", built.run.stderr);
            assert_eq!(said(&built.run), [expected], "{name}: {}\n{}", built.run.stdout, built.run.stderr);
            assert_eq!(engine::sh(&built.image("app"), "ls -A /mount; stat -c '%F %a' /mount")?, "directory 755\n");
            // Without a change nothing runs: what is mounted is in no digest.
            assert!(project.build(&loose)?.run.built().is_empty());
        }
        let left = project.home().join("native/work");
        let left = fs::read_dir(left).map(|entries| entries.count()).unwrap_or_default();
        assert_eq!(left, 0, "{name}: nothing temporary is left");
    }
    Ok(())
}

#[test]
fn places_are_empty_and_covered_in_every_stage() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("covered")?);
    let repo = registry.repo("covered");
    let config = |changed: &str| {
        format!(
            "artifact: made\nfrom: BASE\nshell: {{install: ['mkdir -p /out/cache; echo made > /out/cache/made; echo {changed} > /out/kept']}}\n---\n\
             image: below\nfrom: BASE\nfinal: false\nshell: {{install: ['mkdir -p /real/place/old /opt; echo old > /real/place/old/f; chmod 711 /real/place; ln -s /real /way']}}\n---\n\
             image: middle\nfromImage: below\nfinal: false\nmount: [{{from: build_dir, to: /way/place}}, {{from: tmp_dir, to: /app/cache}}, {{from: tmp_dir, to: /data/cache}}]\n\
             git: [{{add: /src, to: /app}}]\n\
             import: [{{artifact: made, add: /out, to: /data, after: install}}, {{artifact: made, add: /out/kept, to: /data/cache/kept, after: install}}]\n\
             shell:\n  install: ['echo build > /real/place/built; echo tmp > /app/cache/tmp', 'ls /real/place > /at-install']\n---\n\
             image: top\nfromImage: middle\nshell: {{setup: ['ls -A /app/cache > /tmp-of-top', 'cat /real/place/built > /shared-with-top', 'echo more > /app/cache/more']}}\n"
        )
    };
    project.write(
        "werf-giterminism.yaml",
        "giterminismConfigVersion: 1\nconfig: {stapel: {mount: {allowBuildDir: true}}}\n",
    )?;
    project.write("src/cache/of-git", "hidden")?;
    project.write("src/file", "first")?;
    project.config(&config("one"))?;
    project.commit("first")?;
    let first = project.build(&["--repo", &repo])?;
    let top = first.image("top");
    let held = "find /real/place /app/cache /data/cache; stat -c '%n %a' /real/place /app/cache; cat /app/file /data/kept /at-install /tmp-of-top /shared-with-top";
    let expected = "/real/place\n/app/cache\n/data/cache\n/real/place 711\n/app/cache 755\n";
    assert_eq!(engine::sh(&top, held)?, format!("{expected}firstone\nbuilt\nbuild\n"));
    let labels = engine::run(&["image", "inspect", "--format={{json .Config.Labels}}", &top])?;
    for label in
        ["\"werf-mount-type-build-dir\":\"/way/place\"", "\"werf-mount-type-tmp-dir\":\"/app/cache;/data/cache\""]
    {
        assert!(labels.contains(label), "{labels}");
    }

    // Another file below the place is a change of the sources, and comes to nothing.
    project.write("src/cache/of-git", "hidden still")?;
    project.write("src/file", "second")?;
    project.commit("second")?;
    let second = project.build(&["--repo", &repo])?;
    assert!(second.run.built().contains(&"middle/gitLatestPatch".to_owned()), "{}", second.run.stderr);
    assert_eq!(engine::sh(&second.image("top"), held)?, format!("{expected}secondone\nbuilt\nbuild\n"));

    // Another place is another image; what is in the directories is nothing to it.
    let shared = fs::read_dir(project.home().join("native/mounts"))?.count();
    assert_eq!(shared, 1);
    fs::remove_dir_all(project.home().join("native/mounts"))?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    let moved = config("one").replace("to: /app/cache}", "to: /app/other}");
    project.config(&moved)?;
    project.commit("third")?;
    let third = project.slipway(&["build", "--repo", &repo])?;
    assert!(third.built().contains(&"middle/from".to_owned()), "{}", third.stderr);
    Ok(())
}

#[test]
fn what_builds_share_counts_and_can_be_removed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("shared-dir")?);
    let repo = registry.repo("shared-dir");
    let image = |name: &str| {
        format!(
            "image: {name}\nfrom: BASE\nmount: [{{from: build_dir, to: /cache}}]\n\
             shell: {{setup: ['dd if=/dev/zero of=/cache/{name} bs=1024 count=2048', 'while [ ! -e /cache/one ] || [ ! -e /cache/two ]; do sleep 0.1; done']}}\n"
        )
    };
    // Each waits for the other's file: both have the directory at once.
    project.config(&[image("one"), image("two")].join("---\n"))?;
    project.commit("first")?;
    project.build(&["--repo", &repo, "--loose-giterminism"])?;
    let table = project.slipway(&["host", "df"])?;
    assert!(table.stdout.contains("shared by builds"), "{}", table.stdout);
    let json = |run: Run| -> Result<serde_json::Value> { Ok(serde_json::from_str(&run.stdout)?) };
    let kept = json(project.slipway(&["host", "df", "--output", "json"])?)?;
    assert_eq!(kept["shared"]["number"], 1, "{kept}");
    assert!(kept["shared"]["bytes"].as_u64().is_some_and(|bytes| bytes >= 4 << 20), "{kept}");
    let clean = ["host", "cleanup", "--allowed-backend-storage-volume-usage", "0", "--output", "json"];
    let would = json(project.slipway(&[&clean[..], &["--dry-run"]].concat())?)?;
    assert_eq!(would["shared"]["number"], 1, "{would}");
    let gone = json(project.slipway(&clean)?)?;
    assert_eq!(gone["shared"], would["shared"]);
    assert_eq!(json(project.slipway(&["host", "df", "--output", "json"])?)?["shared"]["number"], 0);
    Ok(())
}

#[test]
fn what_cannot_be_mounted_is_told() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("unmountable")?);
    let repo = registry.repo("unmountable");
    project.write("file", "x")?;
    for (mount, code, parts) in [
        ("from: build_dir, to: /x", 3, ["werf.yaml:", "build_dir"]),
        ("fromPath: file, to: /x", 1, ["only directories can be mounted", "secrets"]),
        ("from: tmp_dir, to: /etc/passwd", 1, ["/etc/passwd", "directory"]),
    ] {
        project.config(&format!("image: a\nfrom: BASE\nmount: [{{{mount}}}]\nshell: {{setup: 'true'}}\n"))?;
        project.commit("another")?;
        let loose: &[&str] = if code == 3 { &[] } else { &["--loose-giterminism"] };
        let run = project.slipway(&[&["build", "--repo", &repo], loose].concat())?;
        assert_eq!(run.code, code, "{mount}: {}", run.stderr);
        for part in parts {
            assert!(run.stderr.contains(part), "{mount}: `{part}` is not in:\n{}", run.stderr);
        }
    }
    Ok(())
}

#[test]
fn fixture_43_commands_have_the_network_that_is_named() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("network")?);
    let repo = registry.repo("network");
    let links = "readlink /proc/self/ns/net; ls /sys/class/net | tr \"\\n\" \" \"; echo seen > /seen";
    let config = |network: &str| {
        format!(
            "image: a\nfrom: BASE\n{network}shell: {{install: ['echo links: $({links})'], setup: ['test ! -e /never']}}\n"
        )
    };
    project.config(&config("network: none\n"))?;
    project.commit("none")?;
    let none = project.build(&["--repo", &repo])?;
    let seen_of = |run: &Run| {
        let all = format!("{}{}", run.stdout, run.stderr);
        let found = all.lines().filter_map(|line| Some(line.split_once("links: ")?.1.trim().to_owned()));
        found.filter(|links| !links.starts_with('$')).collect::<Vec<_>>()
    };
    let own = fs::read_link("/proc/self/ns/net")?.display().to_string();
    let is_none = |run: &Run| {
        let seen = seen_of(run).concat();
        seen.starts_with("net:") && seen.ends_with(" lo") && !seen.starts_with(&own)
    };
    assert!(is_none(&none.run), "{}{}", none.run.stdout, none.run.stderr);
    assert!(format!("{}{}", none.run.stdout, none.run.stderr).contains("network: none"), "{}", none.run.stderr);
    project.config(&config("fromCacheVersion: 1\n"))?;
    project.commit("default")?;
    let default = project.build(&["--repo", &repo])?.run;
    assert!(
        format!("{}{}", default.stdout, default.stderr).contains("a/install network: default"),
        "{}",
        default.stderr
    );
    project.config(&config("network: none\n"))?;
    project.commit("none again")?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    // It is in no digest.
    project.config(&config("network: host\n"))?;
    project.commit("host")?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    project.config(&config("network: host\nfromCacheVersion: 2\n"))?;
    project.commit("host again")?;
    let host = project.build(&["--repo", &repo])?;
    assert!(seen_of(&host.run).concat().starts_with(&own), "{own}: {}{}", host.run.stdout, host.run.stderr);
    // The flag wins over the configuration.
    project.config(&config("network: host\nfromCacheVersion: 4\n"))?;
    project.commit("flag")?;
    let flag = project.build(&["--repo", &repo, "--backend-network", "none"])?;
    assert!(is_none(&flag.run), "{}{}", flag.run.stdout, flag.run.stderr);
    if backend().is_some_and(|backend| backend == "native") {
        project.config(&config("network: bridge\nfromCacheVersion: 3\n"))?;
        project.commit("bridge")?;
        let refused = project.slipway(&["build", "--repo", &repo])?;
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("it knows none, host and default"), "{}", refused.stderr);
    }
    Ok(())
}

#[test]
fn exact_values_are_what_is_set_anyway() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("exact")?);
    let repo = registry.repo("exact");
    let config = |exact: &str| {
        format!(
            "image: a\nfrom: BASE\ndocker:\n{exact}  ENV: {{QUOTED: '\"a  b\" $HOME \\\\', EMPTY: ''}}\n  LABEL: {{l: \"it's\"}}\n  \
             ENTRYPOINT: [\"/bin/sh\", \"-c\", \"echo \\\"$QUOTED\\\"\"]\n"
        )
    };
    for (exact, built) in [("  exactValues: true\n", 2), ("", 1)] {
        project.config(&config(exact))?;
        project.commit("another")?;
        let run = project.build(&["--repo", &repo])?;
        assert_eq!(run.run.built().len(), built);
        let image = run.image("a");
        engine::run(&["pull", "--quiet", &image])?;
        let found = engine::config(&image)?;
        let env = found["Env"].as_array().cloned().unwrap_or_default();
        assert!(env.contains(&"QUOTED=\"a  b\" $HOME \\\\".into()) && env.contains(&"EMPTY=".into()), "{env:?}");
        assert_eq!(found["Labels"]["l"], "it's");
        assert!(found["Cmd"].as_array().is_none_or(Vec::is_empty), "{found}");
    }
    Ok(())
}
