//! Pushing commits.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use slipway_coordinator::Limits;
use slipway_kv::MemoryKv;
use slipway_protocol::{Code, MissingAnswer, MissingRequest};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::world::{Coordinator, Project, Setup, refusal, soon};

async fn missing(coordinator: &Coordinator, commits: Vec<slipway_digest::CommitId>) -> MissingAnswer {
    let request = coordinator.request(Method::POST, "/v1/projects/shop/missing").json(&MissingRequest { commits });
    request.send().await.expect("an answer").json().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_pushed_and_not_missing_any_more() {
    let coordinator = Coordinator::leading(Setup::new(Arc::new(MemoryKv::new()))).await;
    let project = Project::new();
    let (first, second) = (project.commit("one"), project.commit("two"));
    assert_eq!(missing(&coordinator, vec![first, second]).await.missing, [first, second]);
    coordinator.push(&project, second).expect("it is taken");
    assert!(missing(&coordinator, vec![first, second]).await.missing.is_empty(), "an ancestor comes along");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_writes_only_refs_of_ours() {
    let coordinator = Coordinator::leading(Setup::new(Arc::new(MemoryKv::new()))).await;
    let project = Project::new();
    let commit = project.commit("one");
    for target in ["refs/heads/main", "refs/tags/v1", "refs/slipwayx/a"] {
        let push = ["push".to_owned(), coordinator.git_url(), format!("{commit}:{target}")];
        let refused = project.git(&push).expect_err("it is refused");
        assert!(refused.contains("deny updating a hidden ref"), "{target}: {refused}");
    }
    assert_eq!(missing(&coordinator, vec![commit]).await.missing, [commit]);
    let name = "http://127.0.0.1/v1/projects/..%2fx/git";
    assert!(
        project.git(&["push", &coordinator.git_url().replace("/shop/", "/..%2fx/"), "HEAD:refs/slipway/a"]).is_err(),
        "{name}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_is_too_large_is_refused() {
    let limits = Limits { push: 64 * 1024, ..Limits::default() };
    let coordinator = Coordinator::leading(Setup { limits, ..Setup::new(Arc::new(MemoryKv::new())) }).await;
    let project = Project::new();
    // Not to be compressed.
    let noise: Vec<String> = (0..20_000).map(|_| slipway_process::random_id()).collect();
    let commit = project.commit(&noise.join(""));
    let refused = coordinator.push(&project, commit).expect_err("it is refused");
    assert!(refused.contains("413"), "{refused}");
    assert_eq!(missing(&coordinator, vec![commit]).await.missing, [commit]);
    let small = project.git(&["commit-tree", "-m", "small", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"]);
    let small = small.expect("a commit").trim().parse().expect("an id");
    coordinator.push(&project, small).expect("a small one is taken");
}

/// More connections than git programs run at once, each of which begins a call and then does nothing more.
async fn silent(coordinator: &Coordinator, service: &str, length: usize, body: &str) -> Vec<TcpStream> {
    let host = coordinator.url.trim_start_matches("http://");
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = TcpStream::connect(host).await.expect("a connection");
        let head = format!(
            "POST /v1/projects/shop/git/{service} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-{service}-request\r\n\r\n{body}"
        );
        connection.write_all(head.as_bytes()).await.expect("it is taken");
        connections.push(connection);
    }
    connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_does_not_keep_others_from_git() {
    let limits = Limits { git_pause: Duration::from_secs(3), ..Limits::default() };
    let coordinator = Coordinator::leading(Setup { limits, ..Setup::new(Arc::new(MemoryKv::new())) }).await;
    let (large, small) = (Project::new(), Project::new());
    // Not to be compressed, and more than sockets hold.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = noise.take(1 << 20).flatten().collect();
    std::fs::write(large.path().join("noise"), noise).expect("the file");
    let (much, little) = (large.commit("one"), small.commit("one"));
    let until_taken = |what: &'static str, call: &dyn Fn() -> Result<String, String>| {
        tokio::task::block_in_place(|| assert!((0..50).any(|_| call().is_ok()), "{what}: {:?}", call()));
    };
    until_taken("push much", &|| coordinator.push(&large, much));
    // Bodies that do not come.
    let pushing = silent(&coordinator, "git-receive-pack", 100_000, "").await;
    let other = coordinator.git_url().replace("/shop/", "/small/");
    let push = ["push".to_owned(), other.clone(), format!("{little}:refs/slipway/{little}")];
    until_taken("push", &|| small.git(&push));
    drop(pushing);
    // Answers that nobody takes.
    let body = format!("0032want {much}\n00000009done\n");
    let fetching = silent(&coordinator, "git-upload-pack", body.len(), &body).await;
    let (empty, fetch) = (Project::new(), ["fetch".to_owned(), other, little.to_string()]);
    until_taken("fetch", &|| empty.git(&fetch));
    drop(fetching);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_git_would_expand_without_limit_is_refused() {
    let coordinator = Coordinator::leading(Setup::new(Arc::new(MemoryKv::new()))).await;
    let project = Project::new();
    let commit = project.commit("one");
    coordinator.push(&project, commit).expect("it is taken");
    let call = |service: &str, length: usize| {
        let request = coordinator.request(Method::POST, &format!("/v1/projects/shop/git/{service}"));
        // What is refused before it was read ends its connection: the next one must not be sent on it.
        let request = request.header("Connection", "close");
        let typed = request.header("Content-Type", format!("application/x-{service}-request"));
        typed.header("Content-Encoding", "gzip").body(vec![0; length]).send()
    };
    let (status, why) = refusal(call("git-upload-pack", 65 * 1024).await.expect("an answer")).await;
    assert_eq!((status, why.code), (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge), "{why:?}");
    let (status, why) = refusal(call("git-receive-pack", 10).await.expect("an answer")).await;
    assert_eq!((status, why.code), (StatusCode::BAD_REQUEST, Code::Invalid), "{why:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_too_many_is_refused_and_a_question_makes_none() {
    let limits = Limits { mirrors_of_one: 1, ..Limits::default() };
    let coordinator = Coordinator::leading(Setup { limits, ..Setup::new(Arc::new(MemoryKv::new())) }).await;
    let project = Project::new();
    let commit = project.commit("one");
    for other in ["one", "two", "three"] {
        let path = format!("/v1/projects/{other}/missing");
        let asked = coordinator.request(Method::POST, &path).json(&MissingRequest { commits: vec![commit] });
        let answer: MissingAnswer = asked.send().await.expect("an answer").json().await.expect("an answer");
        assert_eq!(answer.missing, [commit]);
        let fetch = format!("/v1/projects/{other}/git/info/refs?service=git-upload-pack");
        assert_eq!(coordinator.get(&fetch).await.status(), StatusCode::NOT_FOUND);
    }
    coordinator.push(&project, commit).expect("it is taken");
    let path = "/v1/projects/other/git/info/refs?service=git-receive-pack";
    let (status, why) = refusal(soon("a refusal", coordinator.get(path)).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(why.message.contains("has brought 1 projects here"), "{why:?}");
    coordinator.push(&project, project.commit("two")).expect("the first one is taken as before");
}
