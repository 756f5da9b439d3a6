//! What commands see of the host.

use std::{fs, os::unix::net::UnixListener, path::Path};

use slipway_oci::{ConfigChange, Platform};

use super::harness::{Harness, directory, file, link};
use crate::{HostMount, Setup};

/// Directories, files and sockets are seen in the container, where links lead inside of it; changes go to the host unless
/// they are forbidden, and nothing of it is in the image. `host` is an empty directory.
pub(super) async fn parts_of_the_host_are_seen(harness: &Harness<'_>, host: &Path) {
    for name in ["rw", "ro", "inner"] {
        fs::create_dir(host.join(name)).expect("a directory");
        fs::write(host.join(name).join("of-host"), name).expect("a file");
    }
    fs::write(host.join("single"), "single").expect("a file");
    let _listener = UnixListener::bind(host.join("socket")).expect("a socket");
    let items = [directory("real"), link("way", "/real"), directory("full"), file("full/of-image", "x")];
    let base = harness.filled(&items).await;
    let mount = |name: &str, target: &str, read_only| HostMount {
        source: host.join(name),
        target: target.to_owned(),
        read_only,
    };
    let setup = Setup {
        attempt: harness.attempt(),
        platform: Platform::host(),
        network: Some("none".to_owned()),
        to: None,
        mounts: vec![
            mount("inner", "/new/rw/inner", false),
            mount("rw", "/new/rw", false),
            mount("ro", "/way/ro", true),
            mount("ro", "/full", true),
            mount("single", "/run/kept/single", true),
            mount("socket", "/run/kept/socket", false),
        ],
        secrets: crate::Secrets::none(),
    };
    let mut workspace = harness.backend.open(Some(&base), setup).await.expect("a workspace");
    let seen = "for f in /new/rw /real/ro /full /new/rw/inner; do printf '%s ' $f $(<$f/of-host); done; echo $(</run/kept/single)";
    let refused = "for f in /full/of-host /way/ro/made /run/kept/single; do (: > $f) 2>/dev/null && echo $f; done; [[ -S /run/kept/socket ]]";
    let commands = [
        (1, seen),
        (2, "[[ ! -e /full/of-image ]]"),
        (3, "echo made > /new/rw/made; echo deep > /new/rw/inner/made; echo kept > /kept"),
        (4, refused),
    ];
    let (ended, said) = harness.run(workspace.as_mut(), &commands, &[]).await;
    ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(said, ["/new/rw rw /real/ro ro /full ro /new/rw/inner inner single"]);
    assert_eq!(fs::read_to_string(host.join("rw/made")).expect("a file"), "made\n");
    assert_eq!(fs::read_to_string(host.join("inner/made")).expect("a file"), "deep\n");
    assert_eq!(fs::read_to_string(host.join("ro/of-host")).expect("a file"), "ro");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    let all = harness.items(&image, "/").await;
    let held = all.iter().filter(|item| item.path.ends_with("of-host") || item.path.ends_with("made"));
    assert_eq!(held.count(), 0, "{all:?}");
    assert!(all.iter().all(|item| item.text.is_empty() || !item.path.contains("run/kept")), "{all:?}");
    assert_eq!(harness.text(&image, "/full/of-image").await, "x");
    assert_eq!(harness.text(&image, "/kept").await, "kept\n");
}

/// What is not there is no reason to build without it.
pub(super) async fn a_lost_part_of_the_host_is_an_error(harness: &Harness<'_>, host: &Path) {
    let lost = HostMount { source: host.join("lost"), target: "/data".to_owned(), read_only: false };
    let setup = Setup {
        attempt: harness.attempt(),
        platform: Platform::host(),
        network: Some("none".to_owned()),
        to: None,
        mounts: vec![lost],
        secrets: crate::Secrets::none(),
    };
    let mut workspace = harness.backend.open(Some(harness.base), setup).await.expect("a workspace");
    let (ended, _) = harness.run(workspace.as_mut(), &[(1, "echo ran")], &[]).await;
    let error = ended.expect_err("nothing to mount").to_string();
    assert!(error.contains("lost"), "{error}");
    assert!(!host.join("lost").exists(), "nothing is made on the host");
}
