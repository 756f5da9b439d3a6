//! `slipway export`: copies of images, out of either backend and out of a repository, in every form.

use anyhow::{Context as _, Result, bail};
use slipway_e2e::{Part, Project, Registry, engine, require};
use slipway_process::child::command;

use super::native::{base, can_build};

/// Runs skopeo; answers its output.
fn skopeo(arguments: &[&str]) -> Result<String> {
    let run = command("skopeo").args(arguments).output().context("run skopeo")?;
    if !run.status.success() {
        bail!("skopeo {}: {}", arguments.join(" "), String::from_utf8_lossy(&run.stderr));
    }
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

fn has_skopeo() -> bool {
    let there = command("skopeo").arg("--version").output().is_ok_and(|run| run.status.success());
    if !there {
        slipway_parts::skip("skopeo", "what is exported is not held against skopeo");
    }
    there
}

fn project(base: &str) -> Result<Project> {
    let project = Project::new("export")?;
    project.write("src/file", "content")?;
    project.config(&format!(
        "image: app\nfrom: {base}\ngit: [{{add: /src, to: /app}}]\nshell: {{setup: rm /bin/vi}}\ndocker: {{LABEL: {{mine: kept}}, CMD: [\"cat\", \"/app/file\"]}}\n\
         ---\nimage: group/web\nfrom: {base}\nshell: {{setup: echo web > /web}}\n---\nimage: inner\nfinal: false\nfrom: {base}\nshell: {{setup: echo inner > /inner}}\n\
         ---\nartifact: made\nfrom: {base}\nshell: {{setup: echo made > /made}}\n"
    ))?;
    project.commit("first")?;
    Ok(project)
}

/// What is in `target` is the image, and says nothing of the build.
fn is_copy(config: &serde_json::Value, what: &str) {
    let labels = config["Labels"].as_object().expect("labels");
    let names: Vec<&String> = labels.keys().collect();
    assert_eq!(names, ["mine", "more"], "{what}");
    assert_eq!((&labels["mine"], &labels["more"]), (&"kept".into(), &"x=y".into()), "{what}");
}

/// One project by one backend, with its stages in a repository or not, in all forms.
fn exports(registry: &Registry, base: &str, backend: &str, with_repo: bool) -> Result<()> {
    let project = project(base)?;
    let what = format!("{backend}, repository: {with_repo}");
    let name = if with_repo { format!("{backend}-repo") } else { format!("{backend}-local") };
    let stages = registry.repo(&format!("stages-{name}"));
    let export = |to: &str, image: &str, tag: &str| -> Result<()> {
        let mut all = vec!["export", image, "--backend", backend, "--to", to, "--tag", tag, "--add-label", "more=x=y"];
        if with_repo {
            all.extend(["--repo", &stages]);
        }
        let run = project.slipway(&all)?;
        assert_eq!(run.code, 0, "{what}: {}", run.stderr);
        assert!(run.stderr.contains("Exported to "), "{what}: {}", run.stderr);
        Ok(())
    };
    let target = format!("copies/{name}");
    export("registry", "app", &format!("{}:%image%-1", registry.repo(&target)))?;
    is_copy(&registry.config(&target, "app-1")?["config"], &what);
    let copied = format!("{}:app-1", registry.repo(&target));
    engine::run(&["pull", "--quiet", &copied])?;
    assert_eq!(engine::run(&["run", "--rm", "--network=none", &copied])?, "content", "{what}");
    assert_eq!(engine::sh(&copied, "ls /bin/vi 2> /dev/null || echo gone")?, "gone\n", "{what}");

    let local = format!("{}:exported", project.name());
    export("docker", "app", &local)?;
    is_copy(&engine::config(&local)?, &what);
    assert_eq!(engine::run(&["run", "--rm", "--network=none", &local])?, "content", "{what}");
    // The same copy, whichever way it went.
    let id = |image: &str| engine::run(&["image", "inspect", "--format={{.Id}}", image]);
    assert_eq!(id(&local)?, id(&copied)?, "{what}");
    engine::run(&["rmi", "--force", &local, &copied])?;

    export("oci-layout", "app", "layouts/%image_slug%:v1")?;
    export("tar", "app", "out/app.tar:shop/app:v1")?;
    if has_skopeo() {
        let layout = format!("oci:{}:v1", project.path().join("layouts/app").display());
        let archive = format!("docker-archive:{}", project.path().join("out/app.tar").display());
        for source in [&layout, &archive] {
            let config: serde_json::Value = serde_json::from_str(&skopeo(&["inspect", "--config", source])?)?;
            is_copy(&config["config"], &what);
            let to = format!("dir:{}", project.path().join("copied").display());
            skopeo(&["--insecure-policy", "copy", "--quiet", source, &to])?;
        }
    }
    let loaded =
        engine::run(&["load", "--quiet", "--input", &project.path().join("out/app.tar").display().to_string()])?;
    assert!(loaded.contains("shop/app:v1"), "{loaded}");
    assert_eq!(engine::sh("shop/app:v1", "cat /app/file")?, "content", "{what}");
    engine::run(&["rmi", "--force", "shop/app:v1"])?;
    engine::forget(project.name())?;
    engine::forget_labelled(project.name())
}

#[test]
fn copies_go_everywhere_from_everywhere() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let registry = Registry::start()?;
    let base = base(&registry)?;
    for backend in ["docker", "native"] {
        for with_repo in [false, true] {
            exports(&registry, &base, backend, with_repo)?;
        }
    }
    Ok(())
}

#[test]
fn all_that_may_be_deployed_is_exported() -> Result<()> {
    if !require(&[Part::Docker, Part::Registry, Part::Git]) {
        return Ok(());
    }
    let registry = Registry::start()?;
    let project = project(engine::base_image())?;
    let (stages, copies) = (registry.repo("stages"), registry.repo("copies"));
    let template = format!("{copies}:%image_safe_slug%");
    let export = |more: &[&str]| project.slipway(&[&["export", "--repo", &stages], more].concat());
    let dry = export(&["--tag", &template, "--dry-run"])?;
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert_eq!(dry.stdout.lines().count(), 2, "{}", dry.stdout);
    assert!(dry.stdout.starts_with(&format!("would export app to {copies}:app\n")), "{}", dry.stdout);
    let made = ["stages", "copies"].map(|name| registry.tags(name).unwrap_or_default().len());
    assert_eq!(made, [0, 0], "a dry run builds nothing");
    let run = export(&["--tag", &template, "--tag", &format!("{copies}:%image_content_based_tag%")])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let tags = registry.tags("copies")?;
    assert_eq!(tags.iter().filter(|tag| tag.len() == 70).count(), 2, "{tags:?}");
    let named: Vec<&String> = tags.iter().filter(|tag| tag.len() < 70).collect();
    assert!(named.len() == 2 && named[0] == "app" && named[1].starts_with("group-web-"), "{tags:?}");
    // By name also what is not for deployment.
    assert_eq!(export(&["inner", "--tag", &template])?.code, 0);
    for (arguments, code, said) in [
        (&["--tag", "x.example/%img%:1"][..], 2, "%img% is none of"),
        (&["--tag", "x.example/all:1"], 2, "would both be x.example/all:1"),
        (&["nothing", "--tag", &template], 2, "nothing"),
        (&["made", "--tag", &template], 2, "made is an artifact"),
        (&[], 2, "--tag REPO:TAG"),
        (&["app", "--tag", "x.example/a:b", "--add-label", "x"], 2, "`x` is not NAME=VALUE"),
        (&["app", "--tag", &template, "--to", "floppy"], 2, "floppy"),
        (&["app", "--to", "oci-layout", "--tag", "src"], 1, "neither empty nor an OCI layout"),
    ] {
        let run = export(arguments)?;
        assert!(run.code == code && run.stderr.contains(said), "{arguments:?}: {}: {}", run.code, run.stderr);
    }
    engine::forget_labelled(project.name())
}
