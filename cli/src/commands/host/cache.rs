//! The local cache of a home directory: what can be fetched or made again, the longest unused goes first.
//!
//! What others may be looking at is moved aside while nobody begins, and removed from there: so it is whole or not there, and
//! what a killed cleanup has moved aside is removed by the next one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use slipway_git::upstream;
use slipway_layers::store::size_of;
use slipway_process::{failpoint::failpoint, random_id};

use super::{
    account::Account,
    volume::{Allowed, Volume},
};
use crate::running::{self, Gate, Process};

/// What was used since then stays, whoever used it.
pub(super) const YOUNG: Duration = Duration::from_secs(3 * 3600);
/// Why something stays.
pub(super) const IN_USE: &str = "used by what runs now";
const IS_YOUNG: &str = "used within the last 3 hours";
/// Where things wait for their end, below a home directory.
pub(super) const ASIDE: &str = "gone";

/// What kind of thing an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A copy of another git repository.
    Copy,
    /// The repository of commits that were made here.
    Snapshots,
    /// The copy of a project's repository that a worker keeps.
    Mirror,
    /// A blob of a registry.
    Blob,
    /// What is known of a repository of stages.
    Index,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Copy => "copies of other git repositories",
            Self::Snapshots => "snapshots of work trees and joined repositories",
            Self::Mirror => "git repositories of a worker",
            Self::Blob => "blobs of registries",
            Self::Index => "indexes of repositories of stages",
        }
    }
}

/// Something that can go.
#[derive(Debug)]
struct Entry {
    kind: Kind,
    path: PathBuf,
    used: SystemTime,
}

/// Removes the longest unused until the volume is no fuller than it may be. Blocks.
///
/// # Errors
/// When the home directory cannot be read or written.
pub(super) fn clean(home: &Path, allowed: Allowed, now: SystemTime, dry_run: bool) -> io::Result<Account> {
    let volume = Volume::of(home);
    let mut account = Account::new("local cache", home.display().to_string()).measured(volume, allowed);
    empty(&home.join(ASIDE), &mut account, dry_run);
    let mut entries = entries(home);
    let own = |entries: &[Entry]| entries.iter().map(|entry| size_of(&entry.path)).sum();
    // Sizes take time, and those of all are seldom asked for.
    let own: u64 = if allowed.is_of_own() { own(&entries) } else { 0 };
    let Some(mut excess) = allowed.excess(own, volume) else {
        account.note("nobody knows how full its volume is");
        return Ok(account);
    };
    entries.sort_by_key(|entry| entry.used);
    for entry in entries {
        if excess == 0 {
            break;
        }
        let bytes = size_of(&entry.path);
        if entry.used.checked_add(YOUNG).is_some_and(|old| old > now) {
            account.stays(IS_YOUNG, bytes);
            continue;
        }
        if !remove(home, &entry, now, dry_run)? {
            account.stays(IN_USE, bytes);
            continue;
        }
        account.gone(entry.kind.name(), bytes);
        excess = excess.saturating_sub(bytes);
    }
    Ok(account)
}

/// Removes one; whether it went, or would go.
fn remove(home: &Path, entry: &Entry, now: SystemTime, dry_run: bool) -> io::Result<bool> {
    if matches!(entry.kind, Kind::Blob | Kind::Index) {
        // Who has opened it reads on, and who has not fetches it again.
        return if dry_run { Ok(true) } else { missing_is_well(fs::remove_file(&entry.path)).map(|()| true) };
    }
    let gate = Gate::shut(home)?;
    let processes = gate.processes()?;
    let since = running::in_use_since(&processes, now).unwrap_or(now);
    let others = |process: &Process| process.word.command != running::WORKER;
    let in_use = match entry.kind {
        Kind::Snapshots => processes.iter().any(others),
        Kind::Mirror => !processes.iter().all(others),
        _ => entry.used >= since,
    };
    if in_use || dry_run {
        return Ok(!in_use);
    }
    let aside = home.join(ASIDE);
    fs::create_dir_all(&aside)?;
    let aside = aside.join(random_id());
    let went = match entry.kind {
        Kind::Copy => upstream::put_aside(&entry.path, since, &aside)?,
        _ => fs::rename(&entry.path, &aside).map(|()| true)?,
    };
    drop(gate);
    failpoint("host-cleanup-aside");
    if went {
        fs::remove_dir_all(&aside)?;
    }
    Ok(went)
}

/// Removes what was moved aside by cleanups that were killed.
fn empty(aside: &Path, account: &mut Account, dry_run: bool) {
    for entry in fs::read_dir(aside).into_iter().flatten().flatten() {
        let bytes = size_of(&entry.path());
        if dry_run || fs::remove_dir_all(entry.path()).is_ok() {
            account.gone("leftovers of a cleanup that was killed", bytes);
        }
    }
}

/// All that can go.
fn entries(home: &Path) -> Vec<Entry> {
    let copies = upstream::kept(home).into_iter();
    let mut all: Vec<Entry> = copies.map(|kept| Entry { kind: Kind::Copy, path: kept.path, used: kept.used }).collect();
    let listed = |directory: &str| fs::read_dir(home.join(directory)).into_iter().flatten().flatten();
    for broken in listed("git").filter(|entry| entry.file_name().to_string_lossy().contains(".broken-")) {
        all.push(Entry { kind: Kind::Copy, used: newest(&broken.path(), &[]), path: broken.path() });
    }
    let snapshots = home.join("snapshots");
    if snapshots.is_dir() {
        let used = newest(&snapshots, &["lock", "objects", "contents", "last"]);
        all.push(Entry { kind: Kind::Snapshots, path: snapshots, used });
    }
    for mirror in listed("mirrors") {
        let used = newest(&mirror.path(), &["refs", "refs/slipway", "objects", "packed-refs"]);
        all.push(Entry { kind: Kind::Mirror, path: mirror.path(), used });
    }
    for (kind, directory, prefix) in [(Kind::Blob, "local_cache/blobs", "sha256-"), (Kind::Index, "service/index", "")]
    {
        for file in listed(directory).filter(|file| file.file_name().to_string_lossy().starts_with(prefix)) {
            all.push(Entry { kind, used: newest(&file.path(), &[]), path: file.path() });
        }
    }
    all
}

/// The newest time of a path and of what lies in it.
fn newest(path: &Path, inside: &[&str]) -> SystemTime {
    let times = std::iter::once(path.to_owned()).chain(inside.iter().map(|name| path.join(name)));
    let times = times.filter_map(|path| fs::metadata(path).and_then(|found| found.modified()).ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whether something is gone, whoever has removed it.
fn missing_is_well(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{flags::host::Limit, running::Word};

    const NOTHING: Allowed = Allowed { usage: Limit::Share(0), margin: Limit::Share(5) };

    struct Home(tempfile::TempDir);

    impl Home {
        /// A home with one entry of each kind, used in this order, one second after the other.
        fn new() -> Self {
            let home = Self(tempfile::tempdir().expect("a directory"));
            for (at, path) in [
                "git/one/HEAD",
                "snapshots/HEAD",
                "mirrors/shop.git/HEAD",
                "local_cache/blobs/sha256-aa",
                "service/index/x",
            ]
            .iter()
            .enumerate()
            {
                let path = home.path().join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(&path, vec![1; 10_000]).expect("a file");
                let entry = if path.ends_with("HEAD") { path.parent().expect("a parent") } else { &path };
                age(entry, u64::try_from(at).expect("small"));
            }
            home
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn left(&self) -> Vec<Kind> {
            entries(self.path()).into_iter().map(|entry| entry.kind).collect()
        }

        fn clean(&self, allowed: Allowed) -> serde_json::Value {
            self.clean_at(allowed, at(100_000))
        }

        fn clean_at(&self, allowed: Allowed, now: SystemTime) -> serde_json::Value {
            let [would, did] = [true, false].map(|dry_run| {
                let account = clean(self.path(), allowed, now, dry_run).expect("a cleanup");
                let mut account = serde_json::to_value(account).expect("JSON");
                account["volume"].take();
                account
            });
            assert_eq!(would, did, "a dry run tells what happens");
            did
        }

        fn run(&self, command: &str) -> running::Running {
            let word = Word { process: 1, command: command.to_owned(), directory: "/".to_owned() };
            running::begin(self.path(), &word, true).expect("a home").expect("it waits")
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn age(path: &Path, seconds: u64) {
        let times = fs::FileTimes::new().set_modified(at(seconds));
        fs::File::open(path).and_then(|file| file.set_times(times)).expect("a time");
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let home = Home::new();
        let own: u64 = entries(home.path()).iter().map(|entry| size_of(&entry.path)).sum();
        let some = Allowed { usage: Limit::Bytes(own - 1), margin: Limit::Bytes(0) };
        let account = home.clean(some);
        assert_eq!(account["removed"][Kind::Copy.name()]["number"], 1, "{account}");
        assert!(!home.left().contains(&Kind::Copy) && home.left().contains(&Kind::Index), "{:?}", home.left());
        let all = home.clean(NOTHING);
        assert_eq!(all["removed"].as_object().map(serde_json::Map::len), Some(4), "{all}");
        assert!(home.left().is_empty());
        assert_eq!(home.clean(NOTHING)["removed"], serde_json::json!({}));
    }

    #[test]
    fn what_was_used_lately_stays() {
        let home = Home::new();
        let account = home.clean_at(NOTHING, at(YOUNG.as_secs() + 2));
        assert_eq!(account["stays"][IS_YOUNG]["number"], 2, "{account}");
        assert_eq!(home.left(), [Kind::Blob, Kind::Index]);
        let full = Allowed { usage: Limit::Share(100), margin: Limit::Share(5) };
        assert_eq!(home.clean(full)["removed"], serde_json::json!({}));
        assert_eq!(home.left().len(), 2);
    }

    #[test]
    fn what_runs_keeps_what_it_may_use() {
        let home = Home::new();
        let build = home.run("build");
        // Used before the build began: not by it.
        let used = home.path().join("git/one.used");
        fs::write(&used, "\n").expect("a file");
        let now = fs::metadata(&used).and_then(|found| found.modified()).expect("a time") + 2 * YOUNG;
        let account = home.clean_at(NOTHING, now);
        assert_eq!(account["stays"][IN_USE]["number"], 2, "{account}");
        assert_eq!(home.left(), [Kind::Copy, Kind::Snapshots]);
        drop(build);
        let worker = home.run(running::WORKER);
        fs::create_dir_all(home.path().join("mirrors/shop.git")).expect("a directory");
        age(&home.path().join("mirrors/shop.git"), 1);
        home.clean_at(NOTHING, now);
        assert_eq!(home.left(), [Kind::Mirror]);
        drop(worker);
        home.clean_at(NOTHING, now);
        assert!(home.left().is_empty());
    }

    #[test]
    fn what_a_killed_cleanup_moved_aside_goes() {
        let home = Home::new();
        let aside = home.path().join(ASIDE).join("x/y");
        fs::create_dir_all(&aside).expect("a directory");
        let account = home.clean(Allowed { usage: Limit::Share(100), margin: Limit::Share(5) });
        assert_eq!(account["removed"]["leftovers of a cleanup that was killed"]["number"], 1, "{account}");
        assert!(!aside.exists());
    }
}
