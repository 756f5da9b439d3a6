//! What was reused and what was built, in the end.

use std::time::Duration;

use slipway_stages::build::{BuiltImage, BuiltStage, BuiltTarget, Source};

/// The closing lines of a build that took `took`. Stages that several images share are counted once.
pub(crate) fn text(images: &[BuiltImage], took: Duration) -> String {
    let mut counted: Vec<&BuiltStage> = Vec::new();
    for stage in images.iter().flat_map(BuiltImage::stages) {
        if !counted.iter().any(|known| known.record.at == stage.record.at && known.source == stage.source) {
            counted.push(stage);
        }
    }
    let count = |is: Is| counted.iter().filter(|stage| is(stage.source)).count();
    let copied = match count(is_copied) {
        0 => String::new(),
        copied => format!("{copied} copied, "),
    };
    let (built, reused) = (count(is_built), count(|source| source == Source::Reused));
    let stages = if built == 1 { "stage" } else { "stages" };
    let took = took.as_secs_f64();
    let title = format!("Build summary: {built} {stages} built, {copied}{reused} reused, {took:.2} seconds");
    images.iter().fold(title, |text, image| format!("{text}\n{}", lines(image).join("\n")))
}

/// A line for each platform, and where the image is.
fn lines(image: &BuiltImage) -> Vec<String> {
    let mut lines: Vec<String> = image.platforms.iter().map(|target| line(image, target)).collect();
    if let (Some(index), Some(repo)) = (&image.index, image.repo()) {
        lines.push(format!("    {repo}:{}", index.tag));
    }
    lines
}

fn line(image: &BuiltImage, target: &BuiltTarget) -> String {
    let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    let kind = if image.artifact { "artifact" } else { "image" };
    let done: [(Is, &str); 2] = [(is_built, "built"), (is_copied, "copied")];
    let done = done.into_iter().filter_map(|(is, verb)| stages(target, is, verb));
    let reused = match target.stages.iter().filter(|stage| stage.source == Source::Reused).count() {
        0 => None,
        reused => Some(format!("{reused} reused")),
    };
    let what: Vec<String> = done.chain(reused).collect();
    let own = if image.index.is_none() { image.repo() } else { None };
    let place =
        target.last().zip(own).map(|(last, repo)| format!("\n    {repo}:{}", last.record.id)).unwrap_or_default();
    let platform = if image.platforms.len() > 1 { format!(" [{}]", target.platform) } else { String::new() };
    format!("  {kind} {}{platform}: {}{place}", names.join(", "), what.join("; "))
}

/// Whether a stage came from such a place.
type Is = fn(Source) -> bool;

fn is_built(source: Source) -> bool {
    source == Source::Built
}

fn is_copied(source: Source) -> bool {
    matches!(source, Source::Copied(_))
}

/// The stages of such a source, each with its time; `None` when there are none.
fn stages(target: &BuiltTarget, is: Is, verb: &str) -> Option<String> {
    let of_source = target.stages.iter().filter(|stage| is(stage.source));
    let each: Vec<String> =
        of_source.map(|stage| format!("{} ({:.2} s)", stage.kind, stage.took.as_secs_f64())).collect();
    (!each.is_empty()).then(|| format!("{verb} {}", each.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn it_says_what_was_built_and_what_was_spared() {
        let text = text(&samples::images(), Duration::from_millis(3456));
        let tag = samples::TAG;
        assert_eq!(
            text,
            format!(
                "Build summary: 1 stage built, 1 reused, 3.46 seconds
  image app, web: built setup (1.50 s); 1 reused
    127.0.0.1:5000/project:{tag}2
  artifact tools: 1 reused
    127.0.0.1:5000/project:{tag}1
  image ~: 1 reused
    127.0.0.1:5000/project:{tag}1"
            )
        );
    }
}
