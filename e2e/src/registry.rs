//! A `docker-registry` of one test.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// A running registry; stopped and removed when dropped.
pub struct Registry(slipway_parts::Registry);

impl Registry {
    /// Starts a registry on a free port of loopback.
    ///
    /// # Errors
    /// When this machine has none.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Result<Self> {
        slipway_parts::Registry::start().map(Self).context("there is no docker-registry")
    }

    /// Starts a registry on a free port of all addresses of this machine; it is called by that of loopback.
    ///
    /// # Errors
    /// When this machine has none.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn everywhere() -> Result<Self> {
        let setup = slipway_parts::registry::Setup { everywhere: true, ..Default::default() };
        slipway_parts::Registry::with(setup).map(Self).context("there is no docker-registry")
    }

    /// Starts the registry again, on the same port and data, after its process was killed.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.0.restart();
    }

    /// The process.
    ///
    /// # Panics
    /// When it was killed.
    pub fn pid(&self) -> u32 {
        self.0.server().pid()
    }

    /// Loses a manifest or blob of a repository; its tags stay, as after an accident.
    ///
    /// # Errors
    /// When it is not there.
    pub fn lose(&self, digest: &str) -> Result<()> {
        let hex = digest.trim_start_matches("sha256:");
        let blob = self.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex);
        fs::remove_dir_all(&blob).with_context(|| format!("remove {}", blob.display()))
    }

    /// Loses every manifest of a repository that has no tag, as when garbage was collected at the wrong moment; answers
    /// how many those were.
    ///
    /// # Errors
    /// When the registry's files cannot be read or removed.
    pub fn lose_untagged(&self, name: &str) -> Result<usize> {
        let manifests = self.data().join("docker/registry/v2/repositories").join(name).join("_manifests");
        let mut tagged = Vec::new();
        for tag in entries(&manifests.join("tags"))? {
            tagged.push(fs::read_to_string(tag.join("current/link"))?);
        }
        let mut lost = 0;
        for revision in entries(&manifests.join("revisions/sha256"))? {
            let hex = revision.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !tagged.contains(&format!("sha256:{hex}")) {
                fs::remove_dir_all(&revision)?;
                self.lose(&hex)?;
                lost += 1;
            }
        }
        Ok(lost)
    }

    /// The digest and the document of a tagged manifest.
    ///
    /// # Errors
    /// When there is none.
    pub fn manifest(&self, name: &str, tag: &str) -> Result<(String, serde_json::Value)> {
        manifest(&self.repo(name), tag)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// A repository of it.
    pub fn repo(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// The access log so far.
    ///
    /// # Panics
    /// When the registry was killed.
    pub fn log(&self) -> String {
        self.0.server().log()
    }

    /// The requests so far that it has answered: method and path, such as `GET /v2/app/tags/list`.
    ///
    /// # Panics
    /// When the registry was killed.
    pub fn requests(&self) -> Vec<String> {
        let field = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!("{name}="))?;
            let value = rest.split_whitespace().next()?;
            Some(value.trim_matches('"').to_owned())
        };
        let request = |line: &str| {
            let (method, uri) = (field(line, "http.request.method")?, field(line, "http.request.uri")?);
            Some(format!("{method} {uri}"))
        };
        self.log().lines().filter(|line| line.contains("response completed")).filter_map(request).collect()
    }

    /// Deletes a tagged manifest by the registry's own interface, as other programs do.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete(&self, name: &str, tag: &str) -> Result<()> {
        let (digest, _) = self.manifest(name, tag)?;
        block_on(async { Ok(client()?.delete_manifest(&self.repo(name).parse()?, &digest.parse()?).await?) })
    }

    /// Loses everything of a repository, as when it was deleted by a foreign tool.
    ///
    /// # Errors
    /// When it is not there.
    pub fn empty(&self, name: &str) -> Result<()> {
        let place = self.data().join("docker/registry/v2/repositories").join(name);
        fs::remove_dir_all(&place).with_context(|| format!("remove {}", place.display()))
    }

    /// All tags of a repository, sorted.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn tags(&self, name: &str) -> Result<Vec<String>> {
        tags(&self.repo(name))
    }

    /// The tags of a repository that are stages, sorted.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn stages(&self, name: &str) -> Result<Vec<String>> {
        Ok(self.tags(name)?.into_iter().filter(|tag| is_stage(tag)).collect())
    }

    /// The config document of a tagged image.
    ///
    /// # Errors
    /// When there is none.
    pub fn config(&self, name: &str, tag: &str) -> Result<serde_json::Value> {
        block_on(async {
            let (client, repo) = (client()?, self.repo(name).parse()?);
            let manifest = client.manifest(&repo, tag).await?.context("the tag is not there")?;
            let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes)?;
            let digest = manifest["config"]["digest"].as_str().context("a config")?.parse()?;
            Ok(serde_json::from_slice(&client.blob(&repo, &digest).await?)?)
        })
    }

    /// Where the registry keeps its files.
    pub fn data(&self) -> PathBuf {
        self.0.data()
    }
}

/// All tags of a repository of any registry, sorted.
///
/// # Errors
/// When the registry does not answer.
pub fn tags(repo: &str) -> Result<Vec<String>> {
    let mut tags = block_on(async { Ok::<_, anyhow::Error>(client()?.tags(&repo.parse()?).await?) })?;
    tags.sort();
    Ok(tags)
}

/// The digest and the document of a tagged manifest of any registry.
///
/// # Errors
/// When there is none.
pub fn manifest(repo: &str, tag: &str) -> Result<(String, serde_json::Value)> {
    block_on(async {
        let manifest = client()?.manifest(&repo.parse()?, tag).await?.context("the tag is not there")?;
        Ok((manifest.digest.to_string(), serde_json::from_slice(&manifest.bytes)?))
    })
}

/// A tagged manifest of any registry as it is, for [`put`].
///
/// # Errors
/// When there is none.
pub fn raw(repo: &str, tag: &str) -> Result<slipway_registry::RawManifest> {
    block_on(async { client()?.manifest(&repo.parse()?, tag).await?.context("the tag is not there") })
}

/// Stores a manifest under a tag of any registry, past every program that looks after it.
///
/// # Errors
/// When the registry does not take it.
pub fn put(repo: &str, tag: &str, manifest: &slipway_registry::RawManifest) -> Result<()> {
    let (kind, bytes) = (&manifest.media_type, manifest.bytes.clone());
    block_on(async { Ok(client()?.put_manifest(&repo.parse()?, tag, kind, bytes).await.map(drop)?) })
}

/// Gives an image of any registry one more tag.
///
/// # Errors
/// When there is no such image.
pub fn copy_tag(repo: &str, from: &str, to: &str) -> Result<()> {
    put(repo, to, &raw(repo, from)?)
}

/// Whether a tag is that of a stage.
pub fn is_stage(tag: &str) -> bool {
    tag.len() == 70 && tag.as_bytes()[56] == b'-'
}

/// What is in a directory; nothing when it is not there.
fn entries(directory: &std::path::Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let read = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    Ok(read.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
}

fn client() -> Result<slipway_registry::Client> {
    let options = slipway_registry::Options { user_agent: "slipway-e2e".to_owned(), ..Default::default() };
    Ok(slipway_registry::Client::new(options)?)
}

fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
