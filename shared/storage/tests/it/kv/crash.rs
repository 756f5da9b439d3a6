//! Publishers in processes of their own, as on several hosts, over real etcd and a real registry: many at once, and
//! killed at every step.

use std::process::{Child, Stdio};

use slipway_kv::EtcdAddress;
use slipway_parts::{Etcd, Registry};
use slipway_process::{Environment, child};
use slipway_stages::StageRecord;
use slipway_storage::{
    Recovered, StageStorage as _, Verdict,
    conformance::labels,
    kv::{FAILPOINTS, SharedPublisher},
};

use super::many::{host, ours};
use crate::{kv::lab::digest_of, lab::Oldest, registry::RegistryLab};

const ETCD: &str = "SLIPWAY_TEST_ETCD";
const PLACE: &str = "SLIPWAY_TEST_PLACE";
const STAGE: &str = "SLIPWAY_TEST_STAGE";
const SALT: &str = "SLIPWAY_TEST_SALT";

/// What the child processes do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child process of other tests"]
async fn child_that_publishes_to_etcd() {
    let environment = Environment::from_process();
    let Some(etcd) = environment.get(ETCD) else { return };
    let (address, path) = environment.get(PLACE).unwrap().split_once(' ').unwrap();
    let lab = RegistryLab::new(address, path);
    let publisher = host(&EtcdAddress::of_members(etcd.split(',')).unwrap(), &lab).await;
    let candidate = ours(&lab, environment.get(STAGE).unwrap(), environment.get(SALT).unwrap()).await;
    let verdict = publisher.publish(&candidate, &Oldest).await.unwrap();
    let word = if matches!(verdict, Verdict::Won(_)) { "won" } else { "lost" };
    println!("\nverdict {word} {} {}", verdict.stage().id, verdict.stage().at.digest);
}

struct Lab {
    etcd: Etcd,
    registry: Registry,
    path: &'static str,
}

impl Lab {
    fn new(path: &'static str) -> Option<Self> {
        Some(Self { registry: Registry::start()?, etcd: Etcd::one()?, path })
    }

    fn repository(&self) -> RegistryLab {
        RegistryLab::new(self.registry.host(), self.path)
    }

    async fn host(&self) -> SharedPublisher {
        let endpoints = self.etcd.endpoints();
        host(&EtcdAddress::of_members(endpoints.iter().map(String::as_str)).unwrap(), &self.repository()).await
    }

    fn start(&self, stage: &str, salt: &str, failpoint: &str) -> Child {
        child::command(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "kv::crash::child_that_publishes_to_etcd"])
            .env(ETCD, self.etcd.endpoints().join(","))
            .env(PLACE, format!("{} {}", self.registry.host(), self.path))
            .env(STAGE, stage)
            .env(SALT, salt)
            .env("SLIPWAY_FAILPOINT", failpoint)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What stands in the registry itself.
    async fn tagged(&self, stage: &str) -> Vec<StageRecord> {
        let labels = labels(stage);
        self.repository().storage().find(labels.digest, &labels.platform, true).await.unwrap()
    }
}

fn verdict(process: Child) -> Vec<String> {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("verdict "));
    let words = line.unwrap_or_else(|| panic!("no verdict in {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    words.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_hosts_store_one_stage() {
    let Some(lab) = Lab::new("shop/eight") else { return };
    let running: Vec<Child> = (0..8).map(|number| lab.start("eight", &format!("salt {number}"), "")).collect();
    let verdicts: Vec<Vec<String>> = running.into_iter().map(verdict).collect();
    assert_eq!(verdicts.iter().filter(|words| words[0] == "won").count(), 1, "{verdicts:?}");
    assert!(verdicts.iter().all(|words| words[1..] == verdicts[0][1..]), "{verdicts:?}");
    let tagged: Vec<String> = lab.tagged("eight").await.iter().map(|stage| stage.id.to_string()).collect();
    assert_eq!(tagged, [verdicts[0][1].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_killed_at_any_step_leaves_nothing_half_made() {
    let Some(lab) = Lab::new("shop/killed") else { return };
    for failpoint in FAILPOINTS {
        for recovers in [true, false] {
            let stage = format!("{failpoint} {recovers}");
            let killed = lab.start(&stage, "killed", failpoint).wait_with_output().unwrap();
            assert!(
                !killed.status.success() && killed.status.code().is_none(),
                "{failpoint} was not reached: {killed:?}"
            );
            let before = lab.tagged(&stage).await;
            let publisher = lab.host().await;
            if recovers {
                let recovered = publisher.recover().await.unwrap();
                assert_eq!((recovered.dropped, recovered.kept), (0, 0), "{failpoint}");
                let committed = FAILPOINTS.iter().position(|name| *name == "publish.commit").unwrap();
                let reached = FAILPOINTS.iter().position(|name| name == failpoint).unwrap();
                assert_eq!(lab.tagged(&stage).await.len(), usize::from(reached >= committed), "{failpoint}");
            }
            let verdict = publisher.publish(&ours(&lab.repository(), &stage, "next").await, &Oldest).await.unwrap();
            let after = lab.tagged(&stage).await;
            assert_eq!(after, [verdict.stage().clone()], "{failpoint}: one stage stands, the one that is used");
            assert!(before.is_empty() || before == after, "{failpoint}: what stood still stands");
            assert_eq!(publisher.recover().await.unwrap(), Recovered::default(), "{failpoint}");
            let seen = publisher.ledger().read(digest_of(&stage)).await.unwrap();
            assert!(seen.kept.len() == 1 && seen.kept[0].tagged, "{failpoint}: {seen:?}");
        }
    }
}
