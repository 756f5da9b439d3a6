//! Configs of committed images.

use std::collections::BTreeMap;

use async_trait::async_trait;
use slipway_oci::{
    BlobDigest, ConfigChange, Removal, Respec, change,
    config::{Healthcheck, RunConfig},
    respec,
};

use super::{
    MakeBase,
    harness::{Harness, archive, build_of, collect, directory},
};
use crate::{LocalImage, Root};

/// Dockerfiles whose results the changes are made on, each with the config that it gives.
const BASES: [(&str, &str); 6] = [
    ("FROM scratch\nCOPY f /\n", r#"{}"#),
    ("FROM scratch\nCOPY f /\nCMD [\"cmd\", \"x y\"]\n", r#"{"Cmd":["cmd","x y"]}"#),
    (
        "FROM scratch\nCOPY f /\nENTRYPOINT [\"entry\"]\nCMD [\"cmd\"]\nUSER app\nWORKDIR /work\n",
        r#"{"Entrypoint":["entry"],"Cmd":["cmd"],"User":"app","WorkingDir":"/work"}"#,
    ),
    (
        "FROM scratch\nCOPY f /\nENTRYPOINT [\"entry\"]\nUSER 12:34\nENV A=\"1 2\" B=2\nLABEL one=1 two=\"2 2\"\n",
        r#"{"Entrypoint":["entry"],"User":"12:34","Env":["A=1 2","B=2"],"Labels":{"one":"1","two":"2 2"}}"#,
    ),
    (
        "FROM scratch\nCOPY f /\nENTRYPOINT entry in shell\nVOLUME /data\nEXPOSE 80 90/udp\nSTOPSIGNAL SIGINT\nSHELL [\"/sh\", \"-c\"]\n",
        r#"{"Entrypoint":["/bin/sh","-c","entry in shell"],"Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{},"90/udp":{}},"StopSignal":"SIGINT","Shell":["/sh","-c"]}"#,
    ),
    (
        "FROM scratch\nCOPY f /\nCMD cmd\nHEALTHCHECK --interval=5s --timeout=6s --start-period=7s --retries=8 CMD check\n\
         ONBUILD LABEL never=seen\n",
        r#"{"Cmd":["/bin/sh","-c","cmd"],"Healthcheck":{"Test":["CMD-SHELL","check"],"Interval":5000000000,"Timeout":6000000000,"StartPeriod":7000000000,"Retries":8},"OnBuild":["LABEL never=seen"]}"#,
    ),
];

/// The changes that are also made after a run: none, `CMD`, and a health check of default times.
const RUN_WITH: [usize; 3] = [0, 1, 8];

fn changes() -> Vec<ConfigChange> {
    let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let check =
        |interval| Healthcheck { test: vec!["CMD".to_owned(), "new".to_owned()], interval, ..Default::default() };
    let none = ConfigChange::default;
    vec![
        none(),
        ConfigChange { cmd: words("new cmd"), ..none() },
        ConfigChange { entrypoint: words("new entry"), ..none() },
        ConfigChange { cmd: words("new cmd"), entrypoint: words("new entry"), ..none() },
        ConfigChange { user: Some("other".to_owned()), workdir: Some("/other".to_owned()), ..none() },
        ConfigChange {
            env: map(&[("B", "new $A 'x'"), ("C", "")]),
            labels: map(&[("two", "new"), ("three", "\"3\"")]),
            ..none()
        },
        ConfigChange {
            volumes: vec!["/more".to_owned()],
            expose: vec!["80".to_owned(), "100/tcp".to_owned()],
            ..none()
        },
        ConfigChange { healthcheck: Some(check(9_000_000_000)), ..none() },
        ConfigChange { healthcheck: Some(check(0)), ..none() },
    ]
}

/// The stored config is the base's with the change applied, with and without a run in between.
pub(super) async fn every_change_on_every_base(harness: &Harness<'_>, bases: &dyn MakeBase) {
    for (text, config) in BASES {
        let base = bases.make(harness, text, given(config)).await;
        let below = harness.backend.config(&base).await.expect("a config").config;
        for (number, change) in changes().into_iter().enumerate() {
            // A run takes much longer, and matters for what a build container is given: all else is alike.
            for runs in if RUN_WITH.contains(&number) { [false, true].as_slice() } else { &[false] } {
                let runs = *runs;
                let mut workspace = harness.open(Some(&base)).await;
                if runs {
                    let (ended, said) = harness.run(workspace.as_mut(), &[(1, "true")], &[]).await;
                    ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
                }
                let image = workspace.commit(change.clone()).await.expect("an image");
                let stored = harness.backend.config(&image).await.expect("a config").config;
                let wanted = change::apply(&below, &change);
                assert_eq!(meaning(stored), meaning(wanted), "{text}\n{change:?}\nruns: {runs}");
                harness.backend.remove(&image).await.expect("the image goes");
            }
        }
        harness.backend.remove(&base).await.expect("the base goes");
    }
}

/// Rewritten configs: everything that a base has taken away, and everything that can be given. The layers stay.
pub(super) async fn configs_are_rewritten(harness: &Harness<'_>, bases: &dyn MakeBase) {
    let own = BTreeMap::from([("own".to_owned(), "kept".to_owned())]);
    for (text, config) in BASES {
        let base = bases.make(harness, text, given(config)).await;
        let below = harness.backend.config(&base).await.expect("a config");
        for respec in respecs() {
            let image = harness.backend.respec(&base, &respec, &own).await.expect("an image");
            let stored = harness.backend.config(&image).await.expect("a config");
            let wanted = respec::apply(&below, &respec, &own);
            assert_eq!(meaning(stored.config), meaning(wanted.config), "{text}\n{respec:?}");
            assert_eq!(stored.rootfs, below.rootfs, "{text}");
            assert_eq!(harness.root(&image, "/f").await.expect("the file"), Root::File);
            // What stands on it is made as on any other image.
            let above = harness.open(Some(&image)).await.commit(ConfigChange::default()).await.expect("an image");
            harness.backend.remove(&above).await.expect("it goes");
            harness.backend.remove(&image).await.expect("it goes");
        }
        harness.backend.remove(&base).await.expect("the base goes");
    }
    let gone = LocalImage { id: BlobDigest::of(b"no such image") };
    assert!(harness.backend.respec(&gone, &Respec::default(), &own).await.is_err());
}

fn respecs() -> Vec<Respec> {
    let all = || vec![Removal::new("/.*/").expect("an expression")];
    let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let none = Respec::default;
    vec![
        none(),
        Respec {
            clear_history: true,
            expose: Some(Vec::new()),
            remove_labels: all(),
            remove_env: all(),
            remove_volumes: all(),
            clear_cmd: true,
            clear_entrypoint: true,
            clear_user: true,
            clear_workdir: true,
            ..none()
        },
        Respec {
            author: Some("somebody".to_owned()),
            labels: BTreeMap::from([("own".to_owned(), "lost".to_owned()), ("two".to_owned(), "new".to_owned())]),
            env: BTreeMap::from([("A".to_owned(), "${A}:more".to_owned())]),
            volumes: vec!["/more".to_owned()],
            expose: words("99 53/udp"),
            user: Some("other".to_owned()),
            cmd: words("new cmd"),
            workdir: Some("/other".to_owned()),
            stop_signal: Some("SIGTERM".to_owned()),
            healthcheck: Some(Healthcheck { test: vec!["NONE".to_owned()], ..Default::default() }),
            ..none()
        },
        Respec { entrypoint: words("new entry"), ..none() },
    ]
}

fn given(config: &str) -> RunConfig {
    serde_json::from_str(config).expect("a config")
}

/// Bases by the backend's own builder of Dockerfiles.
pub(super) struct ByDockerfile;

#[async_trait]
impl MakeBase for ByDockerfile {
    async fn make(&self, harness: &Harness<'_>, dockerfile: &str, _config: RunConfig) -> LocalImage {
        let (logs, lines) = tokio::sync::mpsc::channel(16);
        let context = archive(&[super::file("f", &harness.attempt())]);
        let build = harness.backend.dockerfile(build_of(harness.attempt(), dockerfile), context, logs);
        let (built, said) = tokio::join!(build, collect(lines));
        built.unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }
}

/// A config without the differences that engines do not tell apart.
fn meaning(mut config: RunConfig) -> RunConfig {
    config.entrypoint = config.entrypoint.filter(|words| !words.is_empty());
    config.cmd = config.cmd.filter(|words| !words.is_empty());
    config.env = config.env.filter(|list| !list.is_empty());
    config.volumes = config.volumes.filter(|map| !map.is_empty());
    config.exposed_ports = config.exposed_ports.filter(|map| !map.is_empty());
    config.labels = config.labels.filter(|map| !map.is_empty());
    config.healthcheck = config.healthcheck.map(|check| Healthcheck {
        interval: if check.interval == 0 { 30_000_000_000 } else { check.interval },
        timeout: if check.timeout == 0 { 30_000_000_000 } else { check.timeout },
        start_period: if check.start_period <= 1_000_000 { 0 } else { check.start_period },
        retries: if check.retries == 0 { 3 } else { check.retries },
        ..check
    });
    config
}

/// A forgotten image is gone; forgetting again does nothing.
pub(super) async fn images_are_forgotten(harness: &Harness<'_>) {
    let image = harness.filled(&[directory("forget-me")]).await;
    harness.backend.remove(&image).await.expect("the image goes");
    assert!(harness.backend.config(&image).await.is_err());
    harness.backend.remove(&image).await.expect("it is gone already");
    assert_eq!(harness.backend.sweep().await.expect("a sweep"), 0);
}
