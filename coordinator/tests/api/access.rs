//! Who may call what.

use std::{fmt::Write as _, sync::Arc};

use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use slipway_coordinator::Limits;
use slipway_kv::MemoryKv;
use slipway_oci::Repo;
use slipway_protocol::{BuildSummary, MOST_CLEANED, OtherRepos, Report, SubmitRequest};

use crate::world::{Coordinator, Project, Setup, refusal, request, soon};

const CALLS: &[(&str, &str, &[&str])] = &[
    ("GET", "/livez", &["", "submit", "worker", "cleanup", "admin"]),
    ("GET", "/readyz", &["", "submit", "worker", "cleanup", "admin"]),
    ("GET", "/metrics", &["", "submit", "worker", "cleanup", "admin"]),
    ("GET", "/v1/openapi.json", &["", "submit", "worker", "cleanup", "admin"]),
    ("POST", "/v1/projects/shop/missing", &["submit", "admin"]),
    ("GET", "/v1/projects/shop/git/info/refs?service=git-receive-pack", &["submit", "admin"]),
    ("GET", "/v1/projects/shop/git/info/refs?service=git-upload-pack", &["worker", "admin"]),
    ("POST", "/v1/projects/shop/git/git-receive-pack", &["submit", "admin"]),
    ("POST", "/v1/projects/shop/git/git-upload-pack", &["worker", "admin"]),
    ("GET", "/v1/builds", &["submit", "admin"]),
    ("PUT", "/v1/builds/build-one", &["submit", "admin"]),
    ("GET", "/v1/builds/build-one", &["submit", "admin"]),
    ("GET", "/v1/builds/build-one/events", &["submit", "admin"]),
    ("GET", "/v1/builds/build-one/explain", &["submit", "admin"]),
    ("POST", "/v1/builds/build-one/cancel", &["submit", "admin"]),
    ("POST", "/v1/workers/one/sync", &["worker", "admin"]),
    ("POST", "/v1/workers/one/logs", &["worker", "admin"]),
    ("POST", "/v1/stages/find", &["submit", "admin"]),
    ("POST", "/v1/stages/publish", &["submit", "admin"]),
    ("POST", "/v1/stages/reject", &["submit", "admin"]),
    ("POST", "/v1/stages/builds", &["submit", "admin"]),
    ("POST", "/v1/stages/clean", &["cleanup", "admin"]),
];

fn tokens() -> String {
    ["submit", "worker", "cleanup", "admin"].iter().fold(String::new(), |mut text, role| {
        writeln!(text, "{role}:{role}-1:{}", hex::encode(Sha256::digest(format!("token of {role}")))).expect("a text");
        text
    })
}

async fn guarded(directory: &std::path::Path) -> Coordinator {
    let path = directory.join("tokens");
    std::fs::write(&path, tokens()).expect("the file");
    Coordinator::leading(Setup { tokens: Some(path), ..Setup::new(Arc::new(MemoryKv::new())) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_for_some_roles_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut coordinator = guarded(directory.path()).await;
    for (method, path, allowed) in CALLS {
        for role in ["", "wrong", "submit", "worker", "cleanup", "admin"] {
            coordinator.token = (!role.is_empty()).then(|| format!("token of {role}"));
            let method: Method = method.parse().expect("a method");
            let status = coordinator.request(method, path).send().await.expect("an answer").status();
            let known = matches!(role, "submit" | "worker" | "cleanup" | "admin");
            match (allowed.contains(&role) || allowed.contains(&""), known) {
                (true, _) => assert!(
                    status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN,
                    "`{role}` may: {path}: {status}"
                ),
                (false, true) => assert_eq!(status, StatusCode::FORBIDDEN, "`{role}` may not: {path}"),
                (false, false) => assert_eq!(status, StatusCode::UNAUTHORIZED, "`{role}` is nobody: {path}"),
            }
        }
    }
}

/// The list above is all there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_in_the_list() {
    let coordinator = Coordinator::leading(Setup::new(Arc::new(MemoryKv::new()))).await;
    let description: serde_json::Value = coordinator.get("/v1/openapi.json").await.json().await.expect("a description");
    let paths = description["paths"].as_object().expect("paths");
    let described: usize = paths.values().map(|path| path.as_object().map_or(0, serde_json::Map::len)).sum();
    // Beginning a push and beginning a fetch are one path.
    assert_eq!(described, CALLS.len() - 1);
    for (method, path, _) in CALLS {
        let plain = path.split('?').next().expect("a path");
        let named = plain.replace("/shop/", "/{name}/").replace("/build-one", "/{name}").replace("/one/", "/{name}/");
        assert!(paths[&named][method.to_ascii_lowercase()].is_object(), "{method} {named}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_shows_its_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut coordinator = guarded(directory.path()).await;
    let project = Project::new();
    let commit = project.commit("one");
    coordinator.token = Some("token of worker".to_owned());
    assert!(coordinator.push(&project, commit).expect_err("a worker does not push").contains("403"));
    coordinator.token = Some("token of submit".to_owned());
    coordinator.push(&project, commit).expect("it is taken");
    let fetch = |coordinator: &Coordinator| {
        let other = Project::new();
        other.git(&coordinator.git(&["fetch", "--quiet", &coordinator.git_url(), &commit.to_string()])).map(drop)
    };
    assert!(fetch(&coordinator).expect_err("a client does not fetch").contains("403"));
    coordinator.token = Some("token of worker".to_owned());
    fetch(&coordinator).expect("a worker fetches by commit");
}

/// A token that is for some repositories only builds to them, and hears of no other build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_held_to_its_repositories() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens");
    let line = |name: &str, rest: &str| format!("submit:{name}:{}{rest}\n", hex::encode(Sha256::digest(name)));
    let text = line("all", "") + &line("team", ":repos=localhost:1/team/*") + &line("other", ":repos=localhost:1/x");
    std::fs::write(&path, text).expect("the file");
    let mut coordinator =
        Coordinator::leading(Setup { tokens: Some(path), ..Setup::new(Arc::new(MemoryKv::new())) }).await;
    let project = Project::new();
    let commit = project.commit("one");
    coordinator.token = Some("team".to_owned());
    coordinator.push(&project, commit).expect("it is taken");
    let elsewhere = request("localhost:1", "image: app\nfrom: BASE\n", &["app"], commit);
    let (status, why) = refusal(coordinator.submit("build-one", &elsewhere).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.message.contains("`team` may not build to localhost:1/shop"), "{why:?}");
    let ours = SubmitRequest { repo: "localhost:1/team/shop".parse().expect("a repository"), ..elsewhere.clone() };
    let theirs = vec!["localhost:1/x".parse().expect("a repository")];
    let writing = OtherRepos { caches: theirs, ..OtherRepos::default() };
    let asked = SubmitRequest { others: writing, ..ours.clone() };
    let (status, why) = refusal(coordinator.submit("build-two", &asked).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.message.contains("`team` may not build to localhost:1/x"), "{why:?}");
    coordinator.submitted("build-two", &ours).await;
    coordinator.token = Some("all".to_owned());
    coordinator.submitted("build-one", &elsewhere).await;
    for (token, seen) in [("all", vec!["build-one", "build-two"]), ("team", vec!["build-two"]), ("other", vec![])] {
        coordinator.token = Some(token.to_owned());
        let listed: Vec<BuildSummary> = coordinator.get("/v1/builds").await.json().await.expect("a list");
        let mut listed: Vec<&str> = listed.iter().map(|summary| summary.build.as_str()).collect();
        listed.sort_unstable();
        assert_eq!(listed, seen, "{token}");
        for name in ["build-one", "build-two"] {
            let expected = if seen.contains(&name) { StatusCode::OK } else { StatusCode::NOT_FOUND };
            for (method, call) in [("GET", ""), ("GET", "/explain"), ("POST", "/cancel")] {
                let method: Method = method.parse().expect("a method");
                let path = format!("/v1/builds/{name}{call}");
                let status = coordinator.request(method, &path).send().await.expect("an answer").status();
                assert_eq!(status, expected, "{token}: {path}");
            }
            let events = format!("/v1/builds/{name}/events");
            assert_eq!(coordinator.get(&events).await.status(), expected, "{token}: {events}");
        }
    }
}

/// So is one with which the records of stages are asked about and changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_held_to_the_repositories_of_a_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tokens");
    let line = |role: &str| format!("{role}:team:{}:repos=localhost:1/a\n", hex::encode(Sha256::digest(role)));
    std::fs::write(&path, line("submit") + &line("cleanup")).expect("the file");
    let mut coordinator =
        Coordinator::leading(Setup { tokens: Some(path), ..Setup::new(Arc::new(MemoryKv::new())) }).await;
    let stage = format!("{}-1600000000000", "0".repeat(56));
    let find = serde_json::json!({"digest": "0".repeat(56), "platform": "linux/amd64"});
    let reject = serde_json::json!({"stage": stage, "why": "lost"});
    let keep = serde_json::json!({"build": "one", "note": "", "ended": false});
    let clean = serde_json::json!({"step": {"condemn": [stage]}});
    for (role, call, mut asked) in [
        ("submit", "find", find),
        ("submit", "reject", reject),
        ("submit", "builds", keep),
        ("cleanup", "clean", clean),
    ] {
        coordinator.token = Some(role.to_owned());
        // Of its own repository it is told that the registry does not answer.
        for (repo, expected) in
            [("localhost:1/b", StatusCode::FORBIDDEN), ("localhost:1/a", StatusCode::SERVICE_UNAVAILABLE)]
        {
            let repo: Repo = repo.parse().expect("a repository");
            asked["repo"] = serde_json::to_value(&repo).expect("JSON");
            let sent = coordinator.request(Method::POST, &format!("/v1/stages/{call}")).json(&asked).send();
            let (status, why) = refusal(soon("an answer", sent).await.expect("an answer")).await;
            assert_eq!(status, expected, "{call} of {repo}: {why:?}");
            assert_eq!(status == StatusCode::FORBIDDEN, why.message.contains("`team` is not for"), "{why:?}");
        }
    }
    let many = vec![stage; MOST_CLEANED + 1];
    let asked = serde_json::json!({"repo": {"host": "localhost:1", "path": "a"}, "step": {"doom": many}});
    let sent = coordinator.request(Method::POST, "/v1/stages/clean").json(&asked).send().await;
    let (status, why) = refusal(sent.expect("an answer")).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{why:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_looked_at_before_it_is_believed() {
    let limits = Limits { attempts: 2, ..Limits::default() };
    let coordinator = Coordinator::leading(Setup { limits, ..Setup::new(Arc::new(MemoryKv::new())) }).await;
    let sync = |ids: &[&str]| {
        let phase = serde_json::json!({"Running": {"progress": 0}});
        let attempts: Vec<_> =
            ids.iter().map(|id| serde_json::json!([{"job": "j", "number": 1, "id": id}, phase])).collect();
        let mut report = serde_json::to_value(Report { worker: "one".to_owned(), ..Report::default() }).expect("JSON");
        report["attempts"] = attempts.into();
        coordinator.request(Method::POST, "/v1/workers/one/sync").json(&report).send()
    };
    let (status, why) = refusal(sync(&["../../x"]).await.expect("an answer")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.message.contains("letters, digits and dashes"), "{why:?}");
    let (status, _) = refusal(sync(&["a", "b", "c"]).await.expect("an answer")).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = soon("orders", sync(&["a", "b"])).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.expect("a text"));
}
