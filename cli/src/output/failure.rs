//! Why a build failed, as its user reads it.

use std::collections::BTreeMap;

use slipway_config::{Image, ImageKind, ImageName};
use slipway_render::Rendering;
use slipway_stages::{
    Graph, StageKind,
    build::{BuildFailure, StageFailure},
};

use super::escape;

/// Most lines of output that are repeated.
const TAIL: usize = 30;

/// The files that lines of a failure are lines of; paths are relative to the project directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// `None` = only the coordinator has it.
    config: Option<Rendering>,
    dockerfiles: BTreeMap<ImageName, String>,
}

impl Files {
    /// The configuration, and the Dockerfiles of the images in it.
    pub(crate) fn new(config: Rendering, graph: &Graph) -> Self {
        let dockerfile = |image: &Image| match &image.kind {
            ImageKind::Dockerfile(dockerfile) => Some(dockerfile.dockerfile.to_string()),
            ImageKind::Stapel(_) => None,
        };
        let targets = 0..graph.targets().len();
        let named = targets.filter_map(|target| Some((graph.shown(target), dockerfile(graph.image(target))?)));
        Self { config: Some(config), dockerfiles: named.collect() }
    }

    /// Those of a build that was submitted elsewhere.
    pub(crate) fn unknown() -> Self {
        Self { config: None, dockerfiles: BTreeMap::new() }
    }

    /// The place of a line of the rendered configuration.
    fn config_place(&self, line: u32) -> String {
        match &self.config {
            Some(config) => config.place_of_line(line),
            None => format!("line {line} of the rendered configuration"),
        }
    }

    /// `FILE:LINE` of what a stage was doing; `None` when nobody knows the line.
    fn place(&self, image: &ImageName, kind: StageKind, line: Option<u32>) -> Option<String> {
        let line = line?;
        Some(match self.dockerfiles.get(image) {
            _ if !kind.is_of_dockerfile() => self.config_place(line),
            Some(dockerfile) => format!("{dockerfile}:{line}"),
            None => format!("line {line} of the Dockerfile"),
        })
    }
}

/// The block that stands before the closing error; `None` when the error says it all.
pub(crate) fn block(failure: &BuildFailure, files: &Files, colors: bool) -> Option<String> {
    match failure {
        BuildFailure::Stage { image, kind, failure } if !failure.tail.is_empty() => {
            let place = files.place(image, *kind, failure.line);
            Some(stage(&format!("{image}/{kind}"), place, failure, colors))
        }
        BuildFailure::StageRequired { image, kind, digest } => Some(format!(
            "Stage {image}/{kind} with the digest {digest} is not in the storage, and nothing may be built.
Usual reasons:
 - the images of this commit were never built, or built into another repository;
 - they were removed since;
 - an input differs between the two runs: files, build arguments, the configuration itself."
        )),
        BuildFailure::Stage { .. }
        | BuildFailure::Invalid { .. }
        | BuildFailure::Unanswered { .. }
        | BuildFailure::Cancelled => None,
    }
}

/// The closing error: what was being done, in which image and stage, and what went wrong.
pub(crate) fn error(failure: &BuildFailure, files: &Files) -> String {
    match failure {
        BuildFailure::Stage { image, kind, failure } => {
            let place = files.place(image, *kind, failure.line).map(|place| format!(" ({place})")).unwrap_or_default();
            format!("build stage {image}/{kind}{place}: {}", failure.why)
        }
        BuildFailure::Invalid { image, invalid } => {
            let line = invalid.line.map(|line| format!(" ({})", files.config_place(line))).unwrap_or_default();
            format!("image {image}{line}: {}", invalid.message)
        }
        BuildFailure::Unanswered { image, why } => format!("build image {image}: {why}"),
        BuildFailure::StageRequired { image, kind, .. } => format!("stages required: {image}/{kind} is missing"),
        BuildFailure::Cancelled => "interrupted".to_owned(),
    }
}

fn stage(name: &str, place: Option<String>, failure: &StageFailure, colors: bool) -> String {
    let mut lines = vec![format!("┌ Failed stage {name}")];
    let why = place.map(|place| format!("{place}: ")).unwrap_or_default() + &failure.why;
    lines.extend(why.lines().map(|line| format!("│ {line}")));
    let skipped = failure.tail.len().saturating_sub(TAIL);
    lines.push("│ Last lines of output:".to_owned());
    let tail = failure.tail[skipped..].iter();
    lines.extend(tail.map(|line| format!("│   {}", escape::line(line.as_bytes(), colors))));
    lines.push(format!("└ Failed stage {name}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let text = "project: shop\nconfigVersion: 1\n---\nimage: app\ncontext: tools\ndockerfile: ci/Dockerfile\n";
        let config = slipway_config::parse("werf.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        Files::new(Rendering::plain("werf.yaml", text.to_owned()), &Graph::new(config.images))
    }

    #[test]
    fn without_output_the_error_says_it_all() {
        let mut failure = failed(StageKind::Install);
        if let BuildFailure::Stage { failure, .. } = &mut failure {
            failure.tail.clear();
        }
        assert_eq!(block(&failure, &files(), false), None);
    }

    fn failed(kind: StageKind) -> BuildFailure {
        let failure = StageFailure {
            why: "the command ended with exit code 3".into(),
            exit: Some(3),
            line: Some(12),
            tail: vec!["one".into(), "\u{1b}[2Jtwo".into()],
        };
        BuildFailure::Stage { image: ImageName("app".into()), kind, failure }
    }

    #[test]
    fn a_failed_stage_shows_where_and_how_it_ended() {
        let text = "┌ Failed stage app/install
│ werf.yaml:12: the command ended with exit code 3
│ Last lines of output:
│   one
│   two
└ Failed stage app/install";
        assert_eq!(block(&failed(StageKind::Install), &files(), false).as_deref(), Some(text));
        assert_eq!(
            error(&failed(StageKind::Dockerfile), &files()),
            "build stage app/dockerfile (tools/ci/Dockerfile:12): the command ended with exit code 3"
        );
    }

    #[test]
    fn a_required_stage_is_named_with_usual_reasons() {
        let missing =
            BuildFailure::StageRequired { image: ImageName::default(), kind: StageKind::From, digest: "abc".into() };
        let text = block(&missing, &files(), false).expect("it has a block");
        assert!(text.starts_with("Stage ~/from with the digest abc is not in the storage"), "{text}");
        assert_eq!(error(&missing, &files()), "stages required: ~/from is missing");
    }
}
