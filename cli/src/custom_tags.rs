//! `--add-custom-tag`: further tags of the images that run, checked before anything is built.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use slipway_config::{Config, select};
use slipway_protocol::CustomTag;
use slipway_stages::build::BuiltImage;
use slipway_storage::{beside::custom_tags, names};

use crate::export::names::{Exported, fill};

/// The tags of every image that is asked for and may be deployed. In them stands what is known when a stage is stored.
///
/// # Errors
/// When a template gives what cannot be a tag, or gives two images the same.
pub(crate) fn wanted(
    spelled: &str,
    templates: &[String],
    config: &Config,
    patterns: &[String],
) -> Result<Vec<CustomTag>> {
    if templates.is_empty() {
        return Ok(Vec::new());
    }
    let chosen = select(config, patterns)?;
    let mut taken = BTreeMap::new();
    for (number, image) in chosen.iter().enumerate().filter(|(_, image)| image.is_final && !image.artifact) {
        let sample = format!("{}-{number:013}", "0".repeat(56));
        for (name, template) in
            image.names.iter().flat_map(|name| templates.iter().map(move |template| (name, template)))
        {
            let exported = Exported { image: &name.0, content: custom_tags::CONTENT_BASED_TAG };
            let tag = fill(template, &exported).map_err(|why| anyhow!("{spelled} {template}: {why}"))?;
            let shown = custom_tags::fill(&tag, &sample);
            if !names::is_custom(&shown) {
                bail!(
                    "{spelled} {template}: `{shown}` (image {name}) is no tag that you can give: a tag has 1 to 128 letters, \
                     digits, `_`, `.` and `-`; %image_slug% and %image_safe_slug% are names without other characters"
                );
            }
            // Names of one image may share a tag: it leads to the same.
            if let Some((other, other_name)) = taken.insert(shown.clone(), (number, (name.clone(), tag)))
                && other != number
            {
                bail!(
                    "{spelled} {template}: the images {} and {name} would both be tagged `{shown}`: write %image% or \
                     %image_slug% where they are to differ",
                    other_name.0
                );
            }
        }
    }
    Ok(taken.into_values().map(|(_, (image, tag))| CustomTag { image, tag }).collect())
}

/// What images were tagged as, a line each.
pub(crate) fn lines(tags: &[CustomTag], images: &[BuiltImage]) -> Vec<String> {
    let line = |wanted: &CustomTag| {
        let image = images.iter().find(|image| image.names.contains(&wanted.image))?;
        let tag = custom_tags::fill(&wanted.tag, &image.whole()?.0);
        Some(format!("Tagged {} as {}:{tag}", wanted.image, image.repo()?))
    };
    tags.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(templates: &[&str], patterns: &[&str]) -> Result<Vec<String>> {
        let text = "project: shop\nconfigVersion: 1\n---\nimage: base\nfinal: false\nfrom: alpine\n---\n\
                    image: [app, group/web]\nfromImage: base\n---\nimage: other\nfrom: alpine\n";
        let config = slipway_config::parse("werf.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let found = wanted("--add-custom-tag", &owned(templates), &config, &owned(patterns))?;
        Ok(found.into_iter().map(|found| format!("{} {}", found.image, found.tag)).collect())
    }

    #[test]
    fn every_image_that_may_be_deployed_has_its_tags() {
        let all = tags(&["%image_slug%-v1"], &[]).expect("tags");
        assert_eq!(all, ["app app-v1", "group/web group-web-5144755b-v1", "other other-v1"]);
        assert_eq!(tags(&["my-tag"], &["other"]).expect("tags"), ["other my-tag"]);
        assert_eq!(tags(&["my-tag"], &["app"]).expect("one image of two names").len(), 1);
        let content = tags(&["x-%image_content_based_tag%"], &["other"]).expect("tags");
        assert_eq!(content, ["other x-%image_content_based_tag%"]);
        assert_eq!(tags(&["v1"], &["base"]).expect("nothing that runs"), [""; 0]);
    }

    #[test]
    fn what_cannot_be_is_said_before() {
        for (template, patterns, why) in [
            ("v1", &[][..], "would both be tagged `v1`"),
            ("%image%", &["group/web"], "%image_slug% and %image_safe_slug%"),
            ("%name%", &["other"], "%name% is none of %image%"),
            ("%image_content_based_tag%", &["other"], "is no tag that you can give"),
            ("managed-image-x", &["other"], "is no tag that you can give"),
            ("-x", &["other"], "is no tag that you can give"),
        ] {
            let error = tags(&[template], patterns).expect_err(template).to_string();
            assert!(error.starts_with(&format!("--add-custom-tag {template}: ")) && error.contains(why), "{error}");
        }
    }
}
