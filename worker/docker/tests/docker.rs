//! The backend on a real engine, with a base made of the host's static busybox, and real registries of the tests' own.

#[path = "docker/holdings.rs"]
mod holdings;
#[path = "docker/parts.rs"]
mod parts;
#[path = "docker/session.rs"]
mod session;

use bollard::query_parameters::{CreateContainerOptions, InspectContainerOptions};
use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ContainerBackend as _, ImageBuilder as _, ImageStore as _, Root, conformance,
    conformance::{Harness, archive, build_of, collect, file},
};
use slipway_docker::{BuilderChoice, probe};
use slipway_oci::{BlobDigest, ConfigChange, ImageAt, Platform, Reference};
use slipway_parts::Registry;
use slipway_toolbox::{Places, Source};
use tokio::sync::mpsc;

use parts::{Engine, door_repo};

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let Some(engine) = Engine::start(BuilderChoice::Classic).await else { return };
    conformance::all(&engine.backend, &engine.base).await;
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_host_are_mounted() {
    let Some(engine) = Engine::start(BuilderChoice::Auto).await else { return };
    let host = tempfile::tempdir().expect("a directory");
    conformance::mounts(&engine.backend, &engine.base, host.path()).await;
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dockerfiles_of_the_suite_with_buildkit() {
    let Some(engine) = Engine::start(BuilderChoice::BuildKit).await else { return };
    conformance::dockerfiles(&engine.backend, &engine.base).await;
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_a_repository_and_comes_back() {
    let Some(engine) = Engine::start(BuilderChoice::Auto).await else { return };
    let Some(registry) = Registry::start() else { return };
    let repo = door_repo(&registry);
    let harness = Harness::new(&engine.backend, &engine.base);
    let image = harness.filled(&[file("pushed", "x")]).await;
    let pushed = engine.backend.push(&image, &repo, &harness.attempt()).await.expect("a push");
    assert!(pushed.size > 0);
    let at = ImageAt { repo, digest: pushed.manifest.clone() };
    // Known by its manifest: no door is opened.
    let before = engine.doors();
    assert_eq!(engine.backend.pull(&at).await.expect("it is local"), image);
    assert_eq!(engine.doors(), before);
    let tags = engine.tags(&image).await;
    assert_eq!(tags, [format!("slipway-cache:{}", pushed.manifest.as_str().replace(':', "-"))]);
    // Forgotten, then pulled by several at once through one door.
    engine.backend.remove(&image).await.expect("it goes");
    assert!(engine.backend.config(&image).await.is_err());
    let (one, two) = tokio::join!(engine.backend.pull(&at), engine.backend.pull(&at));
    assert_eq!((one.expect("a pull"), two.expect("a pull")), (image.clone(), image.clone()));
    assert_eq!(engine.doors(), before + 1);
    assert_eq!(engine.tags(&image).await, tags);
    assert_eq!(harness.text(&image, "/pushed").await, "x");
    let gone = ImageAt { digest: BlobDigest::of(b"never pushed"), ..at };
    assert!(matches!(engine.backend.pull(&gone).await, Err(BackendError::Gone(_))));
    engine.backend.remove(&image).await.expect("it goes");
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bases_of_a_dockerfile_come_through_the_link() {
    let Some(engine) = Engine::start(BuilderChoice::Classic).await else { return };
    let Some(registry) = Registry::start() else { return };
    let repo = door_repo(&registry);
    let harness = Harness::new(&engine.backend, &engine.base);
    let base = harness.filled(&[file("from-base", "x")]).await;
    let pushed = engine.backend.push(&base, &repo, &harness.attempt()).await.expect("a push");
    engine.backend.remove(&base).await.expect("it goes");
    let at = ImageAt { repo, digest: pushed.manifest.clone() };
    let tagged = format!("registry.invalid/slipway-test-{}:v1", std::process::id());
    let digested = format!("registry.invalid/other@{}", pushed.manifest);
    for name in [&tagged, &digested] {
        let mut build = build_of(harness.attempt(), &format!("FROM {name}\nLABEL a=b\nCOPY f /\n"));
        build.bases.push((name.clone(), Some(at.clone())));
        let (logs, lines) = mpsc::channel(16);
        let built = engine.backend.dockerfile(build, archive(&[file("f", "y")]), logs);
        let (built, said) = tokio::join!(built, collect(lines));
        let image = built.unwrap_or_else(|error| panic!("{error}: {said:?}"));
        assert_eq!(harness.text(&image, "/from-base").await, "x");
        engine.backend.remove(&image).await.expect("it goes");
    }
    let reference = |name: &str| Reference { repo: parts::repo(name), tag: Some("v1".to_owned()), digest: None };
    let named = reference(tagged.trim_end_matches(":v1"));
    let host = Platform::host();
    assert_eq!(engine.backend.local(&named, &host).await.expect("a look"), Some(base.clone()));
    let other = Platform { arch: "s390x".to_owned(), ..host.clone() };
    assert_eq!(engine.backend.local(&named, &other).await.expect("a look"), None);
    assert_eq!(engine.backend.local(&reference("registry.invalid/none"), &host).await.expect("a look"), None);
    engine.untag(&tagged).await;
    engine.backend.remove(&base).await.expect("it goes");
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_command_that_fails_is_told_by_its_line() {
    for builder in [BuilderChoice::Classic, BuilderChoice::BuildKit] {
        let Some(engine) = Engine::start(builder).await else { return };
        let harness = Harness::new(&engine.backend, &engine.base);
        let name = engine.base_name();
        let text = format!("FROM {name}\nRUN echo fine\n\nRUN echo oops \\\n  && exit 3\n");
        let (logs, lines) = mpsc::channel(16);
        let context = archive(&[file("Dockerfile", &text)]);
        let built = engine.backend.dockerfile(build_of(harness.attempt(), &text), context, logs);
        let (built, said) = tokio::join!(built, collect(lines));
        match built {
            Err(BackendError::Command { exit: 3, line: Some(4), tail, .. }) => {
                assert!(tail.iter().any(|line| line == "oops"), "{tail:?}");
            }
            other => panic!("{builder:?}: {other:?} {said:?}"),
        }
        engine.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_containers_of_the_dead_are_swept() {
    let Some(engine) = Engine::start(BuilderChoice::Auto).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    // As a process leaves them that was killed: a container, and a lock file that nobody holds.
    let dead = harness.attempt();
    std::fs::create_dir_all(engine.home().join("attempts")).expect("a directory");
    std::fs::write(engine.home().join("attempts").join(&dead), "").expect("a lock file");
    std::fs::write(engine.home().join("attempts/never-made"), "").expect("a lock file");
    let stranger = harness.attempt();
    for attempt in [&dead, &stranger] {
        let options = CreateContainerOptions { name: Some(format!("werf.build.{attempt}")), platform: String::new() };
        let body = bollard::models::ContainerCreateBody {
            image: Some(engine.base.id.to_string()),
            cmd: Some(vec!["x".to_owned()]),
            ..Default::default()
        };
        engine.docker.create_container(Some(options), body).await.expect("a container");
    }
    // A living one: it is held by a stream of files.
    let (root, stream) = engine.backend.files(&engine.base, "/").await.expect("files");
    assert_eq!(root, Root::Directory);
    assert_eq!(engine.backend.sweep().await.expect("a sweep"), 1);
    assert_eq!(engine.backend.sweep().await.expect("a sweep"), 0);
    let exists = async |name: &str| {
        let name = format!("werf.build.{name}");
        engine.docker.inspect_container(&name, None::<InspectContainerOptions>).await.is_ok()
    };
    assert!(!exists(&dead).await);
    assert!(exists(&stranger).await);
    let bytes: usize =
        stream.map_ok(|part| part.len()).try_fold(0, async |sum, part| Ok(sum + part)).await.expect("all");
    assert!(bytes > 1_000_000);
    engine.remove_container(&format!("werf.build.{stranger}")).await;
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn build_containers_run_as_documented() {
    let Some(engine) = Engine::start(BuilderChoice::Auto).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    let mut workspace = harness.open(Some(&engine.base)).await;
    let (logs, mut lines) = mpsc::channel(16);
    let script = slipway_backend::Script {
        commands: vec![(1, "echo \"$HOSTNAME\"; read -r -t 20 < <(while :; do :; done)".to_owned())],
        variables: [("HIDDEN".to_owned(), "1".to_owned())].into(),
        tools: None,
    };
    let found = tokio::select! {
        ended = workspace.run(script, logs) => panic!("{ended:?}"),
        line = lines.recv() => {
            let name = String::from_utf8(line.expect("a line")).expect("text");
            engine.docker.inspect_container(&name, None::<InspectContainerOptions>).await.expect("the container")
        }
    };
    drop(workspace);
    let name = found.name.expect("a name");
    assert!(name.starts_with("/werf.build.conformance-"), "{name}");
    assert_eq!(found.path.as_deref(), Some("/.werf/stapel/embedded/bin/bash"));
    let arguments = found.args.expect("arguments");
    assert_eq!(arguments[0], "-ec");
    assert!(
        arguments[1].starts_with("eval $(echo ")
            && arguments[1].contains("/.werf/stapel/embedded/bin/base64 --decode)")
    );
    let config = found.config.expect("a config");
    assert_eq!(config.working_dir.as_deref(), Some("/"));
    assert!(config.env.unwrap_or_default().iter().all(|entry| !entry.starts_with("HIDDEN")));
    assert_eq!(config.labels.unwrap_or_default().len(), 0);
    let from = found.host_config.expect("a host config").volumes_from.expect("the toolbox");
    assert!(from[0].starts_with("stapel_slipway-"), "{from:?}");
    engine.backend.shut_down().await;
    let gone = engine.docker.inspect_container(name.trim_start_matches('/'), None::<InspectContainerOptions>).await;
    assert!(gone.is_err());
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_without_commands_never_starts_its_container() {
    let Some(engine) = Engine::start(BuilderChoice::Auto).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    let image = harness.filled(&[file("etc/only", "x")]).await;
    let mut paths = harness.paths(&image, "/").await;
    let mut expected = harness.paths(&engine.base, "/").await;
    expected.push("etc/only".to_owned());
    paths.sort();
    expected.sort();
    // No trace of the toolbox either.
    assert_eq!(paths, expected);
    let config = engine.backend.config(&image).await.expect("a config").config;
    let base = engine.backend.config(&engine.base).await.expect("a config").config;
    let wanted = slipway_oci::change::apply(&base, &ConfigChange::default());
    assert_eq!((config.entrypoint, config.cmd, config.user), (wanted.entrypoint, wanted.cmd, wanted.user));
    engine.backend.remove(&image).await.expect("it goes");
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_told_at_once() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let host = format!("unix://{}/docker.sock", nowhere.path().display());
    let error = probe(Some(&host), None).await.expect_err("nobody listens");
    assert!(error.is_retryable() && error.to_string().contains(&host), "{error}");
    let error = probe(Some("ssh://somewhere"), None).await.expect_err("not supported");
    assert!(error.to_string().contains("DOCKER_HOST"), "{error}");
    // A socket that accepts and never answers.
    let silent = nowhere.path().join("silent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&silent).expect("a socket");
    let error = probe(Some(&format!("unix://{}", silent.display())), None).await.expect_err("no answer");
    assert!(error.to_string().contains("within a second"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_suite() {
    let Some(engine) = Engine::start(BuilderChoice::Auto).await else { return };
    let lab = parts::StorageLab::new(&engine);
    slipway_storage::conformance::check_all(&lab, &parts::unique()).await;
    lab.end().await;
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_static_programs_uses_those_that_the_program_carries() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let places = Places { host: nowhere.path().to_owned(), ..Places::new(Vec::new()) };
    let source = Source::Own(places);
    let Some(engine) = Engine::start_with(BuilderChoice::Auto, source).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    let image = harness.built(&engine.base, &[(1, "echo hi > /hi")]).await;
    assert_eq!(harness.text(&image, "/hi").await, "hi\n");
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toolbox_image_of_the_user_is_used() {
    let Some(own) = Engine::start(BuilderChoice::Auto).await else { return };
    let harness = Harness::new(&own.backend, &own.base);
    harness.built(&own.base, &[(1, "true")]).await;
    let (name, version) = own.toolbox_image().await;
    let version_as_named = format!("test-{}", std::process::id());
    own.tag_image(&format!("{name}:{version}"), "slipway-test-toolbox", &version_as_named).await;
    let source = Source::Image { name: "slipway-test-toolbox".to_owned(), version: version_as_named.clone() };
    let named = Engine::start_with(BuilderChoice::Auto, source).await.expect("the engine is there");
    let harness = Harness::new(&named.backend, &named.base);
    let image = harness.built(&named.base, &[(1, "echo hi > /hi")]).await;
    assert_eq!(harness.text(&image, "/hi").await, "hi\n");
    named.remove_container(&format!("stapel_{version_as_named}")).await;
    named.untag(&format!("slipway-test-toolbox:{version_as_named}")).await;
    let missing = Source::Image { name: "127.0.0.1:1/none".to_owned(), version: "none".to_owned() };
    let without = Engine::start_with(BuilderChoice::Auto, missing).await.expect("the engine is there");
    let harness = Harness::new(&without.backend, &without.base);
    let mut workspace = harness.open(Some(&without.base)).await;
    let (ended, _) = harness.run(workspace.as_mut(), &[(1, "true")], &[]).await;
    let error = ended.expect_err("no such image");
    assert!(error.to_string().contains("WERF_STAPEL_IMAGE_NAME"), "{error}");
    for engine in [own, named, without] {
        engine.end().await;
    }
}
