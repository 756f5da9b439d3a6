//! Registries that speak TLS, or plain HTTP where that must be allowed.

use std::io::Write as _;

use anyhow::Result;
use slipway_e2e::{Part, Project, Run, require};
use slipway_parts::registry::{Registry, Setup};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

fn project(name: &str) -> Result<Project> {
    let project = Project::new(name)?;
    project.config("image: app\nfrom: BASE\nshell: {setup: date > /made}\n")?;
    project.commit("first")?;
    Ok(project)
}

/// It stops at the registry with an error that says what to do.
fn is_refused(run: &Run, parts: &[&str]) {
    assert_eq!(run.code, 1, "{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
}

#[test]
fn a_certificate_that_nobody_signed_is_taken_only_when_told() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let Some(registry) = Registry::with(Setup { tls: true, ..Setup::default() }) else { return Ok(()) };
    let project = project("tls")?;
    let repo = format!("{}/tls", registry.host());
    is_refused(&project.slipway(&["build", "--repo", &repo])?, &["certificate", "--skip-tls-verify-registry"]);
    for count in [2, 0] {
        let built = project.build(&["--repo", &repo, "--skip-tls-verify-registry"])?;
        assert_eq!(built.run.built().len(), count, "{}", built.run.stderr);
    }
    Ok(())
}

#[test]
fn plain_http_to_another_machine_must_be_allowed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let Some(registry) = Registry::start() else { return Ok(()) };
    let project = project("plain")?;
    let mut hosts = tempfile::NamedTempFile::new()?;
    writeln!(hosts, "127.0.0.1 localhost registry.test")?;
    // A name that only this run of the program knows.
    let place = hosts.path().to_str().expect("a UTF-8 path");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", script, place];
    if project.slipway_by(&wrapper, &["version"]).map_or(true, |run| run.code != 0) {
        slipway_parts::skip("mounts", "this test may not mount");
        return Ok(());
    }
    let repo = format!("registry.test:{}/plain", registry.host().rsplit(':').next().expect("a port"));
    let run = project.slipway_by(&wrapper, &["build", "--repo", &repo])?;
    is_refused(&run, &["does not speak TLS", "--insecure-registry"]);
    let run = project.slipway_by(&wrapper, &["build", "--repo", &repo, "--insecure-registry"])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let again = project.slipway(&["build", "--repo", &format!("{}/plain", registry.host())])?;
    assert!(again.code == 0 && again.built().is_empty(), "{}", again.stderr);
    Ok(())
}
