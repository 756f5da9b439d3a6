//! Where things are in the store. Everything of a repository is under `repo/NAME/`, where the name's slashes are
//! written as `+`, which no name has: so no repository's keys are under another's.

use slipway_digest::{StageDigest, StageId};
use slipway_oci::Repo;

/// The keys of one repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// The keys of `repo`.
    pub fn new(repo: &Repo) -> Self {
        Self { root: format!("repo/{}/", repo.to_string().replace('/', "+")) }
    }

    /// What all of them begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// That all stages are recorded.
    pub fn attached(&self) -> String {
        format!("{}attached", self.root)
    }

    /// Who is recording them now.
    pub fn attaching(&self) -> String {
        format!("{}attaching", self.root)
    }

    /// A generation of the records. Its name is never used again, so a condition on it never holds by accident.
    pub fn generation(&self, id: &str) -> String {
        format!("{}generation/{id}", self.root)
    }

    /// What all generations begin with.
    pub fn generations(&self) -> String {
        format!("{}generation/", self.root)
    }

    /// What all records begin with.
    pub fn stages(&self) -> String {
        format!("{}stage/", self.root)
    }

    /// What the records of a digest begin with; its head among them.
    pub fn digest(&self, digest: StageDigest) -> String {
        format!("{}stage/{digest}/", self.root)
    }

    /// The head of a digest: rewritten with every change of its records.
    pub fn head(&self, digest: StageDigest) -> String {
        format!("{}stage/{digest}/head", self.root)
    }

    /// The record of a stage.
    pub fn stage(&self, id: StageId) -> String {
        format!("{}stage/{}/{}", self.root, id.digest, id.stamp)
    }

    /// The stage of a record's key; `None` for a head.
    pub fn parse_stage(&self, key: &str) -> Option<StageId> {
        let (digest, stamp) = key.strip_prefix(&self.stages())?.split_once('/')?;
        format!("{digest}-{stamp}").parse().ok()
    }

    /// The intent to tag a stage.
    pub fn intent(&self, id: StageId) -> String {
        format!("{}totag/{id}", self.root)
    }

    /// What all intents begin with.
    pub fn intents(&self) -> String {
        format!("{}totag/", self.root)
    }

    /// The fence of an attempt.
    pub fn attempt(&self, id: &str) -> String {
        format!("{}attempt/{id}", self.root)
    }

    /// What all fences begin with.
    pub fn attempts(&self) -> String {
        format!("{}attempt/", self.root)
    }

    /// A running build.
    pub fn live(&self, build: &str) -> String {
        format!("{}live/{build}", self.root)
    }

    /// What all running builds begin with.
    pub fn lives(&self) -> String {
        format!("{}live/", self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_repository_is_under_another() {
        let keys = |name: &str| Keys::new(&name.parse().expect("a repository"));
        let outer = keys("registry.example.org:5000/shop");
        let inner = keys("registry.example.org:5000/shop/attempt");
        assert_eq!(outer.root(), "repo/registry.example.org:5000+shop/");
        assert!(!inner.root().starts_with(outer.root()));
        let id: StageId = format!("{}-1700000000000", "0".repeat(56)).parse().expect("a stage");
        assert_eq!(outer.parse_stage(&outer.stage(id)), Some(id));
        assert_eq!(outer.parse_stage(&outer.head(id.digest)), None);
        assert_eq!(inner.parse_stage(&outer.stage(id)), None);
        assert!(outer.stage(id).starts_with(&outer.digest(id.digest)));
    }
}
