//! The backend on this machine, with a base made of the host's static busybox and registries of the tests' own.

#[path = "native/attacks.rs"]
mod attacks;
#[path = "native/dockerfile.rs"]
mod dockerfile;
#[path = "native/full.rs"]
mod full;
#[path = "native/helped.rs"]
mod helped;
#[path = "native/instructions.rs"]
mod instructions;
#[path = "native/limits.rs"]
mod limits;
#[path = "native/matrix.rs"]
mod matrix;
#[path = "native/network.rs"]
mod network;
#[path = "native/parts.rs"]
mod parts;
#[path = "native/rootless.rs"]
mod rootless;
#[path = "native/sandbox.rs"]
mod sandbox;
#[path = "native/shell.rs"]
mod shell;

use slipway_backend::{
    BackendError, ContainerBackend as _, HostMount, ImageBuilder as _, ImageStore as _, Root, Setup, conformance,
    conformance::{Harness, Item, archive, directory, file, link},
};
use slipway_oci::{BlobDigest, ConfigChange, ImageAt, Platform, Repo};
use slipway_parts::Registry;

use parts::Native;

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let bases = parts::Bases::new(&registry);
    conformance::without_dockerfiles(&native.backend, &native.base, &bases).await;
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_host_are_mounted() {
    let Some(native) = Native::start().await else { return };
    let host = tempfile::tempdir().expect("a directory");
    conformance::mounts(&native.backend, &native.base, host.path()).await;
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_of_dockerfiles() {
    let Some(native) = Native::start().await else { return };
    conformance::dockerfiles(&native.backend, &native.base).await;
    native.end().await;
}

fn repo(registry: &Registry, path: &str) -> Repo {
    Repo { host: registry.host().to_owned(), path: path.to_owned() }
}

/// A layer is in its repository when the image is committed, and so is the config; what there is none of is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_sent_while_it_is_made() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let to = repo(&registry, "early");
    let committed = async |script: &'static str, to: &Repo| {
        let harness = Harness::new(&native.backend, &native.base);
        let (platform, network) = (Platform::host(), Some("none".to_owned()));
        let setup = Setup {
            attempt: harness.attempt(),
            platform,
            network,
            to: Some(to.clone()),
            mounts: Vec::new(),
            secrets: slipway_backend::Secrets::none(),
        };
        let mut workspace = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
        let script = format!("PATH=/.werf/stapel/embedded/bin:$PATH; {script}");
        let (ended, said) = harness.run(workspace.as_mut(), &[(1, &script)], &[]).await;
        ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
        workspace.commit(ConfigChange::default()).await.expect("an image")
    };
    let notes = || {
        let listed = std::fs::read_dir(native.store().join("known")).expect("a listing").flatten();
        listed.map(|found| std::fs::read_to_string(found.path()).expect("a note")).collect::<Vec<_>>()
    };
    committed("true", &to).await;
    assert_eq!(notes(), Vec::<String>::new());
    committed("echo small >/small", &to).await;
    let [small] = notes().try_into().expect("one note");
    let large = committed("head -c 9000000 /dev/urandom >/large", &to).await;
    let [note] = notes().into_iter().filter(|note| *note != small).collect::<Vec<_>>().try_into().expect("one more");
    let config = parts::client().head_blob(&to, &large.id).await.expect("an answer");
    assert!(config.is_some(), "the config of {}", large.id);
    let digest = note.split('"').find(|text| text.starts_with("sha256:")).expect("a digest").to_owned();
    let digest: BlobDigest = digest.parse().expect("a digest");
    let size = parts::client().head_blob(&to, &digest).await.expect("an answer").expect("the layer");
    assert!(size > 9_000_000 && note.contains(&size.to_string()), "{note}: {size}");
    let pushed = native.backend.push(&large, &to, "attempt").await.expect("a push");
    let manifest = parts::client().manifest(&to, pushed.manifest.as_str()).await.expect("an answer").expect("there");
    assert!(String::from_utf8_lossy(&manifest.bytes).contains(digest.as_str()));
    // A repository that takes nothing: the image is made, and the push says what is wrong.
    let refusing = repo(&registry, "UPPER");
    let image = committed("head -c 9000000 /dev/urandom >/large", &refusing).await;
    assert!(native.backend.push(&image, &refusing, "attempt").await.is_err());
    native.end().await;
}

/// Where to send a layer is asked for while the commands run; when they fail, the repository is told that nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_a_stage_that_fails_are_given_up() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let host = tempfile::tempdir().expect("a directory");
    let mount = HostMount { source: host.path().to_owned(), target: "/host".to_owned(), read_only: true };
    let setup = Setup {
        network: Some("none".to_owned()),
        to: Some(repo(&registry, "failing")),
        mounts: vec![mount],
        ..Setup::new(harness.attempt(), Platform::host())
    };
    let mut workspace = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
    let waits = [(1, "until [ -e /host/go ]; do /.werf/stapel/embedded/bin/busybox sleep 0.1; done; exit 3")];
    let uploads = registry.data().join("docker/registry/v2/repositories/failing/_uploads");
    // Of one that it was told to forget the registry keeps a directory, but not this file.
    let open = |upload: std::io::Result<std::fs::DirEntry>| upload.expect("an entry").path().join("startedat").exists();
    let begun = || std::fs::read_dir(&uploads).map(|all| all.map(open).filter(|open| *open).count()).unwrap_or(0);
    let go = async {
        while begun() < 2 {
            tokio::task::yield_now().await;
        }
        std::fs::write(host.path().join("go"), "").expect("a file");
    };
    let ((ended, said), ()) = tokio::join!(harness.run(workspace.as_mut(), &waits, &[]), go);
    assert!(matches!(ended, Err(BackendError::Command { exit: 3, .. })), "{ended:?}: {said:?}");
    drop(workspace);
    native.end().await;
    assert_eq!(begun(), 0);
}

/// A store that is full of what is in use says so before any command runs.
#[tokio::test(flavor = "multi_thread")]
async fn commands_do_not_run_where_there_is_no_room_for_what_they_make() {
    let Some(native) = Native::with(Some(4 << 20)).await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let large = harness.filled(&[file("large", &"x".repeat(4_150_000))]).await;
    let mut workspace = harness.open(Some(&large)).await;
    let (refused, said) = harness.run(workspace.as_mut(), &[(1, "echo ran")], &[]).await;
    let refused = refused.expect_err("a full store").to_string();
    assert!(refused.contains("mount the root of a build") && refused.contains("free some space"), "{refused}");
    assert_eq!(said, Vec::<String>::new());
    drop(workspace);
    let mut workspace = harness.open(Some(&native.base)).await;
    let (ran, said) = harness.run(workspace.as_mut(), &[(1, "echo ran")], &[]).await;
    assert!(ran.is_ok() && said == ["ran"], "{ran:?}: {said:?}");
    drop(workspace);
    native.end().await;
}

/// Deletions, replaced directories, links, devices: what comes out of one store goes into another as it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_a_repository_and_comes_back() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let below = harness
        .filled(&[
            directory("opt"),
            directory("opt/replaced"),
            file("opt/replaced/old", "x"),
            file("opt/deleted", "x"),
            directory("opt/emptied"),
            file("opt/emptied/a", "x"),
            Item { kind: 'h', text: "opt/deleted".to_owned(), ..file("opt/same", "") },
            link("opt/link", "/opt/none"),
        ])
        .await;
    let script = "cd /opt; T=/.werf/stapel/embedded/bin; $T/rm -rf replaced; $T/mkdir replaced; echo new > replaced/new; \
                  $T/rm deleted emptied/*; $T/chmod 4750 same; $T/chown 7:8 same; $T/ln same again";
    let image = harness.built(&below, &[(1, script)]).await;
    let before = harness.items(&image, "/opt").await;
    let names: Vec<&str> = before.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(names, [".", "again", "emptied", "link", "replaced", "replaced/new", "same"]);
    let target = repo(&registry, "shop/app");
    let pushed = native.backend.push(&image, &target, "attempt-1").await.expect("a push");
    let at = ImageAt { repo: target.clone(), digest: pushed.manifest.clone() };
    assert_eq!(native.backend.pull(&at).await.expect("it is known"), image);

    let other = Native::start().await.expect("it started before");
    let (one, two) = tokio::join!(other.backend.pull(&at), other.backend.pull(&at));
    assert_eq!((one.expect("a pull"), two.expect("a pull")), (image.clone(), image.clone()));
    let there = Harness::new(&other.backend, &other.base);
    assert_eq!(there.items(&image, "/opt").await, before);
    // From there on to another repository of the registry: nothing but the manifest is new.
    let mounted = repo(&registry, "other/app");
    let again = other.backend.push(&image, &mounted, "attempt-1").await.expect("a push");
    assert_eq!(again, pushed);
    let gone = ImageAt { digest: BlobDigest::of(b"never pushed"), ..at };
    assert!(matches!(other.backend.pull(&gone).await, Err(BackendError::Gone(_))));
    other.end().await;
    native.end().await;
}

/// What a repository had a moment ago is not asked for; when it has lost it since, it is sent once more.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_a_repository_has_just_lost_are_sent_again() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let image = harness.built(&native.base, &[(1, "echo lost > /lost")]).await;
    let target = repo(&registry, "shop/lost");
    native.backend.push(&image, &target, "attempt-1").await.expect("a push");
    let parts = registry.data().join("docker/registry/v2/repositories/shop/lost/_layers/sha256");
    let found = || std::fs::read_dir(&parts).expect("a listing").flatten().collect::<Vec<_>>();
    let before = found().len();
    // As a careless garbage collection does.
    for part in found() {
        std::fs::remove_file(part.path().join("link")).expect("a link");
    }
    let pushed = native.backend.push(&image, &target, "attempt-2").await.expect("another push");
    assert!(found().iter().all(|part| part.path().join("link").exists()) && found().len() == before);
    let other = Native::start().await.expect("it started before");
    let at = ImageAt { repo: target, digest: pushed.manifest };
    assert_eq!(other.backend.pull(&at).await.expect("a pull"), image);
    other.end().await;
    native.end().await;
}

/// Whoever fetches one of an image's layers never waits for a higher one: pulls of one image cannot wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn many_pull_one_image_at_once() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let mut image = native.base.clone();
    for number in 0..8 {
        let above = Harness::new(&native.backend, &image);
        image = above.filled(&[file(&format!("file-{number}"), "x")]).await;
    }
    let target = repo(&registry, "shop/high");
    let pushed = native.backend.push(&image, &target, "attempt-1").await.expect("a push");
    let at = ImageAt { repo: target, digest: pushed.manifest };
    for _ in 0..8 {
        let other = Native::start().await.expect("it started before");
        let pulls = (0..8).map(|_| other.backend.pull(&at));
        for pulled in futures::future::join_all(pulls).await {
            assert_eq!(pulled.expect("a pull"), image);
        }
        other.end().await;
    }
    assert_eq!(harness.text(&image, "/file-0").await, "x");
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_files_make_equal_layers() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let mut layers = Vec::new();
    for _ in 0..2 {
        let mut workspace = harness.open(Some(&native.base)).await;
        let tree = [directory("d"), file("d/f", "x")];
        workspace.extract(archive(&tree), "/srv/new", Some("5"), None).await.expect("files go in");
        workspace.extract(archive(&tree[1..]), "/bin", None, None).await.expect("files go in");
        let image = workspace.commit(ConfigChange::default()).await.expect("an image");
        layers.push(native.backend.config(&image).await.expect("a config").rootfs.diff_ids);
    }
    assert_eq!(layers[0], layers[1]);
    // Nothing changed: no layer.
    let same = harness.built(&native.base, &[(1, "true")]).await;
    let base = native.backend.config(&native.base).await.expect("a config");
    assert_eq!(native.backend.config(&same).await.expect("a config").rootfs, base.rootfs);
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_made_of_a_dead_process_is_swept() {
    let Some(native) = Native::start().await else { return };
    let dead = native.store().join("work/dead");
    std::fs::create_dir_all(dead.join("upper")).expect("a directory");
    std::fs::write(dead.join("lock"), "").expect("a file");
    let setup = Setup {
        attempt: "alive".to_owned(),
        platform: Platform::host(),
        network: Some("none".to_owned()),
        to: None,
        mounts: Vec::new(),
        secrets: slipway_backend::Secrets::none(),
    };
    let mut alive = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
    alive.extract(archive(&[file("f", "x")]), "/", None, None).await.expect("files go in");
    assert_eq!(native.backend.sweep().await.expect("a sweep"), 1);
    let image = alive.commit(ConfigChange::default()).await.expect("an image");
    let harness = Harness::new(&native.backend, &native.base);
    assert_eq!(harness.root(&image, "/f").await.expect("a file"), Root::File);
    native.end().await;
}

/// A full store says so, and what is in it stays sound.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_full_says_so() {
    let Some(native) = Native::with(Some(12_000_000)).await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let mut workspace = harness.open(Some(&native.base)).await;
    let large = "x".repeat(14_000_000);
    workspace.extract(archive(&[file("large", &large)]), "/", None, None).await.expect("files go in");
    let refused = workspace.commit(ConfigChange::default()).await.expect_err("too large");
    assert!(matches!(&refused, BackendError::NoSpace(why) if why.contains("12000000")), "{refused:?}");
    let image = harness.filled(&[file("small", "x")]).await;
    assert_eq!(harness.text(&image, "/small").await, "x");
    native.end().await;
}
