//! What Dockerfiles do, case by case, held against builders of others: the files, modes, owners and links that come out,
//! the configuration, and what fails.
//!
//! `dockerfile/cases` holds the cases; `table` says how they are written. Most are judged by the Docker engine's BuildKit.
//! What that one does not know is judged by a newer buildkitd, whose program `SLIPWAY_TEST_BUILDKITD` names (`buildctl` lies
//! beside it); its answers stand in the table, so that they hold without it too. `SLIPWAY_BLESS=1` writes them anew.
//! `SLIPWAY_TEST_CLASSIC=1` also asks the engine's older builder, except where the table says that it differs.

#[path = "dockerfile/context.rs"]
mod context;
#[path = "dockerfile/far.rs"]
mod far;
#[path = "../../../shared/git/tests/all/http.rs"]
#[expect(dead_code, reason = "shared with the tests of git")]
mod git_server;
#[path = "dockerfile/judge.rs"]
mod judge;
#[path = "dockerfile/listing.rs"]
mod listing;
#[path = "native/parts.rs"]
#[expect(dead_code, reason = "shared with the other tests of the backend")]
mod parts;
#[path = "dockerfile/subject.rs"]
mod subject;
#[path = "dockerfile/table.rs"]
mod table;

use std::{
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use slipway_parts::{Part, require};
use slipway_process::Environment;

use judge::{Answer, Judge};
use subject::{How, Subject};
use table::{Kind, Table};

/// One test for each file of cases, so that they run beside each other.
macro_rules! tables {
    ($($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            hold(stringify!($name)).await;
        }
    )*};
}
tables! { copying adding expansion configs failures ignoring stages running newer newer_failures }

/// Runs every case of a table natively and says which differ from what the judges say.
async fn hold(name: &str) {
    let table = Table::read(name);
    let context = context::make();
    let Some(subject) = Subject::start(context.path()).await else { return };
    let environment = Environment::from_process();
    let mut judges = Vec::new();
    let (old, new): (Vec<_>, Vec<_>) = table.cases.iter().partition(|case| !case.is_newer());
    if !old.is_empty() && require(&[Part::Docker, Part::Busybox]) {
        judges.push(Judge::engine(true));
        if environment.non_empty("SLIPWAY_TEST_CLASSIC").is_some() {
            judges.push(Judge::engine(false));
        }
    }
    if !new.is_empty() {
        match environment.non_empty("SLIPWAY_TEST_BUILDKITD") {
            Some(program) => judges.push(Judge::buildkitd(program)),
            None => slipway_parts::skip(
                "buildkitd",
                "SLIPWAY_TEST_BUILDKITD names no buildkitd: its answers are those of the table",
            ),
        }
    }
    let ours = subject.answers(&table, How::Whole).await;
    let mut problems = Vec::new();
    for ((name, staged), (_, whole)) in subject.answers(&table, How::Staged).await.iter().zip(&ours) {
        problems.extend(differences(&format!("{name} (theirs: as a whole; ours: staged)"), Some(staged), whole));
    }
    let judged = AtomicUsize::new(0);
    for judge in &judges {
        let theirs = judge.answers(&table, context.path());
        if judge.is_newer() && environment.non_empty("SLIPWAY_BLESS").is_some() {
            table.bless(&theirs);
        }
        for (case, theirs) in table.cases.iter().zip(theirs) {
            let Some(theirs) = theirs.filter(|_| !case.has("open")) else { continue };
            judged.fetch_add(1, Ordering::Relaxed);
            let own = ours.iter().find(|(name, _)| *name == case.name).map(|(_, answer)| answer);
            problems.extend(differences(&format!("{name}/{} ({})", case.name, judge.name()), own, &theirs));
        }
    }
    for case in table.cases.iter().filter(|case| !case.has("open")) {
        let expected = match case.kind {
            Kind::Fail => Answer::Failed { why: "it must fail".to_owned(), refused: true },
            _ if case.expected.is_empty() => continue,
            _ => Answer::Made(case.expected.clone()),
        };
        let own = ours.iter().find(|(name, _)| *name == case.name).map(|(_, answer)| answer);
        problems.extend(differences(&format!("{name}/{} (table)", case.name), own, &expected));
    }
    subject.end().await;
    let (cases, newer, judged) = (table.cases.len(), new.len(), judged.into_inner());
    let mut said =
        format!("{name}: {cases} cases, {newer} of them by a newer builder's answers; {judged} judged now\n");
    let open: Vec<&str> = table.cases.iter().filter(|case| case.has("open")).map(|case| case.name.as_str()).collect();
    if !open.is_empty() {
        said.push_str(&format!("{name}: known to differ: {}\n", open.join(", ")));
    }
    let _ = std::io::stderr().write_all(said.as_bytes());
    assert!(problems.is_empty(), "{} cases differ:\n{}", problems.len(), problems.join("\n"));
}

/// What is different in two answers, to be read.
fn differences(title: &str, ours: Option<&Answer>, theirs: &Answer) -> Option<String> {
    match (ours, theirs) {
        (Some(Answer::Failed { refused: true, .. }), Answer::Failed { .. }) => None,
        (Some(Answer::Made(ours)), Answer::Made(theirs)) if ours == theirs => None,
        (Some(Answer::Made(ours)), Answer::Made(theirs)) => {
            let only = |of: &[String], other: &[String], mark: &str| {
                let lines = of.iter().filter(|line| !other.contains(line));
                lines.map(|line| format!("    {mark} {line}\n")).collect::<String>()
            };
            Some(format!("{title}:\n{}{}", only(ours, theirs, "ours  "), only(theirs, ours, "theirs")))
        }
        (ours, theirs) => {
            let ours = ours.map_or_else(|| "nothing".to_owned(), Answer::shown);
            Some(format!("{title}:\n    ours   {ours}\n    theirs {}\n", theirs.shown()))
        }
    }
}
