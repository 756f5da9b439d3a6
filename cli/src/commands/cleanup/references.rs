//! The branches and tags that count, and what they lead to.

use std::collections::BTreeMap;

use slipway_cleanup::{Chosen, Commit, History, Hit, ImageHistory, Policies, Reason, Reference};
use slipway_config::{Config, GitWorktree, ReferenceKind};
use slipway_git::{GitView as _, Ref, Repository};

use crate::{commands::session::Session, failure::Failure, project::Project};

/// What to do where `origin` cannot be asked.
const HINT: &str = "to go by what was fetched before, set `gitWorktree.allowFetchOriginBranchesAndTags: false`";

/// The references that policies choose.
pub(super) struct Found {
    chosen: Vec<Chosen>,
    now: i64,
}

/// The references that count; `None` when the configuration wants none to.
///
/// # Errors
/// When a policy cannot be followed, the history is cut off, or `origin` does not answer.
pub(super) async fn find(session: &Session, project: &Project, config: &Config) -> Result<Option<Found>, Failure> {
    let said = config.cleanup.as_ref();
    if said.is_some_and(|cleanup| cleanup.disable_git_history_policy) {
        return Ok(None);
    }
    let policies = Policies::new(said).map_err(Failure::project)?;
    policies.notes().iter().for_each(|note| session.printer.info(note));
    let (repository, worktree) = (project.repository.clone(), config.worktree);
    let refs = session.blocking(move || refs(&repository, worktree)).await?;
    let now = i64::try_from(session.world.clock.unix_millis() / 1000).unwrap_or(i64::MAX);
    let references: Vec<Reference> = refs.into_iter().map(reference).collect();
    let chosen = policies.choose(&references, now);
    let names: Vec<&str> = chosen.iter().map(|chosen| chosen.reference.name.as_str()).collect();
    session.printer.info(&format!(
        "{} of {} branches and tags of origin count: {}",
        chosen.len(),
        references.len(),
        shown(&names)
    ));
    if chosen.is_empty() {
        session
            .printer
            .warn("no branch or tag of origin counts, so none keeps anything: what is not new and does not run goes");
    }
    Ok(Some(Found { chosen, now }))
}

impl Found {
    /// What they lead to. Blocks.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub(super) fn hits(
        &self,
        repository: &Repository,
        images: Vec<ImageHistory>,
    ) -> Result<(Vec<ImageHistory>, BTreeMap<Hit, Reason>), Failure> {
        let mut look = |id| {
            let commit = repository.commit(id).map_err(Failure::project)?;
            Ok::<_, Failure>(Commit { time: commit.time, parents: commit.parents })
        };
        let hits = History::default().hits(&self.chosen, &images, self.now, &mut look)?;
        Ok((images, hits))
    }
}

/// The branches and tags of `origin`, as it has them now where that may be asked.
fn refs(repository: &Repository, worktree: GitWorktree) -> Result<Vec<Ref>, Failure> {
    if repository.is_shallow().map_err(Failure::project)? {
        if !worktree.allow_unshallow {
            return Err(Failure::project_text(
                "the git history is cut off (shallow clone): what it does not show would be deleted. Run `git fetch --unshallow`, or \
                 let the cleanup do so (`gitWorktree.allowUnshallow: true`)",
            ));
        }
        repository.unshallow().map_err(Failure::project)?;
    }
    if worktree.allow_fetch && !repository.has_origin() {
        return Err(Failure::project_text(format!(
            "the git repository has no remote `origin`, whose branches and tags say what stays: add it by `git remote add origin \
             ADDRESS` ({HINT})"
        )));
    }
    let found = match worktree.allow_fetch {
        true => repository.fetch_references(),
        false => repository.known_references(),
    };
    // What git says may be of many lines, and stands last.
    found.map_err(|error| {
        Failure::project_text(format!("branches and tags of `origin` say what stays ({HINT}): {error}"))
    })
}

fn reference(found: Ref) -> Reference {
    let kind = if found.is_tag { ReferenceKind::Tag } else { ReferenceKind::Branch };
    Reference { kind, name: found.name, head: found.head, time: found.time }
}

/// The first of some names.
fn shown(names: &[&str]) -> String {
    const MOST: usize = 20;
    let first = names[..names.len().min(MOST)].join(", ");
    match names.len() {
        0 => "none".to_owned(),
        number if number > MOST => format!("{first} and {} more", number - MOST),
        _ => first,
    }
}
