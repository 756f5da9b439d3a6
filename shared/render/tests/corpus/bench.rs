//! The engine beside Go's own on the same templates, by turns: `scripts/bench-template`.

use std::time::{Duration, Instant};

use crate::{corpus, oracle::Oracle, outcome, outcome::Ready, say, variable};

/// Runs of each engine in one turn.
const RUNS: u32 = 5;
/// Turns.
const TURNS: usize = 8;

/// Rendering the same templates several times over takes so many times as long, within noise.
#[test]
#[ignore = "measures; scripts/bench-template runs it in a release build"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn growth() {
    let Some(projects) = corpus() else { return };
    let sized = projects.iter().flat_map(|project| {
        let outcomes = project.configurations().map(|config| outcome::of(project, &config));
        outcomes.filter_map(move |outcome| Some((outcome.size()?, project, outcome))).collect::<Vec<_>>()
    });
    let Some((size, project, outcome)) = sized.max_by_key(|(size, ..)| *size) else { return };
    let question = outcome.question(0);
    let ready = Ready::new(project, &question.config, (&question.env, &question.variable));
    let mut first = None;
    for times in [1_usize, 2, 4, 8] {
        let repeated = ready.times(times);
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            let start = Instant::now();
            let rendered = repeated.render().unwrap_or_else(|problems| panic!("{problems}"));
            best = best.min(start.elapsed());
            assert!(rendered.text.len() >= size * times);
        }
        let first = *first.get_or_insert(best);
        let ratio = best.as_secs_f64() / first.as_secs_f64();
        say(&format!("{} {times} times over: {best:.2?}, {ratio:.2} times as long", outcome.name()));
    }
}

#[test]
#[ignore = "measures; scripts/bench-template runs it in a release build"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn beside_go() {
    let Some(projects) = corpus() else { return };
    let oracle = Oracle::build().unwrap_or_else(|why| panic!("Go's engine cannot be built: {why}"));
    let wanted = variable("SLIPWAY_BENCH_PROJECT").unwrap_or_default();
    // The largest by what it renders, unless one is named.
    let mut found: Vec<(usize, &crate::project::Project, outcome::Outcome)> = Vec::new();
    for project in projects.iter().filter(|project| project.name.contains(&wanted)) {
        let outcomes = project.configurations().map(|config| outcome::of(project, &config));
        found.extend(outcomes.filter_map(|outcome| Some((outcome.size()?, project, outcome))));
    }
    found.sort_by_key(|(size, ..)| std::cmp::Reverse(*size));
    for (size, project, outcome) in found.iter().take(3) {
        let question = outcome.question(RUNS - 1);
        let ready = Ready::new(project, &question.config, (&question.env, &question.variable));
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        for _ in 0..TURNS {
            for _ in 0..RUNS {
                let start = Instant::now();
                let rendered = ready.render().unwrap_or_else(|problems| panic!("{problems}"));
                ours = ours.min(start.elapsed());
                assert_eq!(rendered.text.len(), *size);
            }
            let answer = oracle.ask(std::slice::from_ref(&question)).remove(0);
            assert_eq!(answer.text.len(), *size, "{}", answer.error);
            theirs = theirs.min(Duration::from_nanos(answer.nanoseconds));
        }
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        say(&format!("{}: {size} bytes: ours {ours:.2?}, Go {theirs:.2?}; {ratio:.2} times as fast", outcome.name()));
    }
}
