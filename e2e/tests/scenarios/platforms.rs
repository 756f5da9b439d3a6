//! Images for several platforms: each is built for all of them, and an index leads to them.

use anyhow::{Context as _, Result};
use slipway_e2e::{Built, Part, Project, Registry, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
const BOTH: [&str; 2] = ["linux/amd64", "linux/arm64"];
const BY_PLATFORM: [(&str, &str); 1] = [("WERF_ENABLE_REPORT_BY_PLATFORM", "1")];

fn tag<'b>(built: &'b Built, image: &str) -> &'b str {
    built.report["Images"][image]["DockerTag"].as_str().expect("a tag")
}

/// The tag of an image for a platform.
fn tag_for<'b>(built: &'b Built, image: &str, platform: &str) -> &'b str {
    built.report["ImagesByPlatform"][image][platform]["DockerTag"].as_str().expect("a tag")
}

/// The platforms that an index lists, and the digests of its manifests.
fn listed(index: &serde_json::Value) -> Vec<(String, String)> {
    let entry = |entry: &serde_json::Value| {
        let part = |name: &str| entry["platform"][name].as_str().unwrap_or_default().to_owned();
        (format!("{}/{}", part("os"), part("architecture")), entry["digest"].as_str().unwrap_or_default().to_owned())
    };
    index["manifests"].as_array().expect("an index").iter().map(entry).collect()
}

fn named(platforms: &[(String, String)]) -> Vec<&str> {
    platforms.iter().map(|(platform, _)| platform.as_str()).collect()
}

/// `orange` is Stapel, `potato` a Dockerfile; `middle` is run by nobody.
fn project(order: &str) -> Result<Project> {
    let project = Project::new("platforms")?;
    project.write("src/file", "content")?;
    project.write("Dockerfile", "FROM scratch\nCOPY src /src\n")?;
    documents(&project, order)?;
    project.commit("first")?;
    Ok(project)
}

fn documents(project: &Project, order: &str) -> Result<()> {
    let meta = format!("project: {}\nconfigVersion: 1\nbuild: {{platform: [{order}]}}\n", project.name());
    let images = "---\nimage: potato\ndockerfile: Dockerfile\n---\nimage: middle\nfinal: false\nfromImage: potato\n---\n\
                  image: orange\nfromImage: middle\ngit: [{add: /src, to: /app}]\ndocker: {CMD: [none]}\n";
    project.write("werf.yaml", format!("{meta}{images}"))
}

#[test]
fn fixture_50_an_image_is_built_for_every_platform() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project("linux/arm64, linux/amd64")?);
    let (repo, last) = (registry.repo("stages"), registry.repo("last"));
    let built = project.build_with(&["--repo", &repo], &BY_PLATFORM)?;
    for image in ["orange", "potato", "middle"] {
        let (_, index) = registry.manifest("stages", tag(&built, image))?;
        assert_eq!(tag(&built, image).len(), 56, "{image}");
        assert_eq!(named(&listed(&index)), BOTH, "{image}");
        for (platform, digest) in listed(&index) {
            let own = tag_for(&built, image, &platform);
            assert_eq!(registry.manifest("stages", own)?.0, digest, "{image} {platform}");
            let config = registry.config("stages", own)?;
            let said = format!(
                "{}/{}",
                config["os"].as_str().context("os")?,
                config["architecture"].as_str().context("architecture")?
            );
            assert_eq!(said, platform, "{image}");
        }
    }
    for line in ["image orange [linux/arm64]", "image potato [linux/amd64]"] {
        assert!(built.run.stderr.contains(line), "`{line}` is not in:\n{}", built.run.stderr);
    }

    // Whatever their order: the same stages, the same index; and each platform by itself.
    documents(&project, "linux/amd64, linux/arm64")?;
    project.commit("other order")?;
    let more = ["--final-repo", &last, "--add-custom-tag", "%image%-mine"];
    let again = project.build_with(&[&["--repo", &repo], &more[..]].concat(), &BY_PLATFORM)?;
    assert_eq!(again.run.built().len(), 0, "{}", again.run.stderr);
    assert_eq!(tag(&again, "orange"), tag(&built, "orange"));
    let one = project.build(&["orange", "--repo", &repo, "--platform", "linux/arm64"])?;
    assert_eq!(tag(&one, "orange"), tag_for(&built, "orange", "linux/arm64"));

    // What runs goes where it runs from: indexes, and the tags that lead to them.
    let mut expected = vec![tag(&built, "orange"), tag(&built, "potato"), "orange-mine", "potato-mine"];
    expected.sort_unstable();
    assert_eq!(registry.tags("last")?, expected);
    assert!(again.image("orange").starts_with(&last), "{}", again.image("orange"));
    let (digest, index) = registry.manifest("last", "orange-mine")?;
    assert_eq!(digest, registry.manifest("last", tag(&built, "orange"))?.0);
    for (platform, digest) in listed(&index) {
        let place = format!("{last}@{digest}");
        let architecture = ["image", "inspect", "--format={{.Os}}/{{.Architecture}}", &place];
        engine::run(&["pull", "--quiet", "--platform", &platform, &place])?;
        assert_eq!(engine::run(&architecture)?.trim_end(), platform);
        engine::run(&["image", "rm", "--force", &place])?;
    }
    let name = project.slipway(&["stage", "image", "orange", "--repo", &repo])?;
    assert_eq!(name.stdout, format!("{repo}:{}\n", tag(&built, "orange")), "{}", name.stderr);
    copies(&registry, &project, &repo)?;
    engine::forget_labelled(project.name())
}

/// Copies of an image for several platforms are an index, of one a plain image.
fn copies(registry: &Registry, project: &Project, repo: &str) -> Result<()> {
    let export = |tag: &str, more: &[&str]| {
        let all = ["export", "orange", "--repo", repo, "--tag", tag, "--add-label", "TEST_LABEL=TEST_VALUE"];
        project.slipway(&[&all[..], more].concat())
    };
    let copies = registry.repo("copies");
    let run = export(&format!("{copies}:both"), &[])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let run = export(&format!("{copies}:one"), &["--platform", "linux/arm64"])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (_, index) = registry.manifest("copies", "both")?;
    let listed = listed(&index);
    assert_eq!(named(&listed), BOTH);
    let (digest, plain) = registry.manifest("copies", "one")?;
    assert_eq!(digest, listed[1].1, "the same copy");
    assert!(plain["manifests"].is_null() && plain["config"].is_object(), "{plain}");
    let labels = registry.config("copies", "one")?["config"]["Labels"].clone();
    assert_eq!(labels, serde_json::json!({"TEST_LABEL": "TEST_VALUE"}));
    let run = export("layout:v1", &["--to", "oci-layout"])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let layout: serde_json::Value = serde_json::from_slice(&std::fs::read(project.path().join("layout/index.json"))?)?;
    assert_eq!(layout["manifests"][0]["mediaType"], "application/vnd.oci.image.index.v1+json");
    let run = export("image.tar", &["--to", "tar"])?;
    assert!(run.code == 1 && run.stderr.contains("choose that with --platform"), "{}", run.stderr);
    Ok(())
}

#[test]
fn commands_of_a_platform_that_the_host_cannot_run_are_refused_before_the_build() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let project = Project::new("foreign")?;
    project.config("image: first\nfrom: scratch\n---\nimage: app\nfrom: scratch\nplatform: [linux/s390x]\nshell: {setup: date > /date}\n")?;
    project.commit("first")?;
    let run = project.slipway(&["build"])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    if !run.stderr.contains("cannot run programs of linux/s390x") {
        slipway_parts::skip("a host that runs its own programs only", "that others are refused is not shown");
        return Ok(());
    }
    assert!(
        run.stderr.contains("image app for linux/s390x") && run.stderr.contains("qemu-s390x in binfmt_misc"),
        "{}",
        run.stderr
    );
    assert!(run.built().is_empty() && !run.stderr.contains("image first"), "nothing was begun: {}", run.stderr);
    // What is built already needs no commands.
    let run = project.slipway(&["build", "--require-built-images"])?;
    assert_eq!(run.code, 4, "{}", run.stderr);
    Ok(())
}

#[test]
fn the_native_backend_builds_for_platforms_that_it_need_not_run() -> Result<()> {
    if !super::native::can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("both")?);
    let meta = format!("project: {}\nconfigVersion: 1\n", project.name());
    let images = "---\nimage: base\nfrom: scratch\ngit: [{add: /src, to: /app}]\n---\nimage: app\nfromImage: base\n\
                  import: [{image: base, add: /app, to: /again, before: install}]\n";
    project.write("werf.yaml", format!("{meta}{images}"))?;
    project.write("src/file", "content")?;
    project.commit("first")?;
    let flags = ["--backend", "native", "--platform", "linux/arm64,linux/amd64"];
    let built = project.build_with(&[&flags[..], &["--repo", &registry.repo("native")]].concat(), &BY_PLATFORM)?;
    let (_, index) = registry.manifest("native", tag(&built, "app"))?;
    assert_eq!(named(&listed(&index)), BOTH);
    for platform in BOTH {
        let config = registry.config("native", tag_for(&built, "app", platform))?;
        assert_eq!(format!("linux/{}", config["architecture"].as_str().unwrap_or_default()), platform);
    }
    // Without a repository nothing leads to both; the one for this host stands for them.
    let local = project.build_with(&flags, &BY_PLATFORM)?;
    assert_eq!(tag(&local, "app").len(), 70, "{}", local.run.stderr);
    let each = local.report["ImagesByPlatform"]["app"].as_object().context("platforms")?;
    assert_eq!(each.keys().collect::<Vec<_>>(), BOTH);
    Ok(())
}
