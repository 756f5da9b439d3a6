//! What copies are called: templates of the user's, filled for each image.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use slipway_oci::{Reference, Repo};
use slipway_storage::names::{docker_tag_slug, slug};

use crate::flags::export::To;

/// What stands for parts of an image's name.
const PLACEHOLDERS: [&str; 4] = ["%image%", "%image_slug%", "%image_safe_slug%", "%image_content_based_tag%"];

/// Where a copy goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Destination {
    /// A tag of a repository.
    Registry(Repo, String),
    /// An image of the Docker engine: `NAME:TAG`.
    Docker(String),
    /// An image in a directory, and its name there.
    Layout(PathBuf, Option<String>),
    /// A file, and the name of the image in it.
    Archive(PathBuf, Option<String>),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: &Option<String>| name.as_ref().map(|name| format!(":{name}")).unwrap_or_default();
        match self {
            Self::Registry(repo, tag) => write!(f, "{repo}:{tag}"),
            Self::Docker(name) => write!(f, "{name} in the Docker engine"),
            Self::Layout(path, name) => write!(f, "the OCI layout {}{}", path.display(), named(name)),
            Self::Archive(path, name) => write!(f, "the archive {}{}", path.display(), named(name)),
        }
    }
}

/// An image that is exported: its name, and what its content-based tag is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exported<'a> {
    /// Its name.
    pub(crate) image: &'a str,
    /// `DIGEST-TIMESTAMP`.
    pub(crate) content: &'a str,
}

/// The destinations of every image, for all templates. Relative paths are below `here`.
///
/// # Errors
/// When a template has an unknown placeholder, gives what cannot be a name, or gives two images the same.
pub(crate) fn destinations(
    templates: &[String],
    to: To,
    images: &[Exported<'_>],
    here: &Path,
) -> Result<Vec<Vec<Destination>>, String> {
    let mut taken: BTreeMap<Destination, &str> = BTreeMap::new();
    let mut all = Vec::with_capacity(images.len());
    for exported in images {
        let mut own = Vec::with_capacity(templates.len());
        for template in templates {
            let text = fill(template, exported).map_err(|why| format!("--tag {template}: {why}"))?;
            let found = destination(&text, to, here)
                .map_err(|why| format!("--tag {template}: `{text}` (image {}): {why}", shown(exported.image)))?;
            match taken.insert(found.clone(), exported.image) {
                Some(other) if other != exported.image => {
                    let (one, two) = (shown(other), shown(exported.image));
                    return Err(format!(
                        "--tag {template}: the images {one} and {two} would both be {found}: write %image% or \
                         %image_slug% where they are to differ"
                    ));
                }
                Some(_) => {}
                None => own.push(found),
            }
        }
        all.push(own);
    }
    Ok(all)
}

fn shown(image: &str) -> &str {
    if image.is_empty() { "~" } else { image }
}

/// A template with the placeholders replaced.
///
/// # Errors
/// When a placeholder is unknown.
pub(crate) fn fill(template: &str, exported: &Exported<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let word = &rest[at..];
        let end = word[1..].find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').map(|end| end + 1);
        let placeholder = end.filter(|end| *end > 1 && word[*end..].starts_with('%')).map(|end| &word[..=end]);
        let Some(placeholder) = placeholder else {
            text.push('%');
            rest = &word[1..];
            continue;
        };
        match placeholder {
            "%image%" => text.push_str(exported.image),
            "%image_slug%" => text.push_str(&slug(exported.image)),
            "%image_safe_slug%" => text.push_str(&docker_tag_slug(exported.image)),
            "%image_content_based_tag%" => text.push_str(exported.content),
            other => {
                return Err(format!("{other} is none of {}", PLACEHOLDERS.join(", ")));
            }
        }
        rest = &word[placeholder.len()..];
    }
    text.push_str(rest);
    Ok(text)
}

fn destination(text: &str, to: To, here: &Path) -> Result<Destination, String> {
    match to {
        To::Registry => {
            let (repo, tag) = named(text)?;
            Ok(Destination::Registry(repo, tag))
        }
        To::Docker => {
            let (_, tag) = named(text)?;
            let name = text.strip_suffix(&format!(":{tag}")).unwrap_or(text);
            Ok(Destination::Docker(format!("{name}:{tag}")))
        }
        To::Layout => {
            let (path, tag) = place(text, here)?;
            if let Some(tag) = tag.filter(|tag| !is_plain(tag)) {
                return Err(format!("`{tag}` cannot name an image of a layout"));
            }
            Ok(Destination::Layout(path, tag.map(str::to_owned)))
        }
        To::Archive => {
            let (path, name) = place(text, here)?;
            let name = name.map(|name| destination(name, To::Docker, here)).transpose()?;
            let name = name.and_then(|name| if let Destination::Docker(name) = name { Some(name) } else { None });
            Ok(Destination::Archive(path, name))
        }
    }
}

/// A repository and a tag; `latest` when none is said.
fn named(text: &str) -> Result<(Repo, String), String> {
    let reference: Reference = text.parse().map_err(|error: slipway_oci::ReferenceError| error.to_string())?;
    match (reference.tag, reference.digest) {
        (Some(tag), None) => Ok((reference.repo, tag)),
        (_, _) => Err("a digest is not a name for a copy: give a tag".to_owned()),
    }
}

fn place<'t>(text: &'t str, here: &Path) -> Result<(PathBuf, Option<&'t str>), String> {
    let (path, name) = match text.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (text, None),
    };
    if path.is_empty() {
        return Err("the path is missing".to_owned());
    }
    Ok((here.join(path), name))
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/+@:".contains(&byte);
    !name.is_empty() && name.len() <= 255 && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Exported<'_> = Exported { image: "app", content: "d-1" };
    const NESTED: Exported<'_> = Exported { image: "group/App_1", content: "e-2" };

    fn all(templates: &[&str], to: To, images: &[Exported<'_>]) -> Result<Vec<Vec<String>>, String> {
        let templates: Vec<String> = templates.iter().map(|text| (*text).to_owned()).collect();
        let found = destinations(&templates, to, images, Path::new("/here"))?;
        Ok(found.iter().map(|own| own.iter().map(ToString::to_string).collect()).collect())
    }

    #[test]
    fn templates_are_filled_for_every_image() {
        let found = all(
            &["r.example/x/%image_slug%:v1", "r.example/x:%image_content_based_tag%"],
            To::Registry,
            &[APP, NESTED],
        );
        let found = found.expect("names");
        assert_eq!(found[0], ["r.example/x/app:v1", "r.example/x:d-1"]);
        assert!(found[1][0].starts_with("r.example/x/group-app-1-"), "{found:?}");
        let found = all(&["shop:%image_safe_slug%"], To::Docker, &[Exported { image: "App_1", content: "" }]);
        assert_eq!(found.expect("a name"), [["shop:App_1 in the Docker engine"]]);
        let found = all(&["out/%image%:v1", "/all"], To::Layout, &[APP]).expect("places");
        assert_eq!(found, [["the OCI layout /here/out/app:v1", "the OCI layout /all"]]);
        let found = all(&["a.tar:shop:1", "b.tar", "c.tar:shop"], To::Archive, &[APP]).expect("places");
        assert_eq!(
            found,
            [["the archive /here/a.tar:shop:1", "the archive /here/b.tar", "the archive /here/c.tar:shop:latest"]]
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (templates, to, images, said) in [
            (&["r.example/%img%:1"][..], To::Registry, &[APP][..], "%img% is none of %image%"),
            (&["r.example/x:a b"], To::Registry, &[APP], "(image app)"),
            (&["r.example/%image%:1"], To::Registry, &[NESTED], "group/App_1"),
            (
                &["r.example/x:1"],
                To::Registry,
                &[APP, NESTED],
                "the images app and group/App_1 would both be r.example/x:1",
            ),
            (&[":1"], To::Layout, &[APP], "the path is missing"),
            (&["x:a b"], To::Layout, &[APP], "cannot name an image"),
            (&["x.tar:UPPER:1"], To::Archive, &[APP], "x.tar:UPPER:1"),
        ] {
            let refused = all(templates, to, images).expect_err("no name");
            assert!(refused.contains(said), "{refused}");
        }
        let digest = format!("r.example/x@sha256:{}", "a".repeat(64));
        assert!(all(&[&digest], To::Registry, &[APP]).expect_err("a digest").contains("give a tag"));
    }

    #[test]
    fn a_percent_sign_may_be_one() {
        assert_eq!(fill("/x/100%", &APP).expect("text"), "/x/100%");
        assert_eq!(fill("a%%image%%b", &APP).expect("text"), "a%app%b");
        assert_eq!(fill("%image-x%", &APP).expect("text"), "%image-x%");
    }
}
