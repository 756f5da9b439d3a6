//! One call: who is asked, and how often.

use slipway_digest::CommitId;
use slipway_oci::Repo;
use slipway_protocol::{BuildName, BuildState, BuildSummary, Code, MissingAnswer, MissingRequest};

use crate::script::{Say, Script, client};

fn name() -> BuildName {
    "build-0001".parse().expect("a name")
}

fn summary() -> BuildSummary {
    BuildSummary {
        build: name(),
        project: "shop".to_owned(),
        repo: Repo { host: "r.example".to_owned(), path: "shop".to_owned() },
        commit: CommitId([7; 20]),
        state: BuildState::Running,
        submitted: 1,
        ended: None,
        failure: None,
        waits_for: Vec::new(),
    }
}

#[tokio::test]
async fn a_call_carries_the_token_and_its_answer_is_read() {
    let script = Script::new(vec![Say::json(&summary()), Say::json(&vec![summary()])]).await;
    let client = client(&[&script.url]);
    assert_eq!(client.build(&name()).await.expect("a summary"), summary());
    assert_eq!(client.builds().await.expect("a list"), [summary()]);
    let asked = script.asked();
    assert_eq!(script.paths(), ["/v1/builds/build-0001", "/v1/builds"]);
    assert!(asked.iter().all(|asked| asked.method == "GET"));
    assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer hush")));
}

#[tokio::test]
async fn the_leader_is_found_and_remembered() {
    let leader = Script::new(vec![Say::json(&summary()), Say::json(&summary())]).await;
    let standby = Script::new(vec![Say::refuse(Code::NotLeader, Some(&leader.url))]).await;
    // Nobody listens at the first address.
    let client = client(&["http://127.0.0.1:1", &standby.url, &leader.url]);
    client.build(&name()).await.expect("a summary");
    client.build(&name()).await.expect("a summary");
    assert_eq!((standby.asked().len(), leader.asked().len()), (1, 2));
    assert_eq!(client.addresses().current().as_str(), leader.url);
    assert_eq!(client.git_url("shop"), format!("{}v1/projects/shop/git", leader.url));
}

#[tokio::test]
async fn what_may_help_is_tried_again_and_what_may_not_is_not() {
    let missing = MissingAnswer { missing: vec![CommitId([1; 20])] };
    let says = vec![
        Say::refuse(Code::Busy, None),
        Say::refuse(Code::Unavailable, None),
        Say::refuse(Code::NotLeader, None),
        Say::Body(502, b"<html>no upstream</html>".to_vec()),
        Say::Broken(vec![b"{\"miss".to_vec()]),
        Say::json(&missing),
        Say::refuse(Code::Forbidden, None),
        Say::Body(404, b"page not found".to_vec()),
        Say::Body(200, b"what?".to_vec()),
    ];
    let script = Script::new(says).await;
    let client = client(&[&script.url]);
    let request = MissingRequest { commits: vec![CommitId([1; 20])] };
    assert_eq!(client.missing("shop", &request).await.expect("an answer"), missing);
    assert_eq!(script.asked().len(), 6);
    let asked: MissingRequest = serde_json::from_slice(&script.asked()[5].body).expect("the request");
    assert_eq!((asked, script.asked()[5].method.as_str()), (request, "POST"));

    let refused = client.cancel(&name()).await.expect_err("no");
    assert_eq!(refused.code(), Some(Code::Forbidden));
    assert_eq!(refused.to_string(), "cancel build build-0001: said no");
    let refused = client.build(&name()).await.expect_err("no");
    assert_eq!(refused.code(), Some(Code::NotFound));
    assert!(refused.to_string().ends_with("is it a coordinator?"), "{refused}");
    let malformed = client.build(&name()).await.expect_err("no answer").to_string();
    assert!(malformed.contains("cannot be read"), "{malformed}");
    assert_eq!(script.asked().len(), 9);
}
