//! What all image documents share: which kind one is, its names, `final`, `platform`, `cacheVersion`.

use slipway_oci::Platform;

use super::{
    Draft, Reader, dockerfile, meta,
    section::{Section, suggestion},
    stapel,
};
use crate::{
    Image, ImageKind, ImageName, Position,
    yaml::{Entry, Kind, Meaning, Node, shorten},
};

/// Keys of every kind of image.
pub(super) const COMMON_KEYS: [&str; 4] = ["image", "final", "platform", "cacheVersion"];
/// Keys that tell what a document is.
const TELLING_KEYS: [&str; 4] = ["configVersion", "dockerfile", "image", "artifact"];
/// Longest name of an image, in characters.
const LONGEST_NAME: usize = 255;

/// What the kinds of images share.
pub(super) struct Common {
    names: Vec<(ImageName, Position)>,
    artifact: bool,
    is_final: bool,
    platforms: Vec<Platform>,
    cache_version: Option<String>,
    position: Position,
}

impl Common {
    /// Whether the document declares an artifact.
    pub(super) fn is_artifact(&self) -> bool {
        self.artifact
    }

    /// The image that is built as `kind` says.
    pub(super) fn into_draft(self, kind: ImageKind) -> Draft {
        let (names, name_positions) = self.names.into_iter().unzip();
        let image = Image {
            names,
            artifact: self.artifact,
            is_final: self.is_final,
            platforms: self.platforms,
            dependencies: Vec::new(),
            spec: None,
            secrets: Vec::new(),
            cache_version: self.cache_version,
            kind,
            position: self.position,
        };
        Draft { image, name_positions, links: Vec::new(), spec: None, staged: None }
    }
}

/// Reads an image document. `None` when it is too wrong to be an image.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Draft> {
    if !TELLING_KEYS.iter().any(|key| section.has(key)) {
        refuse_kind(reader, section);
        return None;
    }
    let names = names(reader, section)?;
    let artifact = section.has("artifact");
    let common = Common {
        names,
        artifact,
        is_final: reader.flag(section, "final").unwrap_or(true) && !artifact,
        platforms: meta::platforms(reader, section, "platform"),
        cache_version: reader.string(section, "cacheVersion"),
        position: section.position,
    };
    if section.has("dockerfile") {
        Some(dockerfile::read(reader, section, common))
    } else {
        Some(stapel::read(reader, section, common))
    }
}

/// A document that is neither meta section nor image.
fn refuse_kind(reader: &mut Reader<'_>, section: &Section<'_>) {
    let near = section.entries().iter().find_map(|entry| {
        super::nearest(&entry.key, &TELLING_KEYS)
            .map(|near| format!("did you mean `{near}` instead of `{}`?", entry.key))
    });
    let (message, hint) = if section.has("project") {
        let message = "the meta section has no `configVersion`";
        (message, "write `configVersion: 1` above `project`".to_owned())
    } else {
        let message = "the document has none of the keys `configVersion`, `dockerfile`, `image` and `artifact`";
        (message, near.unwrap_or_else(|| "write `image: NAME` to declare an image".to_owned()))
    };
    reader.refuse(section.position, message, hint);
}

/// The names under `image` or `artifact`.
fn names(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Vec<(ImageName, Position)>> {
    let image = section.entry("image");
    if let Some(artifact) = section.entry("artifact") {
        if let Some(image) = image {
            let hint = "write `image` for what is deployed, `artifact` for what only other images take files from";
            reader.refuse(image.position, "a document declares either `image` or `artifact`, not both", hint);
        }
        return artifact_name(reader, artifact).map(|name| vec![name]);
    }
    // A Dockerfile image without `image` is nameless as well.
    let Some(entry) = image.filter(|entry| !is_nameless(&entry.value)) else {
        let position = image.map_or(section.position, |entry| entry.position);
        return Some(vec![(ImageName::default(), position)]);
    };
    let names: Vec<(ImageName, Position)> = match &entry.value.kind {
        Kind::Sequence(items) => items.iter().filter_map(|item| name(reader, item)).collect(),
        Kind::Scalar(_) | Kind::Mapping(_) => name(reader, &entry.value).into_iter().collect(),
    };
    if let Kind::Sequence(items) = &entry.value.kind
        && items.is_empty()
    {
        reader.refuse(entry.value.position, "invalid image name: the list is empty", "write `image: NAME`");
    }
    (!names.is_empty()).then_some(names)
}

fn is_nameless(node: &Node) -> bool {
    node.is_null() || matches!(&node.kind, Kind::Scalar(scalar) if scalar.text.is_empty())
}

fn artifact_name(reader: &mut Reader<'_>, entry: &Entry) -> Option<(ImageName, Position)> {
    if is_nameless(&entry.value) || matches!(entry.value.kind, Kind::Sequence(_)) {
        let message = "invalid image name: an artifact has one name";
        reader.refuse(entry.value.position, message, "write `artifact: NAME`");
        return None;
    }
    name(reader, &entry.value)
}

/// One name of an image.
fn name(reader: &mut Reader<'_>, node: &Node) -> Option<(ImageName, Position)> {
    let refuse = |reader: &mut Reader<'_>, what: &str, hint: &str| {
        reader.refuse(node.position, format!("invalid image name: {what}"), hint);
        None
    };
    let Kind::Scalar(scalar) = &node.kind else {
        return refuse(reader, &format!("a string is expected, not {}", node.describe()), "write `image: NAME`");
    };
    let text = scalar.text.as_str();
    match scalar.meaning() {
        Meaning::Text => {}
        Meaning::Null => return refuse(reader, "an entry of the list is empty", "give it a name, or remove it"),
        Meaning::Bool(_) | Meaning::Number => {
            let what = format!("`{}` is {}", shorten(text), node.describe());
            return refuse(reader, &what, &format!("quote it: `\"{}\"`", shorten(text)));
        }
    }
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse(
            reader,
            &match text {
                "" => "it is empty".to_owned(),
                text => format!("`{}` holds blanks", shorten(text)),
            },
            "use letters, digits, `-`, `_`, `.`, `/`",
        );
    }
    if text.chars().count() > LONGEST_NAME {
        let hint = format!("use up to {LONGEST_NAME} characters");
        return refuse(reader, &format!("`{}` is too long", shorten(text)), &hint);
    }
    Some((ImageName(text.to_owned()), node.position))
}

/// Problems for keys that this kind of image does not have; `other` are the keys of the other kind.
pub(super) fn known_keys(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    own: &[&'static str],
    (other, why, instead): (&[&str], &str, &str),
) {
    let known: Vec<&str> = COMMON_KEYS.iter().chain(own).copied().collect();
    for entry in section.entries() {
        let key = entry.key.as_str();
        if known.contains(&key) || reader.is_full() {
            continue;
        }
        if other.contains(&key) {
            reader.refuse(entry.position, format!("`{key}` {why}"), instead);
        } else {
            let message = format!("unknown key `{}`", shorten(key));
            reader.refuse(entry.position, message, suggestion(key, &known, "keys"));
        }
    }
}
