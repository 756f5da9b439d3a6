//! Images of ours in the storage of Buildah.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use slipway_buildah::{BuildahBackend, HeldImage};
use slipway_process::{Environment, Tasks};

use super::{
    account::Account,
    cache::{IN_USE, YOUNG},
    images::{CACHED, CONTAINERS, IS_STAGE, LEFT, Rules, SHARED, STANDING},
    volume::{Allowed, Volume},
};
use crate::buildah;

/// The backend, to be shut down when it is no longer needed.
struct Storage {
    backend: BuildahBackend,
    tasks: Tasks,
}

impl Storage {
    /// Opens it; `None` = it was never used here, or is not installed any more.
    async fn open(home: &Path, environment: &Environment) -> Option<Result<Self, String>> {
        if !home.join("service/buildah").is_dir() || buildah::probe(environment).is_err() {
            return None;
        }
        let tasks = Tasks::new();
        Some(match buildah::with_usual(home, environment.clone(), &tasks).await {
            Ok(backend) => Ok(Self { backend, tasks }),
            Err(why) => {
                tasks.shut_down().await;
                Err(why)
            }
        })
    }

    /// The backend.
    fn backend(&self) -> &BuildahBackend {
        &self.backend
    }

    /// Ends what it has begun.
    async fn close(self) {
        self.backend.shut_down().await;
        self.tasks.shut_down().await;
    }
}

/// Cleans it; `None` = there is none.
pub(super) async fn clean(
    environment: &Environment,
    home: &Path,
    allowed: Allowed,
    rules: &Rules,
) -> Result<Option<Account>> {
    within(home, environment, async |backend| cleaned(backend, allowed, rules).await).await
}

/// Does something with what is ours in the storage; `None` = there is none. One that does not work is left alone, and says so.
pub(super) async fn within(
    home: &Path,
    environment: &Environment,
    work: impl AsyncFnOnce(&BuildahBackend) -> Result<Account>,
) -> Result<Option<Account>> {
    let storage = match Storage::open(home, environment).await {
        None => return Ok(None),
        Some(Err(why)) => {
            let mut account = Account::new("buildah", "its storage");
            account.note(format!("left alone, as it does not work: {why}"));
            return Ok(Some(account));
        }
        Some(Ok(storage)) => storage,
    };
    let done = work(storage.backend()).await;
    storage.close().await;
    done.map(Some)
}

async fn cleaned(backend: &BuildahBackend, allowed: Allowed, rules: &Rules) -> Result<Account> {
    use slipway_backend::ContainerBackend as _;
    let root = backend.root().await?;
    let volume = || root.as_deref().and_then(Volume::of);
    let place = root.as_deref().map_or_else(|| "its storage".to_owned(), |root| root.display().to_string());
    let mut account = Account::new("buildah", place).measured(volume(), allowed);
    if !rules.dry_run {
        for _ in 0..backend.sweep().await? {
            account.gone(CONTAINERS, 0);
        }
    }
    let mut spare: Vec<HeldImage> = Vec::new();
    for image in backend.held().await? {
        let why = match &image {
            HeldImage { shared: true, .. } => SHARED,
            HeldImage { projects, .. } if !projects.is_empty() => IS_STAGE,
            // When they were used is not known.
            _ if rules.since.is_some() => IN_USE,
            // Who has made it names it at once, if he lives; he may have another home directory.
            _ if image.names.is_empty() && is_old(&image, rules.now) => {
                let (what, is_gone) = (image.bytes, rules.dry_run || backend.let_go(&image).await?);
                if is_gone {
                    account.gone(LEFT, what)
                } else {
                    account.stays(STANDING, what)
                }
                continue;
            }
            _ => {
                spare.push(image);
                continue;
            }
        };
        account.stays(why, image.bytes);
    }
    let own = spare.iter().map(|image| image.bytes).sum();
    let Some(excess) = allowed.excess(own, volume()) else { return Ok(account) };
    let mut freed: u64 = 0;
    // Layers that images share stay with the last of them, which the next cleanup sees.
    for image in spare {
        if freed >= excess {
            break;
        }
        if rules.dry_run || backend.let_go(&image).await? {
            account.gone(CACHED, image.bytes);
            freed = freed.saturating_add(image.bytes);
        } else {
            account.stays(STANDING, image.bytes);
        }
    }
    Ok(account)
}

/// Whether an image was made long ago.
fn is_old(image: &HeldImage, now: SystemTime) -> bool {
    let made = UNIX_EPOCH + Duration::from_secs(u64::try_from(image.made).unwrap_or_default());
    now.duration_since(made).unwrap_or_default() > YOUNG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_old_after_some_hours() {
        let image = |made| HeldImage {
            id: "1".to_owned(),
            names: Vec::new(),
            projects: Vec::new(),
            shared: false,
            bytes: 1,
            made,
        };
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        for (made, old) in [(0, true), (80_000, true), (95_000, false), (100_001, false), (-1, true)] {
            assert_eq!(is_old(&image(made), now), old, "{made}");
        }
    }
}
