//! Submitting a build: everything is checked, then it is stored, then it runs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};
use slipway_process::failpoint::failpoint;
use slipway_protocol::{BuildName, BuildState, BuildSummary, Code, Refusal, SecretValues, SubmitRequest};
use slipway_stages::Graph;

use super::{Entry, Reign, run::Work, secrets};
use crate::{
    api::answer::refuse,
    ready,
    spool::Writer,
    store::{Created, Kept},
};

/// Most commits that are named when some are missing.
const NAMED: usize = 5;

impl Reign {
    /// Takes a build. Repeated, it is the same build.
    ///
    /// # Errors
    /// When the request is wrong, another build has the name, or it cannot be stored.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        name: &BuildName,
        mut request: SubmitRequest,
    ) -> Result<BuildSummary, Refusal> {
        // Before anything is written down.
        let secrets = std::mem::take(&mut request.secrets);
        let text = serde_json::to_string(&request).map_err(|error| refuse(Code::Invalid, error.to_string()))?;
        let fingerprint = hex::encode(Sha256::digest(&text));
        if let Ok(entry) = self.find(name) {
            let summary = the_same(&entry.kept(), &fingerprint)?;
            entry.give(secrets);
            return Ok(summary);
        }
        if self.open_builds() >= self.parts.limits.open_builds {
            return Err(refuse(Code::Busy, "too many builds are open here; try again later"));
        }
        let _turn = Turn::take(&self.submitting, name)?;
        let (request, graph) = self.check(request).await?;
        secrets::check(&secrets, &graph, &request).map_err(|why| refuse(Code::Invalid, why))?;
        self.check_commits(&request).await?;
        let summary = BuildSummary {
            build: name.clone(),
            project: request.project.clone(),
            repo: request.repo.clone(),
            commit: request.commit,
            state: BuildState::Running,
            submitted: self.parts.clock.unix_millis(),
            ended: None,
            failure: None,
            waits_for: Vec::new(),
        };
        let created = self.parts.store.create(summary, fingerprint.clone(), text).await;
        match created.map_err(|error| self.refused(error))? {
            Created::New(kept) => {
                failpoint("submit.stored");
                let summary = kept.summary.clone();
                self.start(*kept, Some(Work { request, graph }), secrets);
                Ok(summary)
            }
            Created::There(kept) => {
                let summary = the_same(&kept, &fingerprint)?;
                if self.find(name).is_err() {
                    self.take_up(*kept);
                }
                if let Ok(entry) = self.find(name) {
                    entry.give(secrets);
                }
                Ok(summary)
            }
        }
    }

    /// Goes on with a build as the store has it, or lists it when it is over.
    pub(super) fn take_up(self: &Arc<Self>, kept: Kept) {
        if kept.summary.state == BuildState::Running {
            self.start(kept, None, SecretValues::new());
        } else {
            let entry = Arc::new(Entry::new(kept, None));
            self.builds().insert(entry.name().clone(), entry);
        }
    }

    /// Runs a build. Without `work`, what was submitted is read from the store.
    fn start(self: &Arc<Self>, kept: Kept, work: Option<Work>, secrets: SecretValues) {
        let path = self.spool_of(&kept.summary.build);
        let (writer, spool) = Writer::new(path, self.term(), self.parts.limits.output);
        let entry = Arc::new(Entry::new(kept, Some(spool)));
        self.builds().insert(entry.name().clone(), Arc::clone(&entry));
        entry.give(secrets);
        let reign = Arc::clone(self);
        self.tasks.spawn(async move { reign.run(entry, work, writer).await });
    }

    async fn check(&self, request: SubmitRequest) -> Result<(SubmitRequest, Graph), Refusal> {
        let checked = self.tasks.blocking(move || ready::graph(&request).map(|graph| (request, graph))).await;
        checked.map_err(|why| refuse(Code::Invalid, why))
    }

    async fn check_commits(&self, request: &SubmitRequest) -> Result<(), Refusal> {
        let missing = self.parts.mirrors.missing(&request.project, &ready::commits(request)).await;
        let missing = missing.map_err(|error| {
            tracing::error!("{error}");
            refuse(Code::Unavailable, "the coordinator's mirror of the project cannot be used; its log says why")
        })?;
        if missing.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = missing.iter().take(NAMED).map(ToString::to_string).collect();
        Err(refuse(Code::Invalid, format!("commits are not here: {}; push them first", named.join(", "))))
    }
}

/// What is answered to a submit whose name there is already.
fn the_same(kept: &Kept, fingerprint: &str) -> Result<BuildSummary, Refusal> {
    if kept.fingerprint == fingerprint {
        return Ok(kept.summary.clone());
    }
    let name = &kept.summary.build;
    Err(refuse(Code::Conflict, format!("another build has the name {name}; choose another name")))
}

/// The only submit of a name that is under way.
struct Turn<'r> {
    submitting: &'r Mutex<BTreeSet<BuildName>>,
    name: BuildName,
}

impl<'r> Turn<'r> {
    fn take(submitting: &'r Mutex<BTreeSet<BuildName>>, name: &BuildName) -> Result<Self, Refusal> {
        if submitting.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone()) {
            return Ok(Self { submitting, name: name.clone() });
        }
        Err(refuse(Code::Busy, "the build is just being submitted; ask again"))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.submitting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
