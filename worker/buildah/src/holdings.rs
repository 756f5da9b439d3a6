//! All that is ours in the program's storage: images, known by their names, or by a label where a killed build gave them none.

use std::path::PathBuf;

use serde::Deserialize;
use slipway_backend::BackendError;
use slipway_digest::StageId;

use crate::{
    BuildahBackend,
    error::failed,
    images::{CACHE, IN_USE, LOCAL},
};

/// The label that all stages have.
const IS_STAGE: &str = "label=slipway-digest-scheme";

/// An image of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldImage {
    /// What the program calls it.
    pub id: String,
    /// Those of its names that are ours; none = a build that was killed has made it, and given it no name.
    pub names: Vec<String>,
    /// The projects that it is a stage of, in the local storage; none = it came from or went to a repository.
    pub projects: Vec<String>,
    /// Whether somebody has given it a name of his own.
    pub shared: bool,
    /// Bytes, as far as the program says.
    pub bytes: u64,
    /// Second of the Unix time at which it was made.
    pub made: i64,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    size: String,
    #[serde(default)]
    created: i64,
}

#[derive(Deserialize)]
struct Info {
    store: Store,
}

#[derive(Deserialize)]
struct Store {
    #[serde(rename = "GraphRoot")]
    root: Option<PathBuf>,
}

impl BuildahBackend {
    /// Where the program keeps images.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn root(&self) -> Result<Option<PathBuf>, BackendError> {
        let doing = "ask buildah where it keeps images";
        let said = self.shared.program.ask(doing, &["info"]).await?;
        let info: Info =
            serde_json::from_str(&said).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
        Ok(info.store.root)
    }

    /// All images that are ours, the oldest first.
    ///
    /// # Errors
    /// When the program does not list them.
    pub async fn held(&self) -> Result<Vec<HeldImage>, BackendError> {
        let named = self.list(&[]).await?.into_iter().filter_map(ours);
        let left = self.list(&["--filter", IS_STAGE]).await?.into_iter().filter_map(nameless);
        let mut held: Vec<HeldImage> = named.chain(left).collect();
        held.sort_by_key(|image| image.made);
        Ok(held)
    }

    async fn list(&self, which: &[&str]) -> Result<Vec<Listed>, BackendError> {
        let doing = "list the images of buildah";
        let said = self.shared.program.ask(doing, &[&["images", "--json", "--no-trunc"], which].concat()).await?;
        let listed: Option<Vec<Listed>> =
            serde_json::from_str(&said).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
        Ok(listed.unwrap_or_default())
    }

    /// Takes our names off an image, and so removes it unless it has others; whether that was possible.
    ///
    /// # Errors
    /// When the program fails.
    pub async fn let_go(&self, image: &HeldImage) -> Result<bool, BackendError> {
        let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
        let names = image.names.iter().map(String::as_str);
        let names: Vec<&str> = if image.names.is_empty() { vec![id] } else { names.collect() };
        let doing = format!("remove the image {}", names.join(", "));
        let answer = self.shared.program.answer(&doing, &[&["rmi"], names.as_slice()].concat()).await?;
        match answer.complaint {
            None => Ok(true),
            Some(complaint) if crate::error::is_missing(&complaint) => Ok(true),
            Some(complaint) if complaint.contains(IN_USE) => Ok(false),
            Some(complaint) => Err(failed(&doing, &complaint)),
        }
    }
}

fn ours(listed: Listed) -> Option<HeldImage> {
    let (mut names, mut projects, mut shared) = (Vec::new(), Vec::new(), false);
    for name in listed.names.unwrap_or_default() {
        if name.strip_prefix(CACHE).is_some_and(|tag| tag.starts_with(':')) {
            names.push(name);
        } else if let Some(project) = project_of(&name) {
            projects.push(project.to_owned());
            names.push(name);
        } else {
            shared = true;
        }
    }
    let image = HeldImage { id: listed.id, names, projects, shared, bytes: bytes(&listed.size), made: listed.created };
    (!image.names.is_empty()).then_some(image)
}

/// An image with our label that nobody has given a name.
fn nameless(listed: Listed) -> Option<HeldImage> {
    if listed.names.is_some_and(|names| !names.is_empty()) {
        return None;
    }
    let (bytes, made) = (bytes(&listed.size), listed.created);
    Some(HeldImage { id: listed.id, names: Vec::new(), projects: Vec::new(), shared: false, bytes, made })
}

/// The project that an image is a stage of, by its name.
fn project_of(name: &str) -> Option<&str> {
    let (project, tag) = name.strip_prefix(LOCAL)?.rsplit_once(':')?;
    tag.parse::<StageId>().is_ok().then_some(project)
}

/// A number of bytes as the program says it to people, such as `5.1 MB`.
fn bytes(text: &str) -> u64 {
    let (number, unit) = text.trim().split_once(' ').unwrap_or((text, "B"));
    let factor: u64 = match unit.trim() {
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => 1,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let part: u64 = part.bytes().next().filter(u8::is_ascii_digit).map_or(0, |digit| u64::from(digit - b'0'));
    whole.parse::<u64>().unwrap_or(0).saturating_mul(factor).saturating_add(part * (factor / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: Option<Vec<String>>) -> Listed {
        Listed { id: "sha256:1".to_owned(), names, size: "5.1 MB".to_owned(), created: 7 }
    }

    #[test]
    fn images_are_known_by_their_names() {
        let stage = "localhost/shop:0123456789abcdef0123456789abcdef0123456789abcdef01234567-1700000000000";
        let cached = "localhost/slipway-cache:sha256-aa";
        let image = |names: &[&str]| {
            let names = Some(names.iter().map(|name| (*name).to_owned()).collect());
            ours(listed(names))
        };
        let left = nameless(listed(None)).expect("ours");
        assert_eq!((left.id.as_str(), left.names.len(), left.bytes, left.made), ("sha256:1", 0, 5_100_000, 7));
        assert_eq!(nameless(listed(Some(vec!["localhost/mine:1".to_owned()]))), None);
        assert_eq!(image(&[]), None);
        assert_eq!(image(&["docker.io/library/alpine:3", "localhost/shop:1", "localhost/slipway-cached:1"]), None);
        let found = image(&[cached, "localhost/mine:1"]).expect("ours");
        assert_eq!((found.names.as_slice(), found.shared, found.bytes), (&[cached.to_owned()][..], true, 5_100_000));
        let found = image(&[cached, stage]).expect("ours");
        assert_eq!((found.names.len(), found.projects.as_slice(), found.shared), (2, &["shop".to_owned()][..], false));
        for (text, expected) in [("", 0), ("12 B", 12), ("1.25 GB", 1_200_000_000), ("x", 0)] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
