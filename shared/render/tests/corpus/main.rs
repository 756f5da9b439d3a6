//! Configurations of real projects: each renders, is read and is planned, or fails for a reason that Go's own engine
//! gives too.
//!
//! [`project`] is a project of the corpus as templates see it, [`outcome`] what becomes of its configuration, [`oracle`]
//! asks Go. The corpus is a directory named by `SLIPWAY_CORPUS`: a folder of given files for each project, and
//! `trees/FOLDER.lstree.gz`, the listing of all of its files (`git ls-tree -r -l`, fields separated by tabs).

mod bench;
mod oracle;
mod outcome;
mod project;

use std::collections::BTreeMap;

use oracle::{Answer, Oracle};
use outcome::Outcome;
use project::Project;

/// Which test data there must be, as in other tests.
#[expect(clippy::disallowed_methods, reason = "a test asks for its data by variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Said on standard error whatever becomes of the test's own output.
fn say(text: &str) {
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n")));
}

/// The projects; `None`, said aloud, when there are none.
fn corpus() -> Option<Vec<Project>> {
    let root = variable("SLIPWAY_CORPUS").map(std::path::PathBuf::from).filter(|root| root.is_dir());
    let required = variable("SLIPWAY_TEST_REQUIRE").is_some_and(|parts| parts.split(',').any(|part| part == "corpus"));
    match root {
        Some(root) => Some(project::all(&root)),
        None => {
            assert!(!required, "SLIPWAY_CORPUS names no directory with projects, but the corpus is required");
            say("skipped: SLIPWAY_CORPUS names no directory with projects");
            None
        }
    }
}

#[test]
fn real_projects_render_are_read_and_planned() {
    let Some(projects) = corpus() else { return };
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut bare = Vec::new();
    for project in &projects {
        let before = outcomes.len();
        outcomes.extend(project.configurations().map(|config| outcome::of(project, &config)));
        if outcomes.len() == before {
            bare.push(project.name.as_str());
        }
    }
    let oracle = Oracle::build();
    let answers: Vec<Option<Answer>> = match &oracle {
        Ok(oracle) => oracle
            .ask(&outcomes.iter().map(|outcome| outcome.question(0)).collect::<Vec<_>>())
            .into_iter()
            .map(Some)
            .collect(),
        Err(why) => {
            say(&format!("skipped: Go's engine is not asked: {why}"));
            outcomes.iter().map(|_| None).collect()
        }
    };
    say(&table(&outcomes, &answers));
    for name in &bare {
        say(&format!("skipped: {name} holds no werf.yaml"));
    }
    say(&format!("{} projects, {} of them without a configuration", projects.len(), bare.len()));
    let wrong: Vec<String> =
        outcomes.iter().zip(&answers).filter_map(|(outcome, answer)| outcome.wrong(answer.as_ref())).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn table(outcomes: &[Outcome], answers: &[Option<Answer>]) -> String {
    let mut lines =
        vec![format!("{:<74} {:<10} {:<9} {:<10} {:<8}", "configuration", "rendered", "Go", "validated", "planned")];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (outcome, answer) in outcomes.iter().zip(answers) {
        let judged = outcome.judged(answer.as_ref());
        let columns = [outcome.rendered(), judged, outcome.validated(), outcome.planned()];
        let [rendered, judged, validated, planned] = columns;
        lines.push(format!(
            "{:<74} {rendered:<10} {judged:<9} {validated:<10} {planned:<8} {}",
            outcome.name(),
            outcome.remark()
        ));
        for (column, yes) in [
            ("rendered", rendered == "yes"),
            ("as Go", judged == "same"),
            ("validated", validated == "yes"),
            ("planned", planned == "yes"),
            ("planned in part", planned == "in part"),
            ("unjudged", judged == "unjudged"),
        ] {
            *counts.entry(column).or_default() += usize::from(yes);
        }
    }
    let counts: Vec<String> = counts.iter().map(|(column, count)| format!("{count} {column}")).collect();
    lines.push(format!("{} configurations: {}", outcomes.len(), counts.join(", ")));
    lines.join("\n")
}
