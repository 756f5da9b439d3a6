//! Where the workers of the benchmark put what they "build".

use std::time::Duration;

use slipway_digest::{Encoder, Millis, StageId};
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_protocol::{Assignment, AttemptId, Job, Phase, Uploaded};
use slipway_registry::Client;
use slipway_stages::{StagePlan, StageRecord};
use slipway_storage::MemoryStorage;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

/// A place for stages without layers.
#[derive(Clone)]
pub(crate) enum Shelf {
    /// The storage that the engine of this process looks into.
    Memory(MemoryStorage),
    /// The repository that an assignment names.
    Registry(Client),
}

impl Shelf {
    /// The result of a job; the image of a stage has been stored.
    pub(crate) async fn result(&self, assignment: &Assignment) -> Phase {
        let (plan, attempt) = match &assignment.job {
            Job::Stage(plan) => (plan, &assignment.attempt),
            Job::Deliver(_) => return Phase::Delivered,
            Job::Checksum(input) => return Phase::Summed(Encoder::new("files").text(&input.add).finish()),
        };
        let uploaded = match self {
            Self::Memory(storage) => keep(storage, plan, attempt),
            Self::Registry(client) => {
                let repo = assignment.push_to.as_ref().expect("a coordinator of many hosts names a repository");
                push(client, repo, attempt).await
            }
        };
        Phase::Uploaded(uploaded)
    }
}

fn keep(storage: &MemoryStorage, plan: &StagePlan, attempt: &AttemptId) -> Uploaded {
    let digest = BlobDigest::of(attempt.id.as_bytes());
    let at = ImageAt { repo: Repo { host: "registry".to_owned(), path: "p".to_owned() }, digest: digest.clone() };
    storage.upload(&StageRecord {
        id: StageId { digest: plan.digest, stamp: Millis(0) },
        platform: plan.platform.clone(),
        at: at.clone(),
        image_id: digest.clone(),
        commits: plan.commits.clone(),
        content: plan.content,
        parent: plan.parent,
        size: 1,
    });
    Uploaded { at, image_id: digest, size: 1, took: Duration::ZERO, base_pulled: false, caches_failed: Vec::new() }
}

/// An image without layers that is like no other.
async fn push(client: &Client, repo: &Repo, attempt: &AttemptId) -> Uploaded {
    let config = client.put_blob(repo, CONFIG.into()).await.expect("the registry takes a config");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{}}},"layers":[],"annotations":{{"attempt":"{}"}}}}"#,
        CONFIG.len(),
        attempt.id
    );
    let digest = BlobDigest::of(manifest.as_bytes());
    let stored = client.put_manifest(repo, &digest.to_string(), MANIFEST, manifest.into()).await;
    stored.expect("the registry takes a manifest");
    Uploaded {
        at: ImageAt { repo: repo.clone(), digest },
        image_id: config,
        size: 1,
        took: Duration::ZERO,
        base_pulled: false,
        caches_failed: Vec::new(),
    }
}
