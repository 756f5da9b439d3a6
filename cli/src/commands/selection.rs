//! The images that a command is about, and the platform they are built for.

use std::collections::BTreeSet;

use anyhow::anyhow;
use slipway_config::{Config, Image, closure, select};
use slipway_oci::Platform;
use slipway_render::Rendering;
use slipway_stages::Graph;

use crate::failure::Failure;

/// The images that `patterns` select with all that they need, in the order of declaration. No patterns: every image
/// that is no artifact, or with `final_only` every one that may be deployed.
///
/// # Errors
/// When a pattern matches nothing, or when something that is needed cannot be built yet.
pub(crate) fn graph(
    config: &Config,
    rendering: &Rendering,
    patterns: &[String],
    final_only: bool,
) -> Result<Graph, Failure> {
    let mut chosen = select(config, patterns).map_err(Failure::usage)?;
    if final_only && patterns.is_empty() {
        chosen.retain(|image| image.is_final);
    }
    let images = closure(config, &chosen);
    check_supported(config, rendering, &images)?;
    Ok(Graph::new(images.into_iter().cloned().collect()))
}

/// Refuses directives that cannot be built yet, in the meta section and in the images that are needed.
fn check_supported(config: &Config, rendering: &Rendering, images: &[&Image]) -> Result<(), Failure> {
    let needed = |name: &_| images.iter().any(|image| image.names.contains(name));
    let refused = config.unsupported.iter().filter(|unsupported| unsupported.image.as_ref().is_none_or(needed));
    let lines: Vec<String> = refused
        .map(|unsupported| {
            let image = unsupported.image.as_ref().map(|name| format!(" (image {name})")).unwrap_or_default();
            let place = rendering.place(unsupported.position);
            format!("{place}: not supported yet: {}{image}", unsupported.directive)
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(Failure::project_text(lines.join("\n"))) }
}

/// The platform of a build: an image's own, else the flag's, else the project's, else this host's.
///
/// # Errors
/// When a platform is malformed, or when there is more than one.
pub(crate) fn platform(config: &Config, images: &[Image], flags: &[String]) -> Result<Platform, Failure> {
    let given: Vec<Platform> =
        flags.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let common = if given.is_empty() { &config.platforms } else { &given };
    let of = |image: &Image| if image.platforms.is_empty() { common.clone() } else { image.platforms.clone() };
    let mut platforms: BTreeSet<Platform> = BTreeSet::new();
    for image in images {
        let own = of(image);
        if own.is_empty() {
            platforms.insert(Platform::host());
        }
        platforms.extend(own);
    }
    let mut each = platforms.iter();
    match (each.next(), each.next()) {
        (None, _) => Ok(Platform::host()),
        (Some(platform), None) => Ok(platform.clone()),
        (Some(_), Some(_)) => {
            let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            Err(Failure::usage(anyhow!("not supported yet: more than one platform in a build ({})", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn config() -> Config {
        let text = "project: shop
configVersion: 1
---
artifact: tools
from: alpine
---
image: [app, web]
from: alpine
import:
- artifact: tools
  add: /a
  to: /a
  before: install
---
image: other
from: alpine
";
        slipway_config::parse("werf.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn names(patterns: &[&str]) -> Result<Vec<String>, Failure> {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let graph = graph(&config(), &Rendering::plain("werf.yaml", String::new()), &patterns, false)?;
        Ok(graph.images().iter().map(|image| image.name().to_string()).collect())
    }

    #[test]
    fn an_image_brings_what_it_needs() {
        assert_eq!(names(&["web"]).expect("selected"), ["tools", "app"]);
        assert_eq!(names(&["other"]).expect("selected"), ["other"]);
        assert_eq!(names(&[]).expect("selected"), ["tools", "app", "other"]);
        let failure = names(&["ap"]).expect_err("no such image");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text().contains("`ap`") && failure.text().contains("app"), "{}", failure.text());
    }

    #[test]
    fn one_platform_is_found_and_two_are_refused() {
        let config = config();
        let found = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|text| (*text).to_owned()).collect();
            platform(&config, &config.images, &flags).map(|platform| platform.to_string())
        };
        assert_eq!(found(&[]).expect("the host's"), Platform::host().to_string());
        assert_eq!(found(&["linux/arm64"]).expect("the flag's"), "linux/arm64");
        assert_eq!(found(&["linux"]).expect_err("malformed").exit, Exit::Usage);
        let two = found(&["linux/arm64", "linux/amd64"]).expect_err("two").text();
        assert_eq!(two, "not supported yet: more than one platform in a build (linux/amd64, linux/arm64)");
    }
}
