//! Publishers in processes of their own: many at once, and killed at every step.

use std::{path::Path, process::Stdio};

use slipway_parts::Registry;
use slipway_process::{Environment, child};
use slipway_storage::{
    Publisher, Verdict,
    conformance::{Lab, labels},
    publish::FAILPOINTS,
};

use crate::{
    lab::{DirectoryLab, Oldest, candidate, publisher},
    registry::RegistryLab,
};

const HOME: &str = "SLIPWAY_TEST_HOME";
const PLACE: &str = "SLIPWAY_TEST_PLACE";
const STAGE: &str = "SLIPWAY_TEST_STAGE";
const SALT: &str = "SLIPWAY_TEST_SALT";

/// A place by its name: `directory PATH` or `registry HOST PATH`, or `held HOST PATH` for a registry that gets manifests with
/// their tags; and who publishes there for the home directory.
async fn open(place: &str, home: &Path) -> (Box<dyn Lab>, Publisher) {
    let open = async |lab: &dyn Lab| publisher(home, lab.open().await, None);
    match place.split(' ').collect::<Vec<_>>().as_slice() {
        ["directory", path] => {
            let lab = DirectoryLab(path.into());
            let publisher = open(&lab).await;
            (Box::new(lab), publisher)
        }
        [kind @ ("registry" | "held"), host, path] => {
            let lab = RegistryLab::new(host, path);
            let mut publisher = open(&lab).await;
            if *kind == "held" {
                publisher = publisher.holding(lab.client.clone(), &lab.repo);
            }
            (Box::new(lab), publisher)
        }
        other => panic!("{other:?} is no place"),
    }
}

/// What the child processes do.
#[tokio::test]
#[ignore = "a child process of other tests"]
async fn child_that_publishes() {
    let environment = Environment::from_process();
    let Some(home) = environment.get(HOME) else { return };
    let (lab, publisher) = open(environment.get(PLACE).unwrap(), Path::new(home)).await;
    let record = lab.upload(&labels(environment.get(STAGE).unwrap()), environment.get(SALT).unwrap()).await;
    let verdict = publisher.publish(&candidate(record), &Oldest).await.unwrap();
    let word = if matches!(verdict, Verdict::Won(_)) { "won" } else { "lost" };
    println!("\nverdict {word} {} {}", verdict.stage().id, verdict.stage().at.digest);
}

struct Publish<'a> {
    home: &'a Path,
    place: &'a str,
    stage: &'a str,
    salt: &'a str,
    failpoint: &'a str,
}

impl Publish<'_> {
    fn start(&self) -> std::process::Child {
        child::command(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "crash::child_that_publishes"])
            .env(HOME, self.home)
            .env(PLACE, self.place)
            .env(STAGE, self.stage)
            .env(SALT, self.salt)
            .env("SLIPWAY_FAILPOINT", self.failpoint)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn verdict(process: std::process::Child) -> Vec<String> {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("verdict "));
    let words = line.unwrap_or_else(|| panic!("no verdict in {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    words.split(' ').map(str::to_owned).collect()
}

async fn stored(lab: &dyn Lab, stage: &str) -> Vec<slipway_stages::StageRecord> {
    let labels = labels(stage);
    lab.open().await.find(labels.digest, &labels.platform, true).await.unwrap()
}

async fn eight_processes_at_once(place: &str) {
    let home = tempfile::tempdir().unwrap();
    let salts: Vec<String> = (0..8).map(|number| format!("salt {number}")).collect();
    let publish = |salt| Publish { home: home.path(), place, stage: "eight", salt, failpoint: "" }.start();
    let running: Vec<_> = salts.iter().map(|salt| publish(salt)).collect();
    let verdicts: Vec<Vec<String>> = running.into_iter().map(verdict).collect();
    assert_eq!(verdicts.iter().filter(|words| words[0] == "won").count(), 1, "{verdicts:?}");
    assert!(verdicts.iter().all(|words| words[1..] == verdicts[0][1..]), "{verdicts:?}");
    let stored = stored(&*open(place, home.path()).await.0, "eight").await;
    assert_eq!(stored.iter().map(|stage| stage.id.to_string()).collect::<Vec<_>>(), [verdicts[0][1].clone()]);
}

#[tokio::test]
async fn eight_processes_store_one_stage() {
    let directory = tempfile::tempdir().unwrap();
    eight_processes_at_once(&format!("directory {}", directory.path().display())).await;
    if let Some(registry) = Registry::start() {
        eight_processes_at_once(&format!("registry {} shop/eight", registry.host())).await;
        eight_processes_at_once(&format!("held {} shop/eight-held", registry.host())).await;
    }
}

/// Kills a publisher at `failpoint`; `recovers`: the next process recovers, else it publishes at once.
async fn kill_and_go_on(place: &str, failpoint: &str, recovers: bool) {
    let home = tempfile::tempdir().unwrap();
    let stage = format!("{failpoint} {recovers}");
    let publish = Publish { home: home.path(), place, stage: &stage, salt: "killed", failpoint };
    let killed = publish.start().wait_with_output().unwrap();
    assert!(!killed.status.success() && killed.status.code().is_none(), "{failpoint} was not reached: {killed:?}");
    let (lab, publisher) = open(place, home.path()).await;
    let tagged = stored(&*lab, &stage).await;
    if recovers {
        let recovered = publisher.recover().await.unwrap();
        assert_eq!((recovered.dropped, recovered.kept), (0, 0), "{failpoint}");
        let after = stored(&*lab, &stage).await;
        assert_eq!(after.len(), tagged.len().max(recovered.tagged), "{failpoint}");
        // A commit that is on the disk is never built again.
        let position = FAILPOINTS.iter().position(|name| *name == failpoint).unwrap();
        let committed = FAILPOINTS.iter().position(|name| *name == "publish.journal-write").unwrap();
        assert_eq!(after.len(), usize::from(position >= committed), "{failpoint}");
    }
    let next = candidate(lab.upload(&labels(&stage), "next").await);
    let verdict = publisher.publish(&next, &Oldest).await.unwrap();
    let after = stored(&*lab, &stage).await;
    assert_eq!(after, [verdict.stage().clone()], "{failpoint}: one stage stands, the one that is used");
    assert!(tagged.is_empty() || tagged == after, "{failpoint}: what stood still stands");
    let again = publisher.publish(&next, &Oldest).await.unwrap();
    assert_eq!(again, Verdict::Lost(after[0].clone()), "{failpoint}");
    assert_eq!(publisher.recover().await.unwrap(), slipway_storage::Recovered::default(), "{failpoint}");
}

#[tokio::test]
async fn a_publisher_killed_at_any_step_leaves_nothing_half_made() {
    let directory = tempfile::tempdir().unwrap();
    let place = format!("directory {}", directory.path().display());
    for failpoint in FAILPOINTS {
        for recovers in [true, false] {
            kill_and_go_on(&place, failpoint, recovers).await;
        }
    }
}

#[tokio::test]
async fn a_publisher_killed_at_any_step_leaves_the_repository_whole() {
    let Some(registry) = Registry::start() else { return };
    for kind in ["registry", "held"] {
        let place = format!("{kind} {} shop/killed-{kind}", registry.host());
        for failpoint in FAILPOINTS {
            kill_and_go_on(&place, failpoint, true).await;
        }
    }
}
