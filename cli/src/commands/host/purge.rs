//! `slipway host purge`: nothing of Slipway is left on this host, or nothing of one project.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use slipway_docker::{Gone, HeldImage, What as Use};
use slipway_layers::store::size_of;
use slipway_native::rootless;
use slipway_process::{Environment, Tasks, failpoint::failpoint, random_id};

use super::{
    Report,
    account::Account,
    buildah,
    cache::ASIDE,
    cleanup::{now, turn},
    home_of,
    images::{CONTAINERS, EngineImages, SHARED, STANDING},
    leftovers, print,
};
use crate::{
    choose::EngineAddress,
    commands::session::Desk,
    engine,
    failure::{Exit, Failure},
    flags::{
        host::{DRY_RUN, FORCE},
        project::PROJECT_NAME,
    },
    running::Gate,
};

/// All that we keep in a home directory. What else is there is not ours. The last one tells who uses the others.
const OURS: [&str; 9] =
    ["native", "git", "snapshots", "mirrors", "local_cache", "ansible", "coordinator", ASIDE, "service"];
/// What one that runs holds, below a home directory.
const COORDINATOR: (&str, &str) = ("coordinator", "coordinator/coordinator.lock");

/// What was purged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Done {
    parts: Vec<Account>,
    #[serde(skip)]
    dry_run: bool,
}

impl Report for Done {
    fn text(&self) -> String {
        self.parts.iter().map(|part| part.text(self.dry_run)).collect()
    }
}

/// What is to go.
struct What {
    home: PathBuf,
    project: Option<String>,
    dry_run: bool,
}

/// Deletes it all.
pub(crate) async fn run(desk: Desk) -> Result<(), Failure> {
    let home = home_of(&desk)?;
    let what = What { home, project: desk.values.text(&PROJECT_NAME), dry_run: desk.values.switch(&DRY_RUN) };
    if !what.dry_run && !desk.values.switch(&FORCE) {
        let of = what.project.as_ref().map_or_else(
            || format!("all that Slipway keeps on this host: {}, and its images and containers", what.home.display()),
            |project| format!("all stages of the project {project} that this host keeps"),
        );
        return Err(Failure::usage(anyhow!(
            "host purge deletes {of}; it asks nobody: give --force to have it done, or --dry-run to see what would go"
        )));
    }
    // Files of other ids can be removed only in a namespace that has them.
    if rootless::is_needed() && engine::store(&what.home).exists() && rootless::probe().is_ok() {
        return Err(Failure::from(engine::start_again()));
    }
    let purging = Box::pin(purge(&desk, &what));
    let done = desk.world.interrupted.run_until_cancelled(purging).await.ok_or_else(Failure::interrupted)??;
    print(&desk, &done)
}

async fn purge(desk: &Desk, what: &What) -> Result<Done, Failure> {
    let _turn = turn(desk, &what.home, false).await?;
    let gate = shut(&what.home).await?;
    let mut parts = vec![of_engine(&desk.world.environment, what).await?];
    parts.extend(of_buildah(&desk.world.environment, what).await?);
    let (home, project, dry_run, now) = (what.home.clone(), what.project.clone(), what.dry_run, now(desk));
    let files = move || -> io::Result<Vec<Account>> {
        let mut parts = Vec::new();
        match project {
            Some(project) => parts.push(of_project(&home, &project, dry_run)?),
            None => {
                if !dry_run {
                    slipway_native::network::clear()?;
                    slipway_native::sweep_groups();
                }
                // It looks into the home directory, too.
                parts.push(leftovers::clean(&home, &std::env::temp_dir(), now, dry_run));
                parts.push(of_home(&home, dry_run)?);
            }
        }
        // Whoever has waited finds a new home.
        drop(gate);
        Ok(parts)
    };
    let files = Tasks::new().blocking(files).await;
    parts.extend(files.with_context(|| format!("delete what is in {}", what.home.display()))?);
    Ok(Done { parts, dry_run })
}

/// Shuts the gate of a home directory that nobody works with; there is none without a home.
async fn shut(home: &Path) -> Result<Option<Gate>, Failure> {
    if !home.exists() {
        return Ok(None);
    }
    let asked = home.to_owned();
    let shut = move || {
        let gate = Gate::shut(&asked)?;
        gate.processes().map(|processes| (gate, processes))
    };
    let (gate, processes) =
        Tasks::new().blocking(shut).await.with_context(|| format!("look who works with {}", home.display()))?;
    if processes.is_empty() {
        return Ok(Some(gate));
    }
    let names: Vec<String> = processes.iter().map(crate::running::Process::named).collect();
    let error = anyhow!(
        "nothing was deleted, for {} is in use: {}; wait for what runs, or end it",
        home.display(),
        names.join(", ")
    );
    Err(Failure { exit: Exit::Failed, error })
}

/// The files of a home directory: first out of sight, then gone.
fn of_home(home: &Path, dry_run: bool) -> io::Result<Account> {
    let mut account = Account::new("home directory", home.display().to_string());
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(home).into_iter().flatten() {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let aside = home.join(ASIDE);
    for name in OURS.iter().filter(|name| names.iter().any(|found| found == *name)) {
        let path = home.join(name);
        if *name == COORDINATOR.0 && is_locked(&home.join(COORDINATOR.1)) {
            account.note(format!("{} stays: a coordinator runs", path.display()));
            continue;
        }
        account.gone(name, size_of(&path));
        if dry_run || *name == ASIDE {
            continue;
        }
        fs::create_dir_all(&aside)?;
        fs::rename(&path, aside.join(random_id()))?;
        failpoint("host-purge");
    }
    if !dry_run && aside.exists() {
        fs::remove_dir_all(&aside)?;
        // It stays when something else is in it.
        let _ = fs::remove_dir(home);
    }
    for name in names.iter().filter(|name| !OURS.contains(&name.as_str())) {
        account.note(format!("{} stays: it is none of ours", home.join(name).display()));
    }
    Ok(account)
}

/// The stages of a project in the store of the native backend.
fn of_project(home: &Path, project: &str, dry_run: bool) -> io::Result<Account> {
    let stages = engine::store(home).join("stages");
    let mut account = Account::new("native", engine::store(home).display().to_string());
    let listed = fs::read_dir(&stages).into_iter().flatten().flatten();
    // A name is looked for rather than made a path of.
    let Some(found) = listed.into_iter().find(|entry| entry.file_name() == project) else { return Ok(account) };
    let digests = fs::read_dir(found.path())?.flatten();
    for _ in digests.flat_map(|digest| fs::read_dir(digest.path()).into_iter().flatten()) {
        account.gone("stages", 0);
    }
    account.note("layers that nothing needs then go when room is needed, or by `slipway host cleanup`");
    if !dry_run {
        fs::remove_dir_all(found.path())?;
    }
    Ok(account)
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// What is ours in a Docker engine.
async fn of_engine(environment: &Environment, what: &What) -> anyhow::Result<Account> {
    let address = EngineAddress::from_environment(environment);
    let mut account = Account::new("docker", format!("the engine at {address}"));
    let images = match EngineImages::open(&address, &what.home, None).await {
        Ok(images) => images,
        Err(why) => {
            account.note(format!("left alone, as it does not answer: {why}"));
            return Ok(account);
        }
    };
    let holdings = images.holdings();
    if what.project.is_none() {
        let swept = if what.dry_run { 0 } else { holdings.sweep().await? };
        (0..swept).for_each(|_| account.gone(CONTAINERS, 0));
        let (lenders, builds) = holdings.named_containers().await?;
        for name in lenders {
            if what.dry_run || holdings.remove_container(&name).await {
                account.gone("containers that lend a toolbox", 0);
            }
        }
        builds.iter().for_each(|_| account.stays("containers of builds with another --home-dir", 0));
    }
    let mut left = holdings.images(std::time::SystemTime::UNIX_EPOCH).await?;
    left.retain(|image| what.project.is_none() || image.project == what.project);
    let mut gone = BTreeSet::new();
    // Images stand on each other, and only the uppermost can go: so it is tried again as long as something goes.
    loop {
        let (mut standing, before): (Vec<HeldImage>, usize) = (Vec::new(), left.len());
        for image in left {
            // An image that has other names loses ours, and nothing else.
            let (kind, can_go) = match image.what {
                Use::Shared => ("names of images that have others", true),
                _ => ("images", image.is_free(&gone)),
            };
            if !can_go || (!what.dry_run && holdings.remove(&image, false).await? != Gone::Gone) {
                standing.push(image);
                continue;
            }
            failpoint("host-purge-image");
            if image.what != Use::Shared {
                gone.insert(image.id.to_string());
            }
            account.gone(kind, image.bytes);
        }
        if standing.is_empty() || standing.len() == before {
            standing.iter().for_each(|image| account.stays(STANDING, image.bytes));
            return Ok(account);
        }
        left = standing;
    }
}

/// What is ours in the storage of Buildah.
async fn of_buildah(environment: &Environment, what: &What) -> anyhow::Result<Option<Account>> {
    buildah::within(&what.home, environment, async |backend| purge_buildah(backend, what).await).await
}

async fn purge_buildah(backend: &slipway_buildah::BuildahBackend, what: &What) -> anyhow::Result<Account> {
    use slipway_backend::ContainerBackend as _;
    let mut account = Account::new("buildah", "its storage");
    if what.project.is_none() && !what.dry_run {
        (0..backend.sweep().await?).for_each(|_| account.gone(CONTAINERS, 0));
    }
    for mut image in backend.held().await? {
        if let Some(project) = &what.project {
            if !image.projects.contains(project) {
                continue;
            }
            let own = format!("/{project}:");
            image.names.retain(|name| name.contains(&own));
        }
        if image.shared {
            account.stays(SHARED, image.bytes);
        }
        if what.dry_run || backend.let_go(&image).await? {
            account.gone("images", image.bytes);
        } else {
            account.stays(STANDING, image.bytes);
        }
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::{self, Word};

    #[test]
    fn all_that_is_ours_goes_and_nothing_else() {
        let parent = tempfile::tempdir().expect("a directory");
        let home = parent.path().join("home");
        for name in ["native/layers", "git", "service/running", "coordinator", "mine"] {
            fs::create_dir_all(home.join(name)).expect("a directory");
        }
        let coordinator = File::create(home.join(COORDINATOR.1)).expect("a file");
        coordinator.lock().expect("a lock");
        let would = of_home(&home, true).expect("a dry run");
        assert!(home.join("native").exists());
        let did = of_home(&home, false).expect("a purge");
        assert_eq!(would, did);
        let text = did.text(false);
        assert!(text.contains("mine stays") && text.contains("coordinator stays"), "{text}");
        let mut left: Vec<_> = fs::read_dir(&home).expect("a home").flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["coordinator", "mine"]);
        drop(coordinator);
        fs::remove_dir(home.join("mine")).expect("it is empty");
        of_home(&home, false).expect("a purge");
        assert!(!home.exists());
        assert!(of_home(&home, false).expect("nothing is there").text(false).contains("removed: nothing"));
    }

    #[test]
    fn only_the_stages_of_a_project_go_with_its_name() {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["shop/aa/1", "shop/aa/2", "shop/bb/1", "other/aa/1"] {
            let path = home.path().join("native/stages").join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, "{}").expect("a file");
        }
        assert!(of_project(home.path(), "../stages", false).expect("no such project").is_empty());
        let did = of_project(home.path(), "shop", false).expect("a purge").text(false);
        assert!(did.contains("removed: 3 "), "{did}");
        assert!(!home.path().join("native/stages/shop").exists() && home.path().join("native/stages/other").exists());
    }

    #[tokio::test]
    async fn what_runs_is_named_and_nothing_goes() {
        let home = tempfile::tempdir().expect("a directory");
        let word = Word { process: 12, command: "build".to_owned(), directory: "/shop".to_owned() };
        let running = running::begin(home.path(), &word, true).expect("a home");
        let refused = shut(home.path()).await.expect_err("it runs").text();
        assert!(refused.contains("in use: slipway build in /shop (process 12)"), "{refused}");
        drop(running);
        assert!(shut(home.path()).await.expect("nobody is there").is_some());
        assert!(shut(&home.path().join("nowhere")).await.expect("nobody is there").is_none());
    }
}
