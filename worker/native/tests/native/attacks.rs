//! Images and archives that lead out of their root: the host stays as it was.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
};

use futures::TryStreamExt as _;
use slipway_backend::conformance::{Harness, archive, directory, file, link};
use slipway_layers::{
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_paths::TreePath;

use crate::parts::Native;

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
        let purpose = Purpose::Files { to: TreePath::root(), new: false, uid: None, gid: None };
        let once = |_: &u32| unpack(&mut TarReader::new(bytes.as_slice(), Limits::default()), &root, &purpose).is_ok();
        let went_in = (0..2_000).filter(once).count();
        stop.store(true, Ordering::Relaxed);
        went_in
    });
    assert!(went_in > 0, "the directory was never one");
    assert_eq!(fs::read_dir(&outside).expect("a listing").count(), 0, "something went out");
}
