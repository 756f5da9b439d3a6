//! Images and containers of ours in a Docker engine: leftovers go, and what can be fetched again, the longest unused first.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Result;
use slipway_docker::{Gone, HeldImage, Holdings, What};
use slipway_process::failpoint::failpoint;

use super::{
    account::Account,
    cache::{IN_USE, YOUNG},
    volume::{Allowed, Volume},
};
use crate::{choose::EngineAddress, embedded, engine::USED};

/// Images whose only purpose is to save time.
pub(super) const CACHED: &str = "images that came from or went to repositories";
/// Images that nobody can find again.
pub(super) const LEFT: &str = "images that builds left without a name";
/// Their files are gone with them.
pub(super) const CONTAINERS: &str = "containers of builds that were killed";

/// Why images stay.
pub(super) const IS_STAGE: &str =
    "stages of builds without --repo, which nobody else has; `slipway host purge` removes them";
pub(super) const SHARED: &str = "somebody has given them names of his own";
pub(super) const STANDING: &str = "other images stand on them, or a container uses them";

/// What decides what goes.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Now.
    pub(super) now: SystemTime,
    /// What was used since then may be used by what runs now; `None` = nothing runs.
    pub(super) since: Option<SystemTime>,
    /// Whether containers go with the images that they use.
    pub(super) force: bool,
    /// Only images of this project go.
    pub(super) project: Option<String>,
    /// Nothing goes, and what would is told.
    pub(super) dry_run: bool,
}

/// What becomes of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It goes.
    Leftover,
    /// It goes when room is needed.
    Spare,
    /// It stays, and this is why.
    Stays(&'static str),
}

/// The engine, as far as a cleanup needs it.
pub(super) struct EngineImages {
    holdings: Holdings,
    address: String,
    /// Where it keeps images, as seen from here; `None` = that cannot be seen.
    root: Option<PathBuf>,
}

impl EngineImages {
    /// Connects to the engine, unless none answers; `root` = where it keeps images, when the user says so.
    pub(super) async fn open(engine: &EngineAddress, home: &Path, root: Option<PathBuf>) -> Result<Self, String> {
        embedded::probe(engine).await?;
        let service = home.join("service");
        let notes = (service.join("attempts"), service.join(USED));
        let opened = Holdings::open(engine.host.as_deref(), engine.certificates.as_deref(), notes).await;
        let holdings = opened.map_err(|error| error.to_string())?;
        let root = match root {
            Some(root) => Some(root),
            None if engine.is_here() => holdings.root().await.map_err(|error| error.to_string())?,
            None => None,
        };
        let root = root.filter(|root| root.is_dir());
        Ok(Self { holdings, address: engine.to_string(), root })
    }

    /// Where it keeps images, as seen from here.
    pub(super) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// What of it is ours.
    pub(super) fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    fn volume(&self) -> Option<Volume> {
        self.root.as_deref().and_then(Volume::of)
    }

    /// Removes leftovers, and what can be fetched again until the volume is no fuller than it may be.
    pub(super) async fn clean(&self, allowed: Allowed, rules: &Rules) -> Result<Account> {
        let at = self.root.as_ref().map_or_else(String::new, |root| format!(" in {}", root.display()));
        let place = format!("the engine at {}{at}", self.address);
        let mut account = Account::new("docker", place).measured(self.volume(), allowed);
        if !rules.dry_run && rules.project.is_none() {
            for _ in 0..self.holdings.sweep().await? {
                account.gone(CONTAINERS, 0);
            }
        }
        let old = rules.now.checked_sub(YOUNG).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut images = self.holdings.images(old).await?;
        images.retain(|image| rules.project.is_none() || image.project == rules.project);
        images.sort_by_key(|image| image.used);
        let (mut left, mut spare) = (Vec::new(), Vec::new());
        for image in images {
            match judge(&image, rules) {
                Verdict::Stays(why) => account.stays(why, image.bytes),
                Verdict::Spare => spare.push(image),
                Verdict::Leftover => left.push(image),
            }
        }
        let mut gone = BTreeSet::new();
        left = self.all(left, LEFT, rules, (&mut gone, &mut account), |_| false).await?;
        self.make_room(spare, allowed, rules, (&mut gone, &mut account)).await?;
        // What stood on them may be gone now.
        left = self.all(left, LEFT, rules, (&mut gone, &mut account), |_| false).await?;
        left.iter().for_each(|image| account.stays(STANDING, image.bytes));
        Ok(account)
    }

    async fn make_room(
        &self,
        spare: Vec<HeldImage>,
        allowed: Allowed,
        rules: &Rules,
        (gone, account): (&mut BTreeSet<String>, &mut Account),
    ) -> Result<()> {
        let volume = self.volume();
        let own = spare.iter().map(|image| image.bytes).sum();
        let Some(excess) = allowed.excess(own, volume) else {
            account.note("how full its volume is cannot be seen from here; --backend-storage-path says where it is");
            return Ok(());
        };
        let target = volume.map(|volume| volume.used.saturating_sub(excess));
        // What an image shares with others stays, so the volume is looked at again.
        let enough = |freed: u64| match (target, self.volume()) {
            (Some(target), Some(volume)) if !rules.dry_run && !allowed.is_of_own() => volume.used <= target,
            _ => freed >= excess,
        };
        if enough(0) {
            return Ok(());
        }
        let left = self.all(spare, CACHED, rules, (gone, account), enough).await?;
        left.iter().filter(|image| !image.is_free(gone)).for_each(|image| account.stays(STANDING, image.bytes));
        Ok(())
    }

    /// Removes images until it is `enough`; answers which are left. Images stand on each other, and only the uppermost can
    /// go: so it is tried again as long as something goes.
    async fn all(
        &self,
        mut images: Vec<HeldImage>,
        kind: &'static str,
        rules: &Rules,
        (gone, account): (&mut BTreeSet<String>, &mut Account),
        enough: impl Fn(u64) -> bool,
    ) -> Result<Vec<HeldImage>> {
        let mut freed: u64 = 0;
        loop {
            let (mut left, mut went) = (Vec::new(), false);
            let mut waiting = images.into_iter();
            while let Some(image) = waiting.next() {
                if !image.is_free(gone) || !self.remove(&image, kind, rules, account).await? {
                    left.push(image);
                    continue;
                }
                gone.insert(image.id.to_string());
                (freed, went) = (freed.saturating_add(image.bytes), true);
                if enough(freed) {
                    left.extend(waiting);
                    return Ok(left);
                }
            }
            if !went {
                return Ok(left);
            }
            images = left;
        }
    }

    /// Removes an image; whether it went, or would go.
    async fn remove(
        &self,
        image: &HeldImage,
        kind: &'static str,
        rules: &Rules,
        account: &mut Account,
    ) -> Result<bool> {
        if !rules.dry_run && self.holdings.remove(image, rules.force).await? != Gone::Gone {
            return Ok(false);
        }
        failpoint("host-cleanup-image");
        account.gone(kind, image.bytes);
        Ok(true)
    }
}

fn judge(image: &HeldImage, rules: &Rules) -> Verdict {
    match image.what {
        What::Stage => return Verdict::Stays(IS_STAGE),
        What::Tool => return Verdict::Stays("what build containers run with"),
        What::Shared => return Verdict::Stays(SHARED),
        What::Cached | What::Nameless => {}
    }
    if !image.containers.is_empty() && !rules.force {
        return Verdict::Stays("containers use them; --force removes those, too");
    }
    if image.known && rules.since.is_some_and(|since| image.used >= since) {
        return Verdict::Stays(IN_USE);
    }
    let is_young = image.used.checked_add(YOUNG).is_some_and(|old| old > rules.now);
    match image.what {
        What::Nameless if is_young => Verdict::Stays("made within the last 3 hours, perhaps by what runs now"),
        What::Nameless => Verdict::Leftover,
        _ if is_young && !image.known => {
            Verdict::Stays("named within the last 3 hours by builds with another --home-dir")
        }
        _ => Verdict::Spare,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slipway_oci::BlobDigest;

    use super::*;

    fn hours(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600)
    }

    fn image(what: What, used: u64, known: bool) -> HeldImage {
        HeldImage {
            id: BlobDigest::of(b"image"),
            what,
            names: Vec::new(),
            project: None,
            bytes: 1,
            used: hours(used),
            known,
            containers: Vec::new(),
            carries: BTreeSet::new(),
        }
    }

    #[test]
    fn what_can_be_had_again_and_is_not_in_use_goes() {
        let rules = |since: Option<u64>, force| Rules {
            now: hours(10),
            since: since.map(hours),
            force,
            project: None,
            dry_run: false,
        };
        let free = rules(None, false);
        let verdict = |image: &HeldImage, rules: &Rules| match judge(image, rules) {
            Verdict::Leftover => "leftover",
            Verdict::Spare => "spare",
            Verdict::Stays(why) => why.split(' ').next().unwrap_or_default(),
        };
        for (what, used, known, since, expected) in [
            (What::Cached, 9, true, None, "spare"),
            (What::Cached, 9, false, None, "named"),
            (What::Cached, 6, false, None, "spare"),
            (What::Cached, 6, true, Some(5), "used"),
            (What::Cached, 6, true, Some(7), "spare"),
            // Builds of this home note what they use.
            (What::Cached, 6, false, Some(5), "spare"),
            (What::Nameless, 9, true, None, "made"),
            (What::Nameless, 6, false, None, "leftover"),
            (What::Nameless, 6, true, Some(5), "used"),
            (What::Stage, 1, true, None, "stages"),
            (What::Tool, 1, true, None, "what"),
            (What::Shared, 1, true, None, "somebody"),
        ] {
            assert_eq!(verdict(&image(what, used, known), &rules(since, false)), expected, "{what:?} {used} {known}");
        }
        let used = HeldImage { containers: vec!["web".to_owned()], ..image(What::Cached, 1, true) };
        assert_eq!(verdict(&used, &free), "containers");
        assert_eq!(verdict(&used, &rules(None, true)), "spare");
        assert_eq!(verdict(&used, &rules(Some(0), true)), "used", "builds count more than force");
    }
}
