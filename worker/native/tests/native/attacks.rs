//! Images and archives that lead out of their root: the host stays as it was.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ImageBuilder as _, ImageStore as _, Setup,
    conformance::{Harness, MakeBase as _, archive, directory, file, link},
};
use slipway_layers::{
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_oci::{Platform, config::RunConfig};
use slipway_parts::Registry;
use slipway_paths::TreePath;

use crate::{
    dockerfile::Scene,
    full,
    parts::{Bases, Native},
};

/// Whatever stands where something is mounted or written, it is looked for inside of the image.
#[tokio::test(flavor = "multi_thread")]
async fn links_of_an_image_lead_nowhere_on_the_host() {
    let Some(native) = Native::start().await else { return };
    let harness = Harness::new(&native.backend, &native.base);
    let outside = tempfile::tempdir().expect("a directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").expect("a file");
    let (there, up) = (outside.path().display().to_string(), "../".repeat(20));
    let absolute = format!("{there}/victim");
    let relative = format!("{up}{}", absolute.trim_start_matches('/'));
    for hostile in [
        link("etc/hosts", &absolute),
        link("etc/resolv.conf", &relative),
        link("dev", &there),
        link("sys", &format!("{up}{}", there.trim_start_matches('/'))),
        link(".werf", &there),
        link("proc", "/proc/self/fd"),
        link("dev", "/proc/1/root/dev"),
    ] {
        let image = harness.filled(std::slice::from_ref(&hostile)).await;
        let mut workspace = harness.open(Some(&image)).await;
        let text = "echo x > /etc/hosts; echo y > /etc/resolv.conf; echo z > /dev/z; /.werf/stapel/embedded/bin/mkdir -p /sys/d";
        // Whether it runs is the image's own business.
        let ran = harness.run(workspace.as_mut(), &[(1, text)], &[]).await;
        drop(workspace);
        assert_eq!(fs::read_to_string(&victim).expect("a file"), "untouched", "{hostile:?} {ran:?}");
        assert_eq!(fs::read_dir(outside.path()).expect("a listing").count(), 1, "{hostile:?} {ran:?}");
        // Nor do files that go in.
        let mut workspace = harness.open(Some(&image)).await;
        let tree = [directory("etc"), file("etc/hosts", "x"), directory("dev"), file("dev/victim", "x")];
        let put = workspace.extract(archive(&tree), "/", None, None).await;
        let below = workspace.extract(archive(&tree[1..2]), "/.werf/dev/sys", None, None).await;
        drop(workspace);
        assert_eq!(fs::read_to_string(&victim).expect("a file"), "untouched", "{hostile:?} {put:?} {below:?}");
        assert_eq!(fs::read_dir(outside.path()).expect("a listing").count(), 1, "{hostile:?} {put:?} {below:?}");
    }
    native.end().await;
}

/// Another process makes a link to the host of a directory while files go into it, and a directory of it again.
#[tokio::test(flavor = "multi_thread")]
async fn directories_that_become_links_lead_nowhere() {
    let home = tempfile::tempdir().expect("a directory");
    let (inside, outside) = (home.path().join("root"), home.path().join("outside"));
    for place in [&inside, &outside, &inside.join("d")] {
        fs::create_dir(place).expect("a directory");
    }
    let parts: Vec<_> = archive(&[directory("d"), file("d/f", "x"), directory("d/e"), file("d/e/g", "y")])
        .try_collect()
        .await
        .expect("an archive");
    let bytes = parts.concat();
    let root = Root::open(&inside).expect("a root");
    let stop = AtomicBool::new(false);
    let went_in = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (place, aside) = (inside.join("d"), inside.join("aside"));
            while !stop.load(Ordering::Relaxed) {
                // Any of it may be in the way of what is unpacked.
                let _ = fs::rename(&place, &aside);
                let _ = symlink(&outside, &place);
                let _ = fs::remove_file(&place);
                let _ = fs::rename(&aside, &place);
            }
        });
        let purpose = Purpose::Files { to: TreePath::root(), new: false, uid: None, gid: None, strict: true };
        let once = |_: &u32| unpack(&mut TarReader::new(bytes.as_slice(), Limits::default()), &root, &purpose).is_ok();
        let went_in = (0..2_000).filter(once).count();
        stop.store(true, Ordering::Relaxed);
        went_in
    });
    assert!(went_in > 0, "the directory was never one");
    assert_eq!(fs::read_dir(&outside).expect("a listing").count(), 0, "something went out");
}

/// Whatever a config names as its working directory, no descriptor of the program leads a command out of the image.
#[tokio::test(flavor = "multi_thread")]
async fn descriptors_lead_nowhere() {
    let Some(native) = Native::start().await else { return };
    let Some(registry) = Registry::start() else { return };
    let bases = Bases::new(&registry);
    let bare = Harness::new(&native.backend, &native.base);
    // What the program itself has open: the store, locks, directories.
    let _open = fs::File::open(native.store()).expect("a directory");
    for number in 0..24 {
        let working_dir = format!("/proc/self/fd/{number}");
        let image = bases.make(&bare, "", RunConfig { working_dir, ..RunConfig::default() }).await;
        let mut workspace = bare.open(Some(&image)).await;
        let text = format!(
            "B=/.werf/stapel/embedded/bin/busybox; pwd; (cd /proc/self/fd/{number}/../../../.. 2>/dev/null && $B ls -a) | \
             $B grep -c -e {} -e vmlinuz -e lost+found || :; \
             for fd in /proc/self/fd/*; do $B readlink $fd; done | $B grep -v -e pipe: -e memfd: -e ^/proc/ -e ^/dev/null -e socket: -e ^host: || :",
            native.store().file_name().and_then(|name| name.to_str()).expect("a name"),
        );
        let (ended, said) = bare.run(workspace.as_mut(), &[(1, &text)], &[]).await;
        assert_eq!((ended.is_ok(), said), (true, vec!["/".to_owned(), "0".to_owned()]), "{number}: {ended:?}");
    }
    native.end().await;
}

/// Another process makes links to the host of the places that a sandbox mounts on, while it does.
#[tokio::test(flavor = "multi_thread")]
async fn places_that_become_links_lead_nowhere() {
    let Some(native) = Native::start().await else { return };
    let outside = tempfile::tempdir().expect("a directory");
    for name in ["stapel", "pts", "shm", "mqueue", "null"] {
        fs::create_dir(outside.path().join(name)).expect("a directory");
    }
    let victim = outside.path().join("hosts");
    fs::write(&victim, "untouched").expect("a file");
    let before = names(outside.path());
    let harness = Harness::new(&native.backend, &native.base);
    for round in 0..30 {
        let attempt = format!("race-{round}");
        let mut setup = Setup::new(attempt.clone(), Platform::host());
        setup.network = Some("none".to_owned());
        let mut workspace = native.backend.open(Some(&native.base), setup).await.expect("a workspace");
        workspace
            .extract(archive(&[directory("dev"), directory(".werf")]), "/", None, None)
            .await
            .expect("files go in");
        let place = native.store().join("work").join(&attempt);
        // A copy of the layers is seen directly, the changes of an overlay below it.
        let place = [place.join("tree"), place.join("upper")].into_iter().find(|place| place.join("dev").exists());
        let place = place.expect("the changes");
        let stop = Arc::new(AtomicBool::new(false));
        let swapping = {
            let (stop, outside) = (Arc::clone(&stop), outside.path().to_owned());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for name in ["dev", ".werf"] {
                        let (at, aside) = (place.join(name), place.join("aside"));
                        // Any of it may be in the way of what is mounted.
                        let _ = fs::rename(&at, &aside);
                        let _ = symlink(&outside, &at);
                        let _ = fs::remove_file(&at);
                        let _ = fs::rename(&aside, &at);
                    }
                }
            })
        };
        // Whether it runs is not the question.
        let _ran = harness.run(workspace.as_mut(), &[(1, "echo x > /dev/made; echo y > /etc/hosts")], &[]).await;
        stop.store(true, Ordering::Relaxed);
        swapping.join().expect("a thread");
        drop(workspace);
        assert_eq!(names(outside.path()), before);
        assert_eq!(fs::read_to_string(&victim).expect("a file"), "untouched");
    }
    native.end().await;
}

/// A cache is another command's, too: what is in it becomes a link to the host while something is mounted there.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_cache_that_become_links_lead_nowhere() {
    let Some(native) = Native::start().await else { return };
    let scene = Scene::new(&native).await;
    let outside = tempfile::tempdir().expect("a directory");
    fs::create_dir(outside.path().join("deep")).expect("a directory");
    let before = names(outside.path());
    scene.built("FROM base\nRUN --mount=type=cache,id=s,target=/c mkdir -p /c/in/deep\n", &[]).await;
    let caches = fs::read_dir(native.store().join("mounts")).expect("a listing").flatten();
    let place = caches.map(|found| found.path().join("data")).find(|path| path.is_dir()).expect("a cache");
    for round in 0..20 {
        let stop = Arc::new(AtomicBool::new(false));
        let swapping = {
            let (stop, outside, place) = (Arc::clone(&stop), outside.path().to_owned(), place.clone());
            std::thread::spawn(move || {
                let (at, aside) = (place.join("in"), place.join("aside"));
                while !stop.load(Ordering::Relaxed) {
                    // The place may be in use.
                    let _ = fs::rename(&at, &aside);
                    let _ = symlink(&outside, &at);
                    let _ = fs::remove_file(&at);
                    let _ = fs::rename(&aside, &at);
                }
            })
        };
        let mounts = "--mount=type=cache,id=s,target=/c --mount=type=tmpfs,target=/c/in \
                      --mount=type=bind,from=base,source=/etc,target=/c/in/deep,rw";
        let text = format!("FROM base\nRUN {mounts} echo {round}; echo x > /c/in/made; echo x > /c/in/deep/made\n");
        // Whether it runs is not the question.
        let _ran = scene.build(scene.order(&text), &[]).await;
        stop.store(true, Ordering::Relaxed);
        swapping.join().expect("a thread");
        assert_eq!(names(outside.path()), before);
        assert_eq!(names(&outside.path().join("deep")), Vec::<std::ffi::OsString>::new());
    }
    native.end().await;
}

/// What is small on its way and large where it lies is given up where the store ends, not where the disk does.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused() {
    let Some(native) = Native::with(Some(48 << 20)).await else { return };
    let Some(registry) = Registry::start() else { return };
    let bomb = full::pushed(&registry).await;
    let before = native.size();
    let refused = native.backend.pull(&bomb).await.expect_err("a bomb");
    assert!(matches!(&refused, BackendError::NoSpace(_) | BackendError::Refused(_)), "{refused:?}");
    let why = refused.to_string();
    assert!(why.contains("--allowed-backend-storage-volume-usage") && why.contains(&bomb.repo.path), "{why}");
    native.emptied().await;
    assert_eq!(native.size(), before);
    // Nothing that was there had to go for it.
    let harness = Harness::new(&native.backend, &native.base);
    assert_eq!(harness.text(&native.base, "/etc/passwd").await, "root:x:0:0::/root:/bin/sh\n");
    native.end().await;
}

fn names(directory: &std::path::Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(directory).expect("a listing").map(|found| found.expect("an entry").file_name()).collect();
    names.sort();
    names
}
