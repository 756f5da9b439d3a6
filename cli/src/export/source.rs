//! An image that is copied: its layers as they are, its config without what builds note in it.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use slipway_oci::{
    BlobDigest, ImageAt, ImageConfig, Repo,
    manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST},
};
use slipway_registry::Client;

/// How labels begin that builds write.
const OWN_LABELS: [&str; 2] = ["werf", "slipway"];

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
}

impl Source {
    /// Reads an image of a registry.
    pub(super) async fn read(client: &Client, at: &ImageAt, labels: &[(String, String)]) -> Result<Self> {
        let found = client.manifest(&at.repo, at.digest.as_str()).await?;
        let found = found.with_context(|| format!("{at} is not there"))?;
        let manifest = Manifest::parse(&found.bytes).with_context(|| format!("read the manifest of {at}"))?;
        let bytes = client.blob(&at.repo, &manifest.config.digest).await?;
        let mut config = ImageConfig::parse(&bytes).with_context(|| format!("read the config of {at}"))?;
        dress(&mut config, labels);
        let ids: Result<Vec<BlobDigest>, _> = config.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
        let diff_ids = ids.with_context(|| format!("read the config of {at}"))?;
        if diff_ids.len() != manifest.layers.len() {
            bail!("the manifest of {at} lists {} layers, and its config {}", manifest.layers.len(), diff_ids.len());
        }
        Ok(Self { repo: at.repo.clone(), config: config.to_bytes().into(), layers: manifest.layers, diff_ids })
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
