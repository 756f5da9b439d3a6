//! Images that run, as files name them.

use slipway_oci::{Reference, Repo};
use slipway_storage::cleanup::{InUse, Side};

use super::places::Places;
use crate::{commands::session::Session, failure::Failure, flags::cleanup::IMAGES_IN_USE};

/// Reads the files. Images of other repositories do not matter.
///
/// # Errors
/// When a file cannot be read, or a line names no image.
pub(super) fn read(session: &Session, places: &Places) -> Result<Vec<InUse>, Failure> {
    let last = places.last.as_ref().map(|last| last.repo().clone());
    let mut used = Vec::new();
    for file in session.values.list(&IMAGES_IN_USE) {
        let path = session.here.join(&file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::usage(anyhow::anyhow!("--images-in-use: read {}: {error}", path.display())))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let who = format!("{file}, line {}", number + 1);
            let found = of(line, &who, (places.primary.repo(), last.as_ref()));
            used.extend(found.map_err(|why| Failure::usage(anyhow::anyhow!("--images-in-use: {who}: {why}")))?);
        }
    }
    Ok(used)
}

/// An image, if it is in one of the repositories.
pub(super) fn of(name: &str, who: &str, (primary, last): (&Repo, Option<&Repo>)) -> Result<Option<InUse>, String> {
    let reference: Reference = name.parse().map_err(|error: slipway_oci::ReferenceError| error.to_string())?;
    let side = match &reference.repo {
        repo if repo == primary => Side::Primary,
        repo if Some(repo) == last => Side::Final,
        _ => return Ok(None),
    };
    let digest = reference.digest.as_ref().map(|digest| digest.as_str().to_owned());
    let selector = digest.or(reference.tag).unwrap_or_else(|| "latest".to_owned());
    Ok(Some(InUse { side, selector, who: who.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_repositories_count() {
        let repo = |text: &str| text.parse::<Repo>().expect("a repository");
        let (primary, last) = (repo("r.example/app"), repo("r.example/app-final"));
        let used = |name: &str| of(name, "x", (&primary, Some(&last))).expect("a name");
        let said = |name: &str| used(name).map(|used| (used.side, used.selector));
        assert_eq!(said("r.example/app:v1"), Some((Side::Primary, "v1".to_owned())));
        assert_eq!(said("r.example/app-final"), Some((Side::Final, "latest".to_owned())));
        let digest = slipway_oci::BlobDigest::of(b"x");
        let both = format!("r.example/app:v1@{digest}");
        assert_eq!(said(&both), Some((Side::Primary, digest.to_string())));
        assert_eq!(said("r.example/other:v1"), None);
        assert!(of("no image", "x", (&primary, None)).is_err());
    }
}
