//! An image that is copied: its layers as they are, its config without what builds note in it.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use slipway_oci::{
    BlobDigest, ImageAt, ImageConfig, Platform, Repo,
    manifest::{Descriptor, Document, Index, Manifest, OCI_CONFIG, OCI_MANIFEST},
};
use slipway_registry::Client;

/// How labels begin that builds write.
const OWN_LABELS: [&str; 2] = ["werf", "slipway"];

/// Which labels a copy has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Labels {
    /// Those of builds are taken off, and these put on.
    Others(Vec<(String, String)>),
    /// It is the image as it was built.
    Same,
}

/// An image to copy.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The repository that its layers are in.
    pub(super) repo: Repo,
    /// The config of the copy.
    pub(super) config: Bytes,
    /// Its layers, lowest first.
    pub(super) layers: Vec<Descriptor>,
    /// Digests of their archives, uncompressed.
    pub(super) diff_ids: Vec<BlobDigest>,
    /// What it runs on.
    platform: Option<Platform>,
}

impl Source {
    /// Reads an image of a registry; behind an index there is one for each platform.
    pub(super) async fn read_all(client: &Client, at: &ImageAt, labels: &Labels) -> Result<Vec<Self>> {
        let found = client.manifest(&at.repo, at.digest.as_str()).await?;
        let found = found.with_context(|| format!("{at} is not there"))?;
        let document = Document::parse(&found.bytes, Some(&found.media_type));
        let index = match document.with_context(|| format!("read the manifest of {at}"))? {
            Document::Manifest(_) => return Ok(vec![Self::read(client, at, labels).await?]),
            Document::Index(index) => index,
        };
        let mut all = Vec::with_capacity(index.manifests.len());
        for entry in index.manifests {
            all.push(Self::read(client, &at.repo.at(entry.digest), labels).await?);
        }
        Ok(all)
    }

    async fn read(client: &Client, at: &ImageAt, labels: &Labels) -> Result<Self> {
        let found = client.manifest(&at.repo, at.digest.as_str()).await?;
        let found = found.with_context(|| format!("{at} is not there"))?;
        let manifest = Manifest::parse(&found.bytes).with_context(|| format!("read the manifest of {at}"))?;
        let bytes = client.blob(&at.repo, &manifest.config.digest).await?;
        let mut config = ImageConfig::parse(&bytes).with_context(|| format!("read the config of {at}"))?;
        let ids: Result<Vec<BlobDigest>, _> = config.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
        let diff_ids = ids.with_context(|| format!("read the config of {at}"))?;
        if diff_ids.len() != manifest.layers.len() {
            bail!("the manifest of {at} lists {} layers, and its config {}", manifest.layers.len(), diff_ids.len());
        }
        let platform = config.platform();
        let config = match labels {
            Labels::Same => bytes,
            Labels::Others(labels) => {
                dress(&mut config, labels);
                config.to_bytes().into()
            }
        };
        let repo = at.repo.clone();
        Ok(Self { repo, config, layers: manifest.layers, diff_ids, platform })
    }

    /// The manifest of the copy, and its media type.
    pub(super) fn manifest(&self) -> (Vec<u8>, &'static str) {
        let digest = BlobDigest::of(&self.config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: Descriptor::new(OCI_CONFIG, digest, self.config.len() as u64),
            layers: self.layers.clone(),
            annotations: Default::default(),
        };
        manifest.to_oci_annotated(&Default::default())
    }

    /// What leads to the copy, with its platform.
    pub(super) fn descriptor(&self) -> Descriptor {
        let (manifest, media_type) = self.manifest();
        let descriptor = Descriptor::new(media_type, BlobDigest::of(&manifest), manifest.len() as u64);
        match &self.platform {
            Some(platform) => descriptor.with_platform(platform),
            None => descriptor,
        }
    }
}

/// What leads to copies for several platforms, in the order of these.
pub(super) fn index(sources: &[Source]) -> Index {
    let mut sources: Vec<&Source> = sources.iter().collect();
    sources.sort_by_key(|source| source.platform.as_ref().map(ToString::to_string));
    Index::new(sources.into_iter().map(Source::descriptor).collect())
}

/// Takes the labels of builds off, and puts the user's on.
fn dress(config: &mut ImageConfig, labels: &[(String, String)]) {
    let mut all = config.config.labels.take().unwrap_or_default();
    all.retain(|name, _| !OWN_LABELS.iter().any(|own| name.starts_with(own)));
    all.extend(labels.iter().cloned());
    config.config.labels = (!all.is_empty()).then_some(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_builds_go_and_those_of_users_stay() {
        let text =
            br#"{"config":{"Labels":{"werf":"shop","werf.io/x":"1","slipway-own-labels":"a","mine":"2","old":"3"}}}"#;
        let mut config = ImageConfig::parse(text).expect("a config");
        dress(&mut config, &[("old".to_owned(), "new".to_owned()), ("more".to_owned(), String::new())]);
        let labels: Vec<(&str, &str)> =
            config.labels().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("mine", "2"), ("more", ""), ("old", "new")]);
        let mut bare = ImageConfig::parse(br#"{"config":{"Labels":{"werf":"shop"}}}"#).expect("a config");
        dress(&mut bare, &[]);
        assert_eq!(bare.config.labels, None);
    }
}
