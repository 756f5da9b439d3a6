//! The plan of a build: images in sets.

use std::num::NonZeroUsize;

use serde::Serialize;
use slipway_config::{Image, ImageName};
use slipway_stages::Graph;

/// One image of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlannedImage {
    /// Its name; empty = the nameless image.
    pub(crate) name: String,
    /// Whether it is an artifact.
    pub(crate) artifact: bool,
    /// Whether it may be deployed.
    pub(crate) is_final: bool,
}

impl PlannedImage {
    /// The name as plans show it.
    fn shown(&self) -> &str {
        if self.name.is_empty() { "~" } else { &self.name }
    }
}

/// The sets of a graph, in the order of declaration; an image with several names stands there under each of them.
pub(crate) fn sets(graph: &Graph) -> Vec<Vec<PlannedImage>> {
    let planned = |target: usize| {
        let Image { artifact, is_final, .. } = *graph.image(target);
        let named = move |name: &ImageName| PlannedImage { name: graph.shown_as(target, name).0, artifact, is_final };
        graph.image(target).names.iter().map(named)
    };
    graph.sets().into_iter().map(|set| set.into_iter().flat_map(planned).collect()).collect()
}

/// The plan as text. `limit` = how many images are built at the same time.
pub(crate) fn text(sets: &[Vec<PlannedImage>], limit: Option<NonZeroUsize>, icons: bool) -> String {
    let title = title(limit);
    let mut text = format!("┌ {title}\n");
    for (number, set) in sets.iter().enumerate() {
        if number > 0 {
            text.push_str("│\n");
        }
        text.push_str(&format!("│ Set #{number}:\n"));
        for image in set {
            let kind = match (icons, image.artifact, image.is_final) {
                (true, true, _) => "🛸 artifact",
                (false, true, _) => "artifact",
                (true, false, true) => "⛵ image",
                (false, false, true) => "image",
                (true, false, false) => "🏗️ intermediate image",
                (false, false, false) => "intermediate image",
            };
            text.push_str(&format!("│ - {kind} {}\n", image.shown()));
        }
    }
    text.push_str(&format!("└ {title}\n"));
    text
}

/// The plan as JSON, one line: `{"sets":[["a","b"],["c"]]}`.
pub(crate) fn json(sets: &[Vec<PlannedImage>]) -> String {
    #[derive(Serialize)]
    struct Plan<'p> {
        sets: Vec<Vec<&'p str>>,
    }
    let plan = Plan { sets: sets.iter().map(|set| set.iter().map(PlannedImage::shown).collect()).collect() };
    let mut json = serde_json::to_string(&plan).expect("texts in lists are JSON");
    json.push('\n');
    json
}

fn title(limit: Option<NonZeroUsize>) -> String {
    let title = "Concurrent builds plan";
    match limit.map(NonZeroUsize::get) {
        None => title.to_owned(),
        Some(1) => format!("{title} (no more than 1 image at the same time)"),
        Some(limit) => format!("{title} (no more than {limit} images at the same time)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> PlannedImage {
        PlannedImage { name: name.into(), artifact: false, is_final: true }
    }

    fn artifact(name: &str) -> PlannedImage {
        PlannedImage { name: name.into(), artifact: true, is_final: false }
    }

    fn seed() -> Vec<Vec<PlannedImage>> {
        vec![
            vec![image("common-base"), artifact("jq"), artifact("libjq"), artifact("kcov")],
            vec![image("base-for-go")],
            vec![
                artifact("terraform-provider-vsphere"),
                artifact("terraform-provider-gcp"),
                artifact("candictl"),
                image("candictl-tests"),
                artifact("helm"),
                artifact("controller"),
            ],
            vec![image("base")],
            vec![image("tests"), image("app")],
        ]
    }

    const SEED: &str = "\
┌ Concurrent builds plan (no more than 5 images at the same time)
│ Set #0:
│ - ⛵ image common-base
│ - 🛸 artifact jq
│ - 🛸 artifact libjq
│ - 🛸 artifact kcov
│
│ Set #1:
│ - ⛵ image base-for-go
│
│ Set #2:
│ - 🛸 artifact terraform-provider-vsphere
│ - 🛸 artifact terraform-provider-gcp
│ - 🛸 artifact candictl
│ - ⛵ image candictl-tests
│ - 🛸 artifact helm
│ - 🛸 artifact controller
│
│ Set #3:
│ - ⛵ image base
│
│ Set #4:
│ - ⛵ image tests
│ - ⛵ image app
└ Concurrent builds plan (no more than 5 images at the same time)
";

    #[test]
    fn a_plan_reads_as_it_always_has() {
        assert_eq!(text(&seed(), NonZeroUsize::new(5), true), SEED);
    }

    #[test]
    fn without_icons_and_without_a_limit() {
        let sets = [vec![image(""), artifact("jq")]];
        let plan = "┌ Concurrent builds plan\n│ Set #0:\n│ - image ~\n│ - artifact jq\n└ Concurrent builds plan\n";
        assert_eq!(text(&sets, None, false), plan);
    }

    #[test]
    fn an_image_that_is_not_final_is_intermediate() {
        let sets = [vec![PlannedImage { is_final: false, ..image("base") }]];
        assert!(text(&sets, None, false).contains("│ - intermediate image base\n"));
        assert!(text(&sets, None, true).contains("│ - 🏗️ intermediate image base\n"));
    }

    #[test]
    fn json_is_one_line() {
        assert_eq!(json(&[vec![image("a"), artifact("b")], vec![image("c")]]), "{\"sets\":[[\"a\",\"b\"],[\"c\"]]}\n");
        assert_eq!(json(&[]), "{\"sets\":[]}\n");
    }
}
