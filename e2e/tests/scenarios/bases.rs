//! What images are built on, beside images of a registry by name: nothing, archives, mirrors; and how often each blob of a
//! base is fetched.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use slipway_e2e::{Action, Project, Proxy, Registry, Run, engine, tree};

use super::native::{base, can_build};

const NATIVE: [&str; 3] = ["build", "--backend", "native"];

fn native(project: &Project, more: &[&str]) -> Result<Run> {
    project.slipway(&[&NATIVE, more].concat())
}

/// The base image as an archive in a project, and an OCI layout `layout` with an image `v1` on top of it, written by an
/// export.
fn with_archives(project: &Project) -> Result<()> {
    let file = project.path().join("base.tar");
    engine::run(&["save", "--output", file.to_str().context("a UTF-8 path")?, engine::base_image()])?;
    project.config("image: seed\nfrom: docker-archive://base.tar\nshell: {setup: echo seed > /seed}\n")?;
    project.commit("an archive")?;
    let layout = project.path().join("layout");
    let tag = format!("{}:v1", layout.display());
    let exported = project.slipway(&["export", "--backend", "native", "--to", "oci-layout", "--tag", &tag])?;
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    project.config(&format!(
        "image: nothing\nfrom: scratch\ngit: [{{add: /src, to: /app}}]\nshell: {{setup: echo made > /app/made}}\n---\n\
         image: layout\nfrom: oci-layout://layout:v1\nshell: {{setup: cat /seed > /b}}\n---\n\
         image: docker\nfrom: docker-archive://./base.tar:{}\nshell: {{setup: echo docker > /b}}\n",
        engine::base_image()
    ))?;
    project.write("src/file", "content")
}

#[test]
fn scratch_and_archives_are_bases_on_both_backends() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("archives")?);
    with_archives(&project)?;
    project.git(&["add", "werf.yaml", "src"])?;
    project.git(&["commit", "--quiet", "--message", "without the layout"])?;
    let refused = native(&project, &[])?;
    let said =
        "image layout is built on the archive oci-layout://layout:v1, and \"layout/index.json\" is not in the commit";
    assert!(refused.code == 3 && refused.stderr.contains(said), "{}", refused.stderr);
    project.commit("with the layout")?;

    let (one, two) = (registry.repo("native"), registry.repo("docker"));
    let first = project.build(&["--backend", "native", "--repo", &one])?;
    project.build(&["--backend", "docker", "--repo", &two])?;
    let digests = |name: &str| -> Result<Vec<String>> {
        Ok(registry.stages(name)?.into_iter().map(|tag| tag[..56].to_owned()).collect())
    };
    assert_eq!(digests("native")?, digests("docker")?);
    assert_eq!(engine::sh(&first.image("layout"), "cat /b")?, "seed\n");
    assert_eq!(engine::sh(&first.image("docker"), "cat /b")?, "docker\n");
    let scratch = first.image("nothing");
    engine::run(&["pull", "--quiet", &scratch])?;
    let files = tree::files(&scratch)?;
    let names: Vec<&str> = files.keys().map(|name| name.trim_start_matches("./")).collect();
    assert!(["app/file", "app/made"].iter().all(|file| names.contains(file)), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("bin")), "{names:?}");

    // Where an archive lies does not count; what it holds does.
    let again = project.build(&["--backend", "native", "--repo", &one])?;
    assert_eq!(again.run.built(), [""; 0]);
    fs::rename(project.path().join("layout"), project.path().join("moved"))?;
    let config = fs::read_to_string(project.path().join("werf.yaml"))?;
    project.write("werf.yaml", config.replace("oci-layout://layout:v1", "oci-layout://moved:v1"))?;
    project.commit("moved")?;
    assert_eq!(project.build(&["--backend", "native", "--repo", &one])?.run.built(), [""; 0]);
    let other = fs::read_to_string(project.path().join("moved/index.json"))?;
    let digest = other.split("sha256:").nth(1).context("a digest")?[..64].to_owned();
    project
        .write("werf.yaml", config.replace("oci-layout://layout:v1", &format!("oci-layout://moved@sha256:{digest}")))?;
    project.git(&["rm", "-r", "--quiet", "--cached", "moved"])?;
    project.write(".gitignore", "moved\n")?;
    project.commit("named by its digest, it need not be in the commit")?;
    assert_eq!(project.build(&["--backend", "native", "--repo", &one])?.run.built(), [""; 0]);

    // A layer that came from an archive goes to a repository as it came, when the archive is long gone.
    let local = project.build(&["--backend", "native"])?;
    assert!(local.run.built().iter().any(|stage| stage == "layout/from"), "{:?}", local.run.built());
    fs::remove_file(project.path().join("base.tar"))?;
    let config = fs::read_to_string(project.path().join("werf.yaml"))?;
    let documents: Vec<&str> = config.split("---\n").filter(|text| !text.contains("image: docker")).collect();
    project.write("werf.yaml", documents.join("---\n"))?;
    project.commit("without the archive")?;
    let late = registry.repo("late");
    let copied = project.build(&["--backend", "native", "--repo", &late])?;
    assert_eq!(copied.run.built(), [""; 0]);
    assert_eq!(engine::sh(&copied.image("layout"), "cat /b")?, "seed\n");
    Ok(())
}

#[test]
fn a_cluster_is_not_given_archives() -> Result<()> {
    if !slipway_e2e::require(&[slipway_e2e::Part::Git]) {
        return Ok(());
    }
    let project = Project::new("far")?;
    project.config("image: a\nfrom: oci-layout://base\n")?;
    project.commit("first")?;
    let nowhere = ["build", "--coordinator", "http://127.0.0.1:1", "--repo", "127.0.0.1:1/x"];
    let refused = project.slipway_with(&nowhere, &[("SLIPWAY_TOKEN", "t")])?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    for part in ["werf.yaml:4", "the archive oci-layout://base", "push it to a registry that they reach"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    Ok(())
}

/// Blobs that a store of layers has unpacked.
fn layers(project: &Project) -> Result<usize> {
    Ok(fs::read_dir(project.home().join("native/layers"))?.count())
}

/// The largest file of a directory.
fn largest(directory: &Path) -> Result<std::path::PathBuf> {
    let files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.into_iter().max_by_key(|file| fs::metadata(file).map_or(0, |found| found.len())).context("a file")
}

#[test]
fn a_damaged_archive_is_named_and_leaves_nothing() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let project = Project::new("damaged")?;
    with_archives(&project)?;
    project.commit("all")?;
    fs::remove_dir_all(project.home().join("native"))?;
    let blob = largest(&project.path().join("layout/blobs/sha256"))?;
    let (good, name) = (fs::read(&blob)?, blob.file_name().context("a name")?.to_string_lossy().into_owned());
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&blob, bad)?;
    let refused = native(&project, &["layout", "--loose-giterminism"])?;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let said = format!("; sha256:{name} was promised");
    assert!(refused.stderr.contains("the archive is damaged: a layer has the digest sha256:"), "{}", refused.stderr);
    assert!(refused.stderr.contains(&said) && !refused.stderr.contains("tried"), "{}", refused.stderr);
    assert_eq!(layers(&project)?, 0);
    fs::write(&blob, good)?;
    let mended = native(&project, &["layout"])?;
    assert_eq!(mended.code, 0, "{}", mended.stderr);
    Ok(())
}

/// Two images on one another in a repository: one with layers packed by gzip, as Docker pushed them, one with further ones
/// packed by zstd.
fn stacked(registry: &Registry) -> Result<(String, String)> {
    let project = Project::new("stacked")?;
    project.config(&format!(
        "image: upper\nfrom: {}\nshell: {{install: head -c 300000 /dev/urandom > /a, setup: head -c 300000 /dev/urandom > /b}}\n",
        base(registry)?
    ))?;
    project.commit("first")?;
    let repo = registry.repo("bases");
    let built = project.build(&["--backend", "native", "--compression", "zstd", "--repo", &repo])?;
    let upper = built.image("upper");
    Ok(("base:1".to_owned(), upper.rsplit_once('/').context("a path")?.1.to_owned()))
}

/// How often each blob was asked for, by its path.
type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

fn counting(proxy: &Proxy) -> Counts {
    let counts = Counts::default();
    let counted = Arc::clone(&counts);
    proxy.rule(move |request| {
        if request.method == "GET"
            && let Some((_, digest)) = request.path.split_once("/blobs/")
        {
            *counted.lock().expect("no test panics with it").entry(digest.to_owned()).or_default() += 1;
        }
        Action::Pass
    });
    counts
}

#[test]
fn each_blob_is_fetched_once_however_many_ask() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let registry = Registry::start()?;
    let (lower, upper) = stacked(&registry)?;
    let proxy = Proxy::start(registry.host())?;
    let counts = counting(&proxy);
    let project = Project::new("once")?;
    let images = [("a", &lower), ("b", &upper), ("c", &lower), ("d", &upper)];
    let documents = images.map(|(name, from)| {
        format!("image: {name}\nfrom: {}\nshell: {{setup: cat /etc/passwd > /{name}}}\n", proxy.repo(from))
    });
    project.config(&documents.join("---\n"))?;
    project.commit("first")?;
    let running = (0..4).map(|_| project.start(&NATIVE, &[])).collect::<Result<Vec<_>>>()?;
    for child in running {
        let run = Run::wait(child)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let counts = counts.lock().expect("no test panics with it").clone();
    // Two configs, the layer of the base, and two more.
    assert_eq!(counts.len(), 5, "{counts:#?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:#?}");
    Ok(())
}

#[test]
fn a_layer_that_is_spoilt_on_the_way_is_named_and_fetched_again() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let registry = Registry::start()?;
    let (_, upper) = stacked(&registry)?;
    let tag = upper.rsplit_once(':').context("a tag")?.1;
    let (_, manifest) = registry.manifest("bases", tag)?;
    let top = manifest["layers"].as_array().and_then(|layers| layers.last()).context("a layer")?.clone();
    let (digest, size) =
        (top["digest"].as_str().context("a digest")?.to_owned(), top["size"].as_u64().context("a size")?);
    let proxy = Proxy::start(registry.host())?;
    let project = Project::new("spoilt")?;
    project.config(&format!("image: a\nfrom: {}\n", proxy.repo(&upper)))?;
    project.commit("first")?;
    let size = usize::try_from(size)?;
    let wrong = format!("{digest} was promised");
    for (bytes, said) in
        [(vec![7_u8; size], &wrong), (vec![7_u8; size / 2], &format!("a layer has the size {}", size / 2))]
    {
        let spoilt = digest.clone();
        proxy.rule(move |request| match request.method == "GET" && request.path.ends_with(&spoilt) {
            true => Action::Answer(200, String::new(), bytes.clone()),
            false => Action::Pass,
        });
        let failed = native(&project, &[])?;
        assert!(failed.code == 1 && failed.stderr.contains(said.as_str()), "{}", failed.stderr);
        let left = fs::read_dir(project.home().join("native/work"))?.count();
        assert_eq!(left, 0, "nothing half-made is left");
    }
    let before = layers(&project)?;
    proxy.heal();
    let mended = native(&project, &[])?;
    assert_eq!(mended.code, 0, "{}", mended.stderr);
    assert_eq!(layers(&project)?, before + 1, "the spoilt layer alone was missing");
    Ok(())
}

#[test]
fn a_mirror_serves_base_images_and_a_dead_one_is_told_of_once() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let registry = Registry::start()?;
    let name = format!("{}/library/slipway-toy:1", registry.host());
    engine::run(&["tag", engine::base_image(), &name])?;
    engine::run(&["push", "--quiet", &name])?;
    engine::run(&["rmi", &name])?;
    let project = Project::new("mirrored")?;
    project.config(
        "image: a\nfrom: slipway-toy:1\nshell: {setup: echo a > /a}\n---\nimage: b\nfrom: docker.io/library/slipway-toy:1\n\
         shell: {setup: echo b > /b}\n",
    )?;
    project.commit("first")?;
    let second = format!("http://{}", registry.host());
    let mirrors = [
        ("WERF_CONTAINER_REGISTRY_MIRROR_1", "http://127.0.0.1:1"),
        ("WERF_CONTAINER_REGISTRY_MIRROR_2", second.as_str()),
    ];
    let repo = registry.repo("mirrored");
    for backend in ["native", "docker"] {
        let target = format!("{repo}-{backend}");
        let run = project.slipway_with(&["build", "--backend", backend, "--repo", &target], &mirrors)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        let told = run.stderr.matches("the mirror 127.0.0.1:1 of docker.io is not used").count();
        assert_eq!(told, 1, "{}", run.stderr);
    }
    let refused = project.slipway(&["build", "--container-registry-mirror", "ftp://x"])?;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--container-registry-mirror: `ftp://x` is no mirror"), "{}", refused.stderr);
    Ok(())
}
