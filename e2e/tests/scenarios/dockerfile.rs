//! Dockerfile images: targets, contexts, the engine's own cache.

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, Run, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

#[test]
fn the_context_is_the_commit_without_what_is_ignored() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("context")?);
    for path in ["app/a.txt", "app/b.md", "app/docs/c.txt", "app/keep.md", "outside.txt"] {
        project.write(path, path)?;
    }
    project.write("app/.dockerignore", "*.md\n!keep.md\ndocs\nDockerfile\n")?;
    project.write("app/Dockerfile", format!("FROM {}\nCOPY . /ctx\n", project.base()))?;
    project.config("image: app\ndockerfile: Dockerfile\ncontext: app\n")?;
    project.commit("first")?;
    let repo = registry.repo("context");
    let built = project.build(&["--repo", &repo])?;
    let seen = engine::sh(&built.image("app"), "cd /ctx && find . -type f | sort")?;
    assert_eq!(seen, "./.dockerignore\n./a.txt\n./keep.md\n");
    // What the Dockerfile does not read does not rebuild.
    project.write("app/b.md", "changed")?;
    project.write("outside.txt", "changed")?;
    project.commit("second")?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    Ok(())
}

#[test]
fn every_added_host_is_known_during_the_build_and_not_after() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    for (builder, name) in [("0", "hosts-classic"), ("1", "hosts-buildkit")] {
        let (registry, project) = (Registry::start()?, Project::new(name)?);
        let base = project.base();
        // Each builder runs the command anew.
        let dockerfile = format!("FROM {base}\nENV BUILDER={name}\nRUN cat /etc/hosts > /seen\n");
        project.write("Dockerfile", dockerfile)?;
        project
            .config("image: app\ndockerfile: Dockerfile\naddHost: ['db:10.1.2.3', 'v6:fe80::7', 'db2:10.1.2.4']\n")?;
        project.commit("first")?;
        let built = project.build_with(&["--repo", &registry.repo(name)], &[("DOCKER_BUILDKIT", builder)])?;
        let seen = engine::sh(&built.image("app"), "cat /seen")?;
        for (address, host) in [("10.1.2.3", "db"), ("fe80::7", "v6"), ("10.1.2.4", "db2")] {
            let is_it = |line: &str| line.split_whitespace().eq([address, host]);
            assert!(seen.lines().any(is_it), "builder {builder}: {seen}");
        }
        assert!(!engine::sh(&built.image("app"), "cat /etc/hosts")?.contains("10.1.2.3"));
    }
    Ok(())
}

#[test]
fn fixture_43_run_has_the_network_that_is_named() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    for (builder, name) in [("0", "network-classic"), ("1", "network-buildkit")] {
        let (registry, project) = (Registry::start()?, Project::new(name)?);
        let repo = registry.repo(name);
        // Another `mark` is another image, also for the engine's own cache.
        let build = |mark: &str, network: &str, flags: &[&str]| -> Result<(Run, String)> {
            let (base, look) = (project.base(), "RUN ls /sys/class/net > /seen");
            project.write("Dockerfile", format!("FROM {base}\nENV MARK={name}-{mark}\n{look}\n"))?;
            project.config(&format!("image: app\ndockerfile: Dockerfile\n{network}"))?;
            project.commit(mark)?;
            let arguments = [&["--repo", repo.as_str()], flags].concat();
            let built = project.build_with(&arguments, &[("DOCKER_BUILDKIT", builder)])?;
            let seen = engine::sh(&built.image("app"), "cat /seen")?;
            Ok((built.run, seen))
        };
        let (none, seen) = build("none", "network: none\n", &[])?;
        assert_eq!(seen, "lo\n", "builder {builder}");
        assert!(none.stderr.contains("app/dockerfile network: none"), "{}", none.stderr);
        // It is in no digest.
        let (host, _) = build("none", "network: host\n", &[])?;
        assert!(host.built().is_empty(), "{:?}", host.built());
        let (host, seen) = build("host", "network: host\n", &[])?;
        assert_ne!(seen, "lo\n", "builder {builder}: the engine's bridge is a device of the host");
        assert!(host.stderr.contains("app/dockerfile network: host"), "{}", host.stderr);
        // The flag wins over the configuration.
        let (flag, seen) = build("flag", "network: host\n", &["--backend-network", "none"])?;
        assert_eq!(seen, "lo\n", "builder {builder}");
        assert!(flag.stderr.contains("app/dockerfile network: none"), "{}", flag.stderr);
        let (default, _) = build("default", "", &[])?;
        assert!(default.stderr.contains("app/dockerfile network: default"), "{}", default.stderr);
    }
    Ok(())
}

#[test]
fn a_changed_last_line_runs_only_that_line() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("last-line")?);
    let dockerfile = |last: &str| {
        format!(
            "FROM {}\nARG A\nRUN echo step-one-ran-$A; cat /proc/sys/kernel/random/uuid > /one\n{last}\n",
            project.base()
        )
    };
    project.config("image: app\ndockerfile: Dockerfile\nargs: {A: value}\n")?;
    project.write("Dockerfile", dockerfile("RUN echo 2 > /two"))?;
    project.commit("first")?;
    let repo = registry.repo("last-line");
    let first = project.build(&["--repo", &repo])?;
    project.write("Dockerfile", dockerfile("RUN echo 3 > /two"))?;
    project.commit("second")?;
    let second = project.build(&["--repo", &repo])?;
    assert_eq!(second.run.built(), ["app/dockerfile"]);
    let one = |image: &str| engine::sh(image, "cat /one");
    assert_eq!(one(&first.image("app"))?, one(&second.image("app"))?, "the first RUN was not run again");
    assert_eq!(engine::sh(&second.image("app"), "cat /two")?, "3\n");
    Ok(())
}

#[test]
fn a_failing_run_shows_its_output() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("failing")?);
    project.write("Dockerfile", format!("FROM {}\nRUN echo it-broke-here && exit 9\n", project.base()))?;
    project.config("image: app\ndockerfile: Dockerfile\n")?;
    project.commit("first")?;
    let run = project.slipway(&["build", "--repo", &registry.repo("failing")])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    for part in ["it-broke-here", "9", "app", "(Dockerfile:2)"] {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
    // Other instructions are named in the same way, by whatever builds them.
    project.write("ci/Dockerfile", format!("FROM {}\n\nCOPY nothing /\n", project.base()))?;
    project.config("image: app\ndockerfile: ci/Dockerfile\n")?;
    project.commit("second")?;
    let run = project.slipway(&["build", "--repo", &registry.repo("failing")])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    let told = run.stderr.lines().last().unwrap_or_default();
    assert!(told.contains("build stage app/dockerfile (ci/Dockerfile:3): "), "{}", run.stderr);
    Ok(())
}
