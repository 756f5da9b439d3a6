//! Commands and Dockerfiles.

use slipway_oci::ConfigChange;
use tokio::sync::mpsc;

use super::harness::{Harness, archive, build_of, collect, file};
use crate::{BackendError, LocalImage};

/// `cd`, variables and functions last; both streams are seen; unfinished lines come too.
pub(super) async fn commands_share_a_shell(harness: &Harness<'_>) {
    let mut workspace = harness.open(Some(harness.base)).await;
    workspace.extract(archive(&[file("f", "sources")]), "/app", None, None).await.expect("files go in");
    let commands = [
        (3, "echo \"$PWD $UID\"; cd /app; NAME=\"it's\""),
        (4, "read -r TEXT < f || true\necho \"$PWD $NAME $TEXT\" >&2"),
        (7, "printf 'no end' > made; printf 'no end'"),
    ];
    let (ended, mut said) = harness.run(workspace.as_mut(), &commands, &[]).await;
    ended.expect("the commands run");
    // Two streams: their order among each other is not fixed.
    said.sort();
    assert_eq!(said, ["/ 0", "/app it's sources", "no end"]);
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.text(&image, "/app/made").await, "no end");
}

/// The first failure ends the stage; exit code, line and last output are known.
pub(super) async fn a_failing_command_is_told_by_its_line(harness: &Harness<'_>) {
    let commands = [(10, "echo before"), (11, "echo oops >&2; (exit 42)"), (12, "echo after")];
    let mut workspace = harness.open(Some(harness.base)).await;
    let (ended, said) = harness.run(workspace.as_mut(), &commands, &[]).await;
    match ended {
        // Two streams: their order among each other is not fixed.
        Err(BackendError::Command { exit: 42, line: Some(11), mut tail, .. }) => {
            assert_eq!(tail, said);
            tail.sort();
            assert_eq!(tail, ["before", "oops"]);
        }
        other => panic!("{other:?}"),
    }
}

/// Variables of a run are seen by its commands and are in no image.
pub(super) async fn variables_do_not_last(harness: &Harness<'_>) {
    let mut workspace = harness.open(Some(harness.base)).await;
    let variables = [("SERVICE_ONLY", "it's $here")];
    let (ended, said) = harness.run(workspace.as_mut(), &[(1, "echo \"$SERVICE_ONLY\"")], &variables).await;
    ended.expect("the command runs");
    assert_eq!(said, ["it's $here"]);
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    let base = harness.backend.config(harness.base).await.expect("a config");
    let config = harness.backend.config(&image).await.expect("a config");
    assert_eq!(config.config.env.unwrap_or_default(), base.config.env.unwrap_or_default());
    let next = harness.built(&image, &[(1, "test -z \"${SERVICE_ONLY+set}\"")]).await;
    let config = harness.backend.config(&next).await.expect("a config");
    assert_eq!(config.config.user, base.config.user);
}

/// A script longer than any argument may be, and a line longer than is passed on whole.
pub(super) async fn a_long_script_runs(harness: &Harness<'_>) {
    let long = format!("TEXT='{}'; echo ${{#TEXT}}", "x".repeat(300_000));
    let mut workspace = harness.open(Some(harness.base)).await;
    let commands = [(1, long.as_str()), (2, "printf '%0100000d\\n' 7")];
    let (ended, said) = harness.run(workspace.as_mut(), &commands, &[]).await;
    ended.expect("the commands run");
    assert_eq!(said[0], "300000");
    assert_eq!(said[1..].iter().map(String::len).sum::<usize>(), 100_000);
    assert!(said.iter().all(|line| line.len() <= crate::output::MAX_LINE));
}

/// Without a base there is an empty file system, and commands run in it all the same.
pub(super) async fn an_empty_base(harness: &Harness<'_>) {
    let mut workspace = harness.open(None).await;
    workspace.extract(archive(&[file("f", "x")]), "/only", None, None).await.expect("files go in");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.paths(&image, "/only").await, [".", "f"]);
    let image = harness.built(&image, &[(1, "echo made > /only/g")]).await;
    assert_eq!(harness.text(&image, "/only/g").await, "made\n");
}

/// Giving up is safe at any moment, and what was given up needs no sweep.
pub(super) async fn a_dropped_workspace_leaves_nothing(harness: &Harness<'_>) {
    let mut workspace = harness.open(Some(harness.base)).await;
    let script = crate::Script { commands: vec![(1, "echo up; while :; do :; done".to_owned())], ..Default::default() };
    let (logs, mut lines) = mpsc::channel(1);
    tokio::select! {
        ended = workspace.run(script, logs) => panic!("{ended:?}"),
        line = lines.recv() => assert_eq!(line.as_deref(), Some(b"up".as_slice())),
    }
    drop(workspace);
    assert_eq!(harness.backend.sweep().await.expect("a sweep"), 0);
}

async fn dockerfile(
    harness: &Harness<'_>,
    text: &str,
    context: &[super::Item],
) -> (Result<LocalImage, BackendError>, Vec<String>) {
    let (logs, lines) = mpsc::channel(16);
    let mut build = build_of(harness.attempt(), text);
    build.labels.insert("note".to_owned(), "it's \"here\" $HOME".to_owned());
    build.args.insert("WORD".to_owned(), "given".to_owned());
    tokio::join!(harness.backend.dockerfile(build, archive(context), logs), collect(lines))
}

/// A Dockerfile is built whether or not the context holds it, and nothing of ours gets into the image.
pub(super) async fn a_dockerfile(harness: &Harness<'_>) {
    let text = "FROM scratch AS first\nCOPY f /first\nFROM scratch\nARG WORD=default\nENV WORD=$WORD\nCOPY . /all/\nCMD [\"x\"]\n";
    // Unlike any other build's, so that none shares layers with another that is just being removed.
    let context = [file("f", &harness.attempt()), file("d/g", "two")];
    for with_dockerfile in [false, true] {
        let mut items = context.to_vec();
        let mut expected = vec![".", "d", "d/g", "f"];
        if with_dockerfile {
            items.push(file("Dockerfile.app", text));
            expected.insert(1, "Dockerfile.app");
        }
        let (built, said) = dockerfile(harness, text, &items).await;
        let image = built.unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let mut found = harness.paths(&image, "/all").await;
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let config = harness.backend.config(&image).await.expect("a config").config;
        assert!(config.env.unwrap_or_default().contains(&"WORD=given".to_owned()));
        assert_eq!(config.labels.unwrap_or_default().get("note").map(String::as_str), Some("it's \"here\" $HOME"));
        assert_eq!(config.cmd, Some(vec!["x".to_owned()]));
        harness.backend.remove(&image).await.expect("the image goes");
    }
}

/// What cannot be built is the user's to mend, and never retried.
pub(super) async fn a_dockerfile_that_fails(harness: &Harness<'_>) {
    for (text, at) in [("FROM scratch\n\nCOPY none /\n", 3), ("FROM scratch\nNOSUCH thing\n", 2)] {
        let (built, said) = dockerfile(harness, text, &[file("f", "x")]).await;
        let error = built.expect_err("no such file or instruction");
        assert!(matches!(error, BackendError::Instruction { line, .. } if line == at), "{error:?} {said:?}");
        assert!(!error.is_retryable(), "{error:?}");
    }
}
