//! A worker's link.

use std::path::Path;

use slipway_client::{HttpLink, LinkOptions};
use slipway_process::Tasks;
use slipway_protocol::{AttemptId, Code, CoordinatorLink as _, Desired, LogLines, Report};

use crate::script::{Say, Script, client};

fn attempt(id: &str) -> AttemptId {
    AttemptId { job: "k".to_owned(), number: 1, id: id.to_owned() }
}

fn link(urls: &[&str], spool: &Path, tasks: &Tasks) -> HttpLink {
    HttpLink::new(client(urls), LinkOptions { worker: "w-1".to_owned(), spool: spool.to_owned() }, tasks)
}

fn lines(script: &Script) -> Vec<LogLines> {
    let logs = script.asked().into_iter().filter(|asked| asked.path == "/v1/workers/w-1/logs");
    logs.map(|asked| serde_json::from_slice(&asked.body).expect("lines")).collect()
}

#[tokio::test]
async fn a_report_goes_up_and_orders_come_down() {
    let drain = Desired { drain: true, ..Desired::default() };
    let script = Script::new(vec![Say::json(&drain)]).await;
    let (tasks, home) = (Tasks::new(), tempfile::tempdir().expect("a directory"));
    let link = link(&[&script.url], home.path(), &tasks);
    let report = Report { worker: "w-1".to_owned(), boot: "b".to_owned(), seq: 3, ..Report::default() };
    assert_eq!(link.sync(report.clone()).await, Ok(drain));
    let asked = script.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/v1/workers/w-1/sync"));
    assert_eq!(serde_json::from_slice::<Report>(&asked[0].body).expect("a report"), report);
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_refusal_is_said_and_another_coordinator_is_asked() {
    let leader = Script::new(vec![Say::json(&Desired::default())]).await;
    let standby = Script::new(vec![Say::refuse(Code::NotLeader, None)]).await;
    let (tasks, home) = (Tasks::new(), tempfile::tempdir().expect("a directory"));
    let link = link(&[&standby.url, &leader.url], home.path(), &tasks);
    assert_eq!(link.sync(Report::default()).await, Ok(Desired::default()));
    leader.say(Say::refuse(Code::Unauthenticated, None));
    let error = link.sync(Report::default()).await.expect_err("refused");
    assert_eq!(error.0, "report to the coordinator: said no");
    tasks.shut_down().await;
}

#[tokio::test]
async fn a_coordinator_that_never_answers_is_left_once_a_sync_was_given_up() {
    let (deaf, good) = (Script::deaf().await, Script::new(vec![Say::json(&Desired::default())]).await);
    let (tasks, home) = (Tasks::new(), tempfile::tempdir().expect("a directory"));
    let link = link(&[&deaf.url, &good.url], home.path(), &tasks);
    let given_up = async {
        while deaf.asked().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answered = link.sync(Report::default()) => panic!("the deaf one answered: {answered:?}"),
        () = given_up => {}
    }
    let error = link.sync(Report::default()).await.expect_err("it shows no sign of life");
    assert!(error.0.contains("does not answer"), "{error}");
    assert_eq!(link.sync(Report::default()).await, Ok(Desired::default()));
    tasks.shut_down().await;
}

#[tokio::test]
async fn lines_arrive_in_order_and_a_lost_answer_repeats_them() {
    let taken = || Say::Body(200, b"null".to_vec());
    let script = Script::new(vec![Say::Broken(Vec::new()), taken(), taken(), taken(), taken(), taken()]).await;
    let (tasks, home) = (Tasks::new(), tempfile::tempdir().expect("a directory"));
    let link = link(&[&script.url], home.path(), &tasks);
    let (first, second) = (attempt("a"), attempt("b"));
    for number in 0..3 {
        link.log(&first, format!("a {number}").into_bytes()).await.expect("taken");
    }
    link.logged(&first).await;
    assert_eq!(link.waiting(), 0);
    link.log(&first, b"a 3".to_vec()).await.expect("taken");
    link.log(&second, b"caf\xe9".to_vec()).await.expect("taken");
    link.logged(&first).await;
    link.logged(&second).await;
    let (mut expected, mut others) = (0, Vec::new());
    for batch in lines(&script) {
        if batch.attempt == second {
            others.extend(batch.lines);
            continue;
        }
        assert!(batch.offset <= expected, "a gap before {batch:?}");
        for (number, line) in (batch.offset..).zip(&batch.lines) {
            assert_eq!(*line, format!("a {number}"));
        }
        expected = batch.offset + batch.lines.len() as u64;
    }
    assert_eq!((expected, others), (4, vec!["caf\u{fffd}".to_owned()]));
    tasks.shut_down().await;
}

#[tokio::test]
async fn lines_that_nobody_wants_do_not_hold_up_the_others() {
    let script = Script::new(vec![Say::refuse(Code::NotFound, None), Say::Body(204, Vec::new())]).await;
    let (tasks, home) = (Tasks::new(), tempfile::tempdir().expect("a directory"));
    let link = link(&[&script.url], home.path(), &tasks);
    for id in ["a", "b"] {
        link.log(&attempt(id), b"x".to_vec()).await.expect("taken");
        link.logged(&attempt(id)).await;
        link.ended(&attempt(id)).await;
    }
    assert_eq!((link.waiting(), lines(&script).len()), (0, 2));
    tasks.shut_down().await;
}
