//! GitHub deletes versions of packages: manifests, with their tags. Which version a manifest is, its lists say.

use std::collections::HashMap;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use serde::Deserialize;
use slipway_oci::{BlobDigest, Repo};
use tokio::sync::Mutex;

use super::Desk;
use crate::{RegistryError, Removed, call::Call, tokens::bearer};

const USUAL: &str = "https://api.github.com";
const VERSION: HeaderName = HeaderName::from_static("x-github-api-version");
/// Versions on a page.
const PAGE: usize = 100;
/// More pages than a package has.
const PAGES: usize = 5000;

/// What lists said.
#[derive(Default)]
pub(super) struct Packages(Mutex<HashMap<Repo, Versions>>);

struct Versions {
    /// Path of the list: that of an organisation, or of a user.
    path: String,
    ids: HashMap<BlobDigest, u64>,
}

#[derive(Deserialize)]
struct Version {
    id: u64,
    name: String,
}

impl Packages {
    /// Deletes a manifest with its tags.
    pub(super) async fn remove(&self, desk: &Desk<'_>, digest: &BlobDigest) -> Result<Removed, RegistryError> {
        let Some(path) = self.version(desk, digest).await? else { return Ok(Removed::Absent) };
        let call = authorized(desk, Method::DELETE, &path).await?.expect(&[StatusCode::NOT_FOUND]);
        let status = desk.client.transport().beside(&call).await?.status;
        if let Some(versions) = self.0.lock().await.get_mut(&desk.call.repo) {
            versions.ids.remove(digest);
        }
        Ok(if status == StatusCode::NOT_FOUND { Removed::Absent } else { Removed::Done })
    }

    /// Path of the version that a manifest is. The lists are read once; what is new since is on the first page.
    async fn version(&self, desk: &Desk<'_>, digest: &BlobDigest) -> Result<Option<String>, RegistryError> {
        let mut known = self.0.lock().await;
        let repo = &desk.call.repo;
        if !known.contains_key(repo) {
            let Some(versions) = list(desk).await? else { return Ok(None) };
            known.insert(repo.clone(), versions);
        }
        let Some(versions) = known.get_mut(repo) else { return Ok(None) };
        if !versions.ids.contains_key(digest)
            && let Some(newest) = page(desk, &versions.path, 1).await?
        {
            versions.add(newest);
        }
        Ok(versions.ids.get(digest).map(|id| format!("{}/{id}", versions.path)))
    }
}

impl Versions {
    fn add(&mut self, page: Vec<Version>) {
        let named = page.into_iter().filter_map(|version| Some((version.name.parse().ok()?, version.id)));
        self.ids.extend(named);
    }
}

/// All versions; `None` when there is no such package.
async fn list(desk: &Desk<'_>) -> Result<Option<Versions>, RegistryError> {
    let Some((owner, name)) = desk.call.repo.path.split_once('/') else {
        return Err(desk.refused("a repository of GitHub is called OWNER/NAME"));
    };
    let name = name.replace('/', "%2F");
    for kind in ["orgs", "users"] {
        let path = format!("/{kind}/{owner}/packages/container/{name}/versions");
        let mut versions = Versions { path, ids: HashMap::new() };
        for number in 1..=PAGES {
            let Some(found) = page(desk, &versions.path, number).await? else { break };
            let is_last = found.len() < PAGE;
            versions.add(found);
            if is_last {
                return Ok(Some(versions));
            }
        }
    }
    Ok(None)
}

async fn page(desk: &Desk<'_>, path: &str, number: usize) -> Result<Option<Vec<Version>>, RegistryError> {
    let path = format!("{path}?per_page={PAGE}&page={number}");
    let call = authorized(desk, Method::GET, &path).await?.expect(&[StatusCode::NOT_FOUND]);
    let answer = desk.client.transport().beside(&call).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    serde_json::from_slice(&answer.body).map(Some).map_err(|_| desk.refused("GitHub's list of versions cannot be read"))
}

/// A call with the password of the registry, which is a token of GitHub.
async fn authorized(desk: &Desk<'_>, method: Method, path: &str) -> Result<Call, RegistryError> {
    let (_, token) = desk.password().await?;
    let mut call = desk.call.clone().at(&desk.address(USUAL, path)?).body(Bytes::new());
    call.method = method;
    let call = call.header(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
    let call = call.header(VERSION, HeaderValue::from_static("2022-11-28"));
    Ok(call.header(AUTHORIZATION, bearer(&token).map_err(|why| desk.refused(&why))?))
}
