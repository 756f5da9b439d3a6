//! Why a build failed, as its user reads it.

use slipway_stages::{
    StageKind,
    build::{BuildFailure, StageFailure},
};

use super::escape;

/// Most lines of output that are repeated.
const TAIL: usize = 30;

/// The block that stands before the closing error; `None` when the error says it all.
pub(crate) fn block(failure: &BuildFailure, config: &str, colors: bool) -> Option<String> {
    match failure {
        BuildFailure::Stage { image, kind, failure } => {
            Some(stage(&format!("{image}/{kind}"), *kind, failure, config, colors))
        }
        BuildFailure::StageRequired { image, kind, digest } => Some(format!(
            "Stage {image}/{kind} with the digest {digest} is not in the storage, and nothing may be built.
Usual reasons:
 - the images of this commit were never built, or built into another repository;
 - they were removed since;
 - an input differs between the two runs: files, build arguments, the configuration itself."
        )),
        BuildFailure::Invalid { .. } | BuildFailure::Unanswered { .. } | BuildFailure::Cancelled => None,
    }
}

/// The closing error: what was being done, in which image and stage, and what went wrong.
pub(crate) fn error(failure: &BuildFailure, config: &str) -> String {
    match failure {
        BuildFailure::Stage { image, kind, failure } => {
            let place = place(*kind, failure.line, config).map(|place| format!(" ({place})")).unwrap_or_default();
            format!("build stage {image}/{kind}{place}: {}", failure.why)
        }
        BuildFailure::Invalid { image, invalid } => {
            let line = invalid.line.map(|line| format!(" ({config}:{line})")).unwrap_or_default();
            format!("image {image}{line}: {}", invalid.message)
        }
        BuildFailure::Unanswered { image, why } => format!("build image {image}: {why}"),
        BuildFailure::StageRequired { image, kind, .. } => format!("stages required: {image}/{kind} is missing"),
        BuildFailure::Cancelled => "interrupted".to_owned(),
    }
}

fn stage(name: &str, kind: StageKind, failure: &StageFailure, config: &str, colors: bool) -> String {
    let mut lines = vec![format!("┌ Failed stage {name}")];
    let exit = failure.exit.map(|exit| format!("exit code {exit}"));
    let facts: Vec<String> = place(kind, failure.line, config).into_iter().chain(exit).collect();
    if !facts.is_empty() {
        lines.push(format!("│ {}", facts.join(", ")));
    }
    lines.extend(failure.why.lines().map(|line| format!("│ {line}")));
    let skipped = failure.tail.len().saturating_sub(TAIL);
    if !failure.tail.is_empty() {
        lines.push("│ Last lines of output:".to_owned());
    }
    let tail = failure.tail[skipped..].iter();
    lines.extend(tail.map(|line| format!("│   {}", escape::line(line.as_bytes(), colors))));
    lines.push(format!("└ Failed stage {name}"));
    lines.join("\n")
}

/// Where the failing command stands; `None` when nobody knows.
fn place(kind: StageKind, line: Option<u32>, config: &str) -> Option<String> {
    let file = if kind == StageKind::Dockerfile { "Dockerfile" } else { config };
    line.map(|line| format!("{file}, line {line}"))
}

#[cfg(test)]
mod tests {
    use slipway_config::ImageName;

    use super::*;

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
│ werf.yaml, line 12, exit code 3
│ the command ended with exit code 3
│ Last lines of output:
│   one
│   two
└ Failed stage app/install";
        assert_eq!(block(&failed(StageKind::Install), "werf.yaml", false).as_deref(), Some(text));
        assert_eq!(
            error(&failed(StageKind::Dockerfile), "werf.yaml"),
            "build stage app/dockerfile (Dockerfile, line 12): the command ended with exit code 3"
        );
    }

    #[test]
    fn a_required_stage_is_named_with_usual_reasons() {
        let missing =
            BuildFailure::StageRequired { image: ImageName::default(), kind: StageKind::From, digest: "abc".into() };
        let text = block(&missing, "werf.yaml", false).expect("it has a block");
        assert!(text.starts_with("Stage ~/from with the digest abc is not in the storage"), "{text}");
        assert_eq!(error(&missing, "werf.yaml"), "stages required: ~/from is missing");
    }
}
