//! The parts themselves: they come up, are told apart, go down and come back.

use std::{net::TcpStream, path::PathBuf};

use slipway_parts::{Etcd, Registry, registry::Setup};

#[test]
fn a_registry_comes_back_on_its_port_and_data() {
    let (Some(mut registry), Some(other)) = (Registry::start(), Registry::start()) else { return };
    assert_ne!(registry.host(), other.host());
    let (host, pid) = (registry.host().to_owned(), registry.server().pid());
    registry.kill();
    assert!(TcpStream::connect(&host).is_err(), "nobody answers");
    registry.restart();
    assert_eq!(registry.host(), host);
    assert_ne!(registry.server().pid(), pid);
    assert!(registry.server().log().matches("listening on").count() >= 2);
    let process = PathBuf::from(format!("/proc/{}", registry.server().pid()));
    assert!(process.exists());
    drop(registry);
    assert!(!process.exists(), "it is killed when dropped");
}

#[test]
fn a_registry_with_a_password_and_a_certificate_starts() {
    let Some(registry) = Registry::with(Setup { password: true, tls: true, relative: true, ..Setup::default() }) else {
        return;
    };
    assert!(TcpStream::connect(registry.host()).is_ok());
    assert_ne!(registry.docker_config(true), registry.docker_config(false));
}

#[test]
fn one_etcd_keeps_what_it_stores() {
    let Some(mut etcd) = Etcd::one() else { return };
    etcd.ctl(&["put", "key", "old"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("snapshot");
    etcd.save(&file);
    etcd.ctl(&["put", "key", "new"]);
    etcd.kill(0);
    etcd.start(0);
    assert_eq!(etcd.ctl(&["get", "key", "--print-value-only"]), "new\n");
    let endpoints = etcd.endpoints();
    etcd.restore(&file);
    assert_eq!(etcd.endpoints(), endpoints);
    assert_eq!(etcd.ctl(&["get", "key", "--print-value-only"]), "old\n");
    etcd.stop(0);
    etcd.start(0);
    assert_eq!(etcd.ctl(&["get", "key", "--print-value-only"]), "old\n");
}

#[test]
fn three_members_survive_the_loss_of_their_leader() {
    let Some(mut etcd) = Etcd::three() else { return };
    assert_eq!(etcd.endpoints().len(), 3);
    etcd.ctl(&["put", "key", "value"]);
    let leader = etcd.leader();
    etcd.halt(leader);
    etcd.go_on(leader);
    etcd.kill(leader);
    let others: Vec<String> =
        etcd.endpoints().into_iter().enumerate().filter(|(number, _)| *number != leader).map(|(_, url)| url).collect();
    assert_eq!(etcd.ctl(&["--command-timeout=20s", "get", "key", "--print-value-only"]), "value\n");
    assert_eq!(others.len(), 2);
    // A member that comes back hears what it missed.
    etcd.ctl(&["--command-timeout=20s", "put", "key", "later"]);
    etcd.start(leader);
    assert_eq!(etcd.ctl(&["get", "key", "--print-value-only"]), "later\n");
    // Without a majority nothing is waited for.
    (0..3).for_each(|member| etcd.kill(member));
    etcd.start(0);
    etcd.start(1);
    etcd.start(2);
    assert_eq!(etcd.ctl(&["--command-timeout=20s", "get", "key", "--print-value-only"]), "later\n");
}
