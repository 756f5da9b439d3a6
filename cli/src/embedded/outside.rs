//! Everything around an embedded build: storages, locks, the ledger, base images.

use std::sync::Arc;

use slipway_coordinator::Outside;
use slipway_digest::CommitId;
use slipway_git::GitView;
use slipway_locks::FileLocks;
use slipway_oci::Repo;
use slipway_process::Tasks;
use slipway_registry::Client;
use slipway_storage::{
    Beside, CacheRepo, CustomTags, FinalRepo, IndexDir, Indexes, JournalLedger, MemoryRecords, Publisher, Records,
    RepoStorage, SecondaryRepo, StageStorage,
};

use super::{BuildRequest, agreed::Agreed, archives::Archives, bases::FoundBases};
use crate::{choose::Backend, host::Host};

/// What the engine asks and commits to.
pub(super) fn outside(
    request: &BuildRequest,
    host: &Host,
    agreed: Option<&Agreed>,
    (git, tasks): (&Arc<dyn GitView>, &Tasks),
) -> Outside {
    let service = request.host.service();
    let client = host.client.clone();
    let project = &request.settings.project;
    let local = host.engine.stage_storage(project);
    let publisher = agreed.map(Agreed::publisher);
    let mut images = None;
    let (primary, records, local): (Arc<dyn StageStorage>, Arc<dyn Records>, _) = match (&request.repo, agreed) {
        (Some(_), Some(agreed)) => (agreed.stages(), agreed.records(project), Some(local)),
        (Some(repo), None) => {
            let storage = Arc::new(RepoStorage::kept(client.clone(), repo.clone(), &index(request), true));
            let records = storage.records(project);
            images = Some(Arc::clone(&storage));
            (storage, Arc::new(records), Some(local))
        }
        (None, _) => (local, Arc::new(MemoryRecords::default()), None),
    };
    let (storage, clock) = (Arc::clone(&primary), Arc::clone(&request.clock));
    let on_host = || {
        Publisher::new(
            storage,
            Arc::new(JournalLedger::new(&service.join("ledger"), &primary.name())),
            Arc::new(FileLocks::new(service.join("locks"))),
            clock,
        )
    };
    let publisher = publisher.unwrap_or_else(on_host);
    let publisher = match &request.repo {
        Some(repo) => publisher.holding(client.clone(), repo),
        None => publisher,
    };
    let beside = beside(request, &client);
    let custom_tags = custom_tags(request, &client);
    let client = client.pulling();
    let archives = Archives::new(request.directory.clone(), tasks.clone());
    let is_engine = request.host.backend == Backend::Docker;
    Outside {
        git: Arc::clone(git),
        primary,
        local,
        images,
        beside,
        custom_tags,
        bases: Arc::new(FoundBases { client, images: host.engine.images(), archives, engine: is_engine }),
        records,
        history: history(request),
        publisher: Arc::new(publisher),
        push_to: request.repo.clone(),
    }
}

/// Where the tags of repositories are kept between builds.
fn index(request: &BuildRequest) -> IndexDir {
    IndexDir { directory: request.host.service().join("index"), clock: Arc::clone(&request.clock) }
}

/// The repositories beside the primary one.
fn beside(request: &BuildRequest, client: &Client) -> Beside {
    let cache = |repo: &Repo| CacheRepo::new(client.clone(), repo.clone(), Arc::clone(&request.clock));
    let place = index(request);
    let secondary = |repo: &Repo| SecondaryRepo::kept(client.clone(), repo.clone(), &place);
    Beside {
        caches: request.others.caches.iter().map(cache).map(Arc::new).collect(),
        secondaries: request.others.secondaries.iter().map(secondary).map(Arc::new).collect(),
        final_repo: request.others.final_repo.clone().map(|repo| FinalRepo::new(client.clone(), repo)),
        indexes: request.repo.is_some().then(|| Indexes::new(client.clone())),
    }
}

/// The further tags of its images.
fn custom_tags(request: &BuildRequest, client: &Client) -> Option<CustomTags> {
    let primary = request.repo.as_ref().filter(|_| !request.custom_tags.is_empty())?;
    let wanted = request.custom_tags.iter().map(|wanted| (wanted.image.0.clone(), wanted.tag.clone())).collect();
    let to = request.others.final_repo.as_ref().unwrap_or(primary);
    let repos = (primary.clone(), to.clone());
    Some(CustomTags::new(client.clone(), &request.settings.project, repos, wanted))
}

/// The commits that a build is recorded under: that of a virtual merge is in no history, the one that it brings is.
fn history(request: &BuildRequest) -> Vec<CommitId> {
    let settings = &request.settings;
    if request.repo.is_none() || settings.dev {
        return Vec::new();
    }
    std::iter::once(settings.commit).chain(settings.virtual_merge.map(|merge| merge.from)).collect()
}
