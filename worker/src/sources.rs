//! Which repository holds a source here.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use slipway_digest::CommitId;
use slipway_git::{GitError, GitView, Mirror, Remote};
use slipway_process::Tasks;
use slipway_stages::SourceId;
use tokio::sync::Mutex;

/// Longest name of a project, in bytes.
const LONGEST_NAME: usize = 100;

/// Why a source is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not here, or cannot be read: another try would find the same.
    #[error(transparent)]
    Here(#[from] GitError),
    /// It could not be brought here: another try may help.
    #[error("{0}")]
    NotBrought(String),
}

/// Where a worker reads sources. Live: [`OneRepository`] in the embedded mode, [`Mirrors`] in a cluster.
#[async_trait]
pub trait Sources: Send + Sync {
    /// The repository that holds a commit of a source of a project. It may have to be brought here first.
    ///
    /// # Errors
    /// When the source is not here and cannot be brought here.
    async fn at(&self, project: &str, source: &SourceId, commit: CommitId) -> Result<Arc<dyn GitView>, SourceError>;
}

/// The project's own repository, as it is on this machine.
pub struct OneRepository(pub Arc<dyn GitView>);

#[async_trait]
impl Sources for OneRepository {
    async fn at(&self, _project: &str, source: &SourceId, commit: CommitId) -> Result<Arc<dyn GitView>, SourceError> {
        if *source == SourceId::own() { Ok(Arc::clone(&self.0)) } else { Err(missing(source, commit)) }
    }
}

/// Says where a project's repository can be fetched from right now.
pub type Origin = Box<dyn Fn(&str) -> Remote + Send + Sync>;

/// A mirror of each project, filled when a job asks for a commit that is not in it.
pub struct Mirrors {
    root: PathBuf,
    origin: Origin,
    tasks: Tasks,
    /// Opened ones, by project. Held while one is opened: two at once would make it twice.
    opened: Mutex<BTreeMap<String, Arc<Mirror>>>,
}

impl Mirrors {
    /// Mirrors below the directory `root`.
    pub fn new(root: PathBuf, origin: Origin, tasks: Tasks) -> Self {
        Self { root, origin, tasks, opened: Mutex::default() }
    }

    async fn mirror(&self, project: &str) -> Result<Arc<Mirror>, SourceError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let begins = project.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins || !project.bytes().all(plain) || project.len() > LONGEST_NAME {
            let name: String = project.chars().take(LONGEST_NAME).collect();
            return Err(GitError::Unusable(format!("`{name}` cannot be the name of a project")).into());
        }
        let mut opened = self.opened.lock().await;
        if let Some(mirror) = opened.get(project) {
            return Ok(Arc::clone(mirror));
        }
        let path = self.root.join(format!("{project}.git"));
        let mirror = Arc::new(self.tasks.blocking(move || Mirror::open(&path)).await?);
        opened.insert(project.to_owned(), Arc::clone(&mirror));
        Ok(mirror)
    }
}

#[async_trait]
impl Sources for Mirrors {
    async fn at(&self, project: &str, source: &SourceId, commit: CommitId) -> Result<Arc<dyn GitView>, SourceError> {
        if *source != SourceId::own() {
            return Err(missing(source, commit));
        }
        let mirror = self.mirror(project).await?;
        let (fetched, origin) = (Arc::clone(&mirror), (self.origin)(project));
        let fetch = move || {
            if !fetched.has(commit) {
                fetched.fetch(&origin, commit)?;
            }
            fetched.fetch_submodules(&origin, commit)
        };
        self.tasks.blocking(fetch).await.map_err(|error| SourceError::NotBrought(error.to_string()))?;
        Ok(Arc::new(mirror.repository().clone()))
    }
}

fn missing(source: &SourceId, commit: CommitId) -> SourceError {
    GitError::Missing(format!("commit {commit} of source `{}`", source.0)).into()
}
