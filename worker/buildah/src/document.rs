//! Images as the program keeps them: looked at, and made of a config of ours over layers that are there.
//!
//! Its own commands can only add to a config, and forget fields. So the config is written by us, into a directory that
//! holds an image without its layers: the program takes those from its own storage when it pulls from there.

use serde::Deserialize;
use serde_json::{Value, json};
use slipway_backend::{BackendError, LocalImage};
use slipway_oci::{BlobDigest, ImageConfig};

use crate::{
    error::{failed, is_missing, system},
    images,
    program::Program,
};

/// What the directory of an image says of itself.
const VERSION: &str = "Directory Transport Version: 1.1\n";

/// What the program answers about an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    #[serde(rename = "FromImageID")]
    id: String,
    config: String,
    manifest: String,
}

/// An image as it is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The image.
    pub(crate) image: LocalImage,
    /// Its config.
    pub(crate) config: ImageConfig,
    /// Its manifest.
    pub(crate) manifest: Value,
}

impl Kept {
    /// Bytes of its layers, as far as the manifest knows.
    pub(crate) fn size(&self) -> u64 {
        let layers = self.manifest["layers"].as_array().into_iter().flatten();
        layers.filter_map(|layer| layer["size"].as_u64()).fold(0, u64::saturating_add)
    }
}

/// Looks at an image; `None` when there is none of that name or id.
pub(crate) async fn inspect(program: &Program, name: &str) -> Result<Option<Kept>, BackendError> {
    let doing = format!("look at the local image {name}");
    let answer = program.answer(&doing, &["inspect", "--type", "image", name]).await?;
    match answer.complaint {
        None => read(&answer.said).map(Some).map_err(|why| BackendError::Engine(format!("{doing}: {why}"))),
        Some(complaint) if is_missing(&complaint) => Ok(None),
        Some(complaint) => Err(failed(&doing, &complaint)),
    }
}

/// The same of one that should be there.
pub(crate) async fn expect(program: &Program, image: &LocalImage) -> Result<Kept, BackendError> {
    let kept = inspect(program, image.id.as_str()).await?;
    kept.ok_or_else(|| BackendError::Gone(image.id.to_string()))
}

fn read(answer: &[u8]) -> Result<Kept, String> {
    let Answered { id, config, manifest } = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let config = ImageConfig::parse(config.as_bytes()).map_err(|error| error.to_string())?;
    let manifest = serde_json::from_str(&manifest).map_err(|error| format!("its manifest: {error}"))?;
    Ok(Kept { image: of_id(&id)?, config, manifest })
}

/// The image of an id, as the program writes it.
pub(crate) fn of_id(id: &str) -> Result<LocalImage, String> {
    let id = id.trim();
    let whole = if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") };
    whole.parse().map(|id| LocalImage { id }).map_err(|error| format!("`{id}` is no id of an image: {error}"))
}

/// The manifest of an image without layers.
pub(crate) fn no_layers() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": { "mediaType": "application/vnd.docker.container.image.v1+json" },
        "layers": [],
    })
}

/// Makes an image with the layers of a manifest, which are here, and this config.
pub(crate) async fn store(program: &Program, config: &ImageConfig, layers: &Value) -> Result<LocalImage, BackendError> {
    let doing = "write the config of an image";
    let bytes = config.to_bytes();
    let id = BlobDigest::of(&bytes);
    let mut manifest = layers.clone();
    manifest["config"]["digest"] = json!(id.as_str());
    manifest["config"]["size"] = json!(bytes.len());
    let write = || -> std::io::Result<tempfile::TempDir> {
        let directory = tempfile::Builder::new().prefix("image-").tempdir_in(&program.spool)?;
        let put = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes);
        put("version", VERSION.as_bytes())?;
        put("manifest.json", manifest.to_string().as_bytes())?;
        put(id.as_str().trim_start_matches("sha256:"), &bytes)?;
        Ok(directory)
    };
    let directory = write().map_err(|error| system(doing, error))?;
    let from = format!("dir:{}", directory.path().display());
    let policy = program.policy.to_string_lossy();
    let said = program.ask(doing, &["pull", "--quiet", "--signature-policy", &policy, &from]).await?;
    let made = of_id(said.lines().last().unwrap_or_default());
    match made.map_err(|why| BackendError::Engine(format!("{doing}: {why}")))? {
        made if made.id == id => images::keep(program, &made).await.map(|()| made),
        made => Err(BackendError::Engine(format!("{doing}: buildah calls it {}, not {id}", made.id))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let id = "4cc683db6bd7961d58109f5aa408f4e846ff24d5712ffe8b122ae550dcd2abef";
        let answer = json!({
            "FromImageID": id,
            "Config": "{\"architecture\":\"amd64\",\"config\":{\"User\":\"app\"}}",
            "Manifest": "{\"layers\":[{\"size\":3},{\"size\":4}]}",
        });
        let kept = read(answer.to_string().as_bytes()).expect("an image");
        assert_eq!(kept.image.id.as_str(), format!("sha256:{id}"));
        assert_eq!((kept.config.config.user.as_str(), kept.size()), ("app", 7));
        assert!(read(b"{}").is_err() && of_id("x").is_err());
    }
}
