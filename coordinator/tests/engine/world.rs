//! What an engine sees in these tests: a repository, a storage, and base images, all in memory.

use std::{collections::BTreeMap, io::Write, sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_config::Config;
use slipway_coordinator::{Bases, Outside, Submission};
use slipway_digest::{CommitId, Encoder};
use slipway_git::{ArchiveOptions, Authored, Change, CommitInfo, GitError, GitView, PathKind, TreeSummary};
use slipway_locks::FileLocks;
use slipway_oci::{Platform, Repo};
use slipway_paths::{Scope, TreePath};
use slipway_process::{Clock, SystemClock};
use slipway_stages::{BaseImage, Build, BuildOptions, Graph, Settings};
use slipway_storage::{JournalLedger, MemoryRecords, MemoryStorage, Publisher, StageStorage};

/// A repository of unrelated commits, with one file.
struct OneFile;

impl GitView for OneFile {
    fn resolve(&self, name: &str) -> Result<CommitId, GitError> {
        Err(GitError::Missing(name.to_owned()))
    }

    fn commit(&self, id: CommitId) -> Result<CommitInfo, GitError> {
        Ok(CommitInfo { id, time: 0, authored: Authored { time: 0, offset: 0 }, parents: Vec::new() })
    }

    fn read(&self, _at: CommitId, _path: &TreePath) -> Result<Option<Vec<u8>>, GitError> {
        Ok(None)
    }

    fn tree(&self, _at: CommitId, _scope: &Scope) -> Result<TreeSummary, GitError> {
        Ok(TreeSummary { base: Some(PathKind::Directory), files: 1, checksum: Encoder::new("tree").finish() })
    }

    fn changes(&self, _from: CommitId, _to: CommitId, _scope: &Scope) -> Result<Vec<Change>, GitError> {
        Ok(Vec::new())
    }

    fn is_ancestor(&self, old: CommitId, new: CommitId) -> Result<bool, GitError> {
        Ok(old == new)
    }

    fn archive(
        &self,
        _at: CommitId,
        _scope: &Scope,
        _options: &ArchiveOptions,
        _out: &mut dyn Write,
    ) -> Result<(), GitError> {
        Ok(())
    }
}

/// Every base image is there, but one.
struct AnyBase;

#[async_trait]
impl Bases for AnyBase {
    async fn find(&self, reference: &str, _platform: &Platform) -> Result<BaseImage, String> {
        assert_ne!(reference, "bug:1", "this look-up has a bug");
        Ok(BaseImage { reference: reference.to_owned(), at: None })
    }
}

/// Where builds take place.
pub(crate) struct World {
    pub(crate) storage: MemoryStorage,
    outside: Outside,
    _home: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(|storage| Arc::new(storage))
    }

    /// With a storage that does more than keep stages.
    pub(crate) fn over(wrap: impl FnOnce(MemoryStorage) -> Arc<dyn StageStorage>) -> Self {
        let home = tempfile::tempdir().expect("a directory for the ledger");
        let storage = MemoryStorage::new("memory");
        let primary = wrap(storage.clone());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(None));
        let publisher = Publisher::new(
            Arc::clone(&primary),
            Arc::new(JournalLedger::new(&home.path().join("ledger"), "memory")),
            Arc::new(FileLocks::new(home.path().join("locks"))),
            clock,
        );
        let outside = Outside {
            git: Arc::new(OneFile),
            primary,
            local: None,
            images: None,
            beside: Default::default(),
            custom_tags: None,
            bases: Arc::new(AnyBase),
            records: Arc::new(MemoryRecords::default()),
            history: vec![CommitId([1; 20])],
            publisher: Arc::new(publisher),
            push_to: Some(Repo { host: "registry".to_owned(), path: "p".to_owned() }),
        };
        Self { storage, outside, _home: home }
    }

    /// A build of every image of a configuration, at a commit.
    pub(crate) fn build(&self, config: &str, commit: u8) -> Submission {
        let text = format!("project: p\nconfigVersion: 1\n---\n{config}");
        let config: Config = slipway_config::parse("werf.yaml", &text).expect("a valid configuration");
        let settings = Settings {
            project: "p".to_owned(),
            commit: CommitId([commit; 20]),
            context_commits: BTreeMap::new(),
            commit_time: 0,
            commit_time_human: "1970-01-01 00:00:00 +0000 +0000".to_owned(),
            project_dir: TreePath::root(),
            run: "test".to_owned(),
            platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned(), variant: None },
            dev: false,
            virtual_merge: None,
            sources: Vec::new(),
            foresees: false,
        };
        let build = Build::new(Graph::new(config.images), &Arc::new(settings), BuildOptions::default());
        Submission {
            build,
            outside: self.outside.clone(),
            trace: None,
            requires: Default::default(),
            commands: Default::default(),
            secrets: Default::default(),
        }
    }
}

/// Waits for what must come soon. A worker that missed its news would be told after twice this time.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), coming).await.unwrap_or_else(|_| panic!("{what} did not come"))
}
