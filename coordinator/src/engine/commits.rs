//! Turns to commit: workers can be faster than a registry and a store, and each commit under way takes memory.

use std::{collections::HashMap, sync::Arc};

use slipway_oci::Repo;
use tokio::sync::Semaphore;

/// How many commits to one repository are under way at once: enough where registry and store are far away.
const AT_ONCE: usize = 64;

/// The turns of each repository: one that does not answer holds up nobody else's.
#[derive(Debug, Default)]
pub(super) struct Commits(HashMap<Option<Repo>, Arc<Semaphore>>);

impl Commits {
    /// The turns of a repository; `None` = the local storage. They are never closed.
    pub(super) fn of(&mut self, repo: Option<&Repo>) -> Arc<Semaphore> {
        if let Some(turns) = self.0.get(&repo.cloned()) {
            return Arc::clone(turns);
        }
        self.0.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        self.0.insert(repo.cloned(), Arc::clone(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(path: &str) -> Repo {
        Repo { host: "registry".to_owned(), path: path.to_owned() }
    }

    #[test]
    fn each_repository_has_turns_of_its_own_as_long_as_somebody_waits() {
        let mut commits = Commits::default();
        let (a, b) = (repo("a"), repo("b"));
        let held = commits.of(Some(&a));
        assert!(Arc::ptr_eq(&held, &commits.of(Some(&a))));
        assert!(!Arc::ptr_eq(&held, &commits.of(Some(&b))));
        assert!(!Arc::ptr_eq(&held, &commits.of(None)));
        assert_eq!(commits.0.len(), 2, "nobody commits to b any more");
    }
}
