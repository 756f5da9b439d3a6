//! What is exported, and where to.

use super::{
    flag::{CommandName, Flag, Werf},
    resolve::{FlagError, Values},
};

pub(crate) const TAG: Flag = Flag::list(
    "tag",
    "TEMPLATE",
    "Name of the copies; %image%, %image_slug%, %image_safe_slug% and %image_content_based_tag% stand for what is exported",
)
.werf(Werf::Named("WERF_EXPORT_TAG"))
.on(&[CommandName::Export]);
pub(crate) const TO: Flag = Flag::choice(
    "to",
    &["registry", "docker", "oci-layout", "tar"],
    "Where copies go: REPO:TAG in a registry, NAME:TAG in the Docker engine, DIR[:TAG] as an OCI layout, FILE[:NAME:TAG] as \
     what `docker load` reads",
)
.default("registry")
.werf(Werf::Absent)
.on(&[CommandName::Export]);
pub(crate) const ADD_LABEL: Flag = Flag::list("add-label", "NAME=VALUE", "Label of the copies")
    .werf(Werf::Named("WERF_EXPORT_ADD_LABEL"))
    .on(&[CommandName::Export]);

pub(super) const FLAGS: &[Flag] = &[TAG, TO, ADD_LABEL];

/// Where copies go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    /// A registry.
    Registry,
    /// The Docker engine.
    Docker,
    /// A directory in the form of the OCI's image layout.
    Layout,
    /// A file that `docker load` reads.
    Archive,
}

/// What is exported, and where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExportFlags {
    /// `--tag`
    pub(crate) templates: Vec<String>,
    /// `--to`
    pub(crate) to: To,
    /// `--add-label`
    pub(crate) labels: Vec<(String, String)>,
}

impl ExportFlags {
    /// What the flags and variables say.
    ///
    /// # Errors
    /// When there is no template, or a label has no value.
    pub(crate) fn from_values(values: &Values) -> Result<Self, FlagError> {
        let templates = values.list(&TAG);
        if templates.is_empty() {
            return Err(FlagError("say what to call the copies: --tag REPO:TAG, or --tag REPO/%image%:TAG".to_owned()));
        }
        let label = |text: String| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            Some(_) | None => Err(FlagError(format!("--{}: `{text}` is not NAME=VALUE", ADD_LABEL.name))),
        };
        let labels = values.list(&ADD_LABEL).into_iter().map(label).collect::<Result<_, _>>()?;
        let to = match values.text(&TO).as_deref() {
            Some("docker") => To::Docker,
            Some("oci-layout") => To::Layout,
            Some("tar") => To::Archive,
            Some(_) | None => To::Registry,
        };
        Ok(Self { templates, to, labels })
    }
}
