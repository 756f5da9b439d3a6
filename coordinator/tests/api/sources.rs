//! Pushing commits.

use std::sync::Arc;

use reqwest::Method;
use slipway_coordinator::Limits;
use slipway_kv::MemoryKv;
use slipway_protocol::{MissingAnswer, MissingRequest};

use crate::world::{Coordinator, Project, Setup};

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
