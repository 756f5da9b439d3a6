//! Keeping mirrors small: old refs go, objects are packed, and what no ref needs goes after two weeks.

use std::fs;

use super::{Git, GitFailure, Mirrors};

/// Refs of a mirror that are kept: those on the youngest commits.
const KEPT_REFS: usize = 2000;

impl Mirrors {
    /// Tidies every mirror up, one after the other.
    pub(crate) async fn tidy_up(&self) {
        for project in self.projects() {
            if let Err(error) = self.tidy(&project).await {
                tracing::warn!("tidy up the mirror of project {project}: {error}");
            }
        }
    }

    /// The projects that have a mirror.
    pub(super) fn projects(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root()) else { return Vec::new() };
        let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".git").map(str::to_owned);
        let mut projects: Vec<String> = entries.flatten().filter_map(name).collect();
        projects.retain(|project| Self::check_name(project).is_ok());
        projects.sort();
        projects
    }

    async fn tidy(&self, project: &str) -> Result<(), GitFailure> {
        let directory = self.directory(project);
        let list = Git::new(self, &directory, "list the refs of the mirror");
        let refs = list.args(["for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/slipway"]);
        let refs = refs.run().await?;
        for old in refs.lines().skip(KEPT_REFS) {
            Git::new(self, &directory, "drop an old ref of the mirror").args(["update-ref", "-d", old]).run().await?;
        }
        Git::new(self, &directory, "pack the refs of the mirror").args(["pack-refs", "--all"]).run().await?;
        Git::new(self, &directory, "pack the objects of the mirror").args(["gc", "--auto", "--quiet"]).run().await?;
        Ok(())
    }
}
