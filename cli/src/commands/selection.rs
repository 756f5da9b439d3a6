//! The images that a command is about, and the platforms they are built for.

use slipway_config::{Config, closure, select};
use slipway_oci::Platform;
use slipway_stages::{Graph, Platforms};

use crate::failure::Failure;

/// The images that `patterns` select with all that they need, in the order of declaration. No patterns: every image
/// that is no artifact, or with `final_only` every one that may be deployed.
///
/// # Errors
/// When a pattern matches nothing, or something that is needed is built for other platforms.
pub(crate) fn graph(
    config: &Config,
    patterns: &[String],
    (final_only, platforms): (bool, &Platforms),
) -> Result<Graph, Failure> {
    let mut chosen = select(config, patterns).map_err(Failure::usage)?;
    if final_only && patterns.is_empty() {
        chosen.retain(|image| image.is_final);
    }
    let images = closure(config, &chosen);
    let images = images.into_iter().cloned().collect();
    Graph::for_platforms(images, |image| platforms.of(config, image)).map_err(Failure::project)
}

/// What flags say of platforms; images of which nothing is said are for this host's.
///
/// # Errors
/// When a platform is malformed.
pub(crate) fn platforms(flags: &[String]) -> Result<Platforms, Failure> {
    let forced = flags.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::usage)?;
    Ok(Platforms { forced, otherwise: Platform::host() })
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
        let graph = graph(&config(), &patterns, (false, &platforms(&[])?))?;
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
    fn flags_win_over_images_over_the_project_over_the_host() {
        let found = |meta: &str, image: &str, flags: &[&str]| {
            let text = format!("project: p\nconfigVersion: 1\n{meta}---\nimage: app\nfrom: a\n{image}");
            let config = slipway_config::parse("werf.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
            let flags: Vec<String> = flags.iter().map(|text| (*text).to_owned()).collect();
            let platforms = platforms(&flags)?;
            let all = platforms.of(&config, &config.images[0]);
            Ok::<_, Failure>(all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let (meta, image) = ("build: {platform: [linux/arm, linux/s390x]}\n", "platform: [linux/arm64]\n");
        assert_eq!(found("", "", &[]).expect("the host's"), [Platform::host().to_string()]);
        assert_eq!(found(meta, "", &[]).expect("the project's"), ["linux/arm", "linux/s390x"]);
        assert_eq!(found(meta, image, &[]).expect("its own"), ["linux/arm64"]);
        let twice = ["linux/386", "linux/amd64", "linux/386"];
        assert_eq!(found(meta, image, &twice).expect("the flags'"), ["linux/386", "linux/amd64"]);
        assert_eq!(found("", "", &["linux"]).expect_err("malformed").exit, Exit::Usage);
    }
}
