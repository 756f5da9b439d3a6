//! Recorded answers of a cluster, from a server of this test.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use slipway_kube::{Access, Cluster, Running};
use slipway_process::Tasks;

/// Statuses and bodies.
type Answers = VecDeque<(u16, Value)>;

/// What is answered, by path and query; of several answers, one after the other, the last for ever.
#[derive(Clone, Default)]
struct Recorded {
    answers: Arc<Mutex<BTreeMap<String, Answers>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

const LISTS: [&str; 8] = [
    "/api/v1/pods",
    "/api/v1/replicationcontrollers",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/replicasets",
    "/apis/batch/v1/cronjobs",
    "/apis/batch/v1/jobs",
];

impl Recorded {
    /// A cluster in which nothing runs.
    fn empty() -> Self {
        let recorded = Self::default();
        LISTS.iter().for_each(|list| recorded.add(&format!("{list}?limit=500"), 200, page(&[], "")));
        recorded
    }

    fn add(&self, path: &str, status: u16, body: Value) {
        self.answers.lock().unwrap().entry(path.to_owned()).or_default().push_back((status, body));
    }

    fn set(&self, path: &str, answers: &[(u16, Value)]) {
        self.answers.lock().unwrap().insert(path.to_owned(), answers.to_vec().into());
    }

    async fn serve(&self, tasks: &Tasks) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tasks.spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn open(&self, tasks: &Tasks) -> Cluster {
        let server = self.serve(tasks).await;
        let text = format!(
            "contexts: [{{name: prod, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: u, user: {{token: secret}}}}]\n"
        );
        let access = Access::parse(&text, Path::new(".")).unwrap();
        Cluster::open(&access.contexts[0]).await.unwrap()
    }
}

async fn answer(State(recorded): State<Recorded>, request: Request) -> Response {
    if request.headers().get("authorization").is_none_or(|value| value != "Bearer secret") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = request.uri().to_string();
    recorded.asked.lock().unwrap().push(path.clone());
    let mut answers = recorded.answers.lock().unwrap();
    let Some(own) = answers.get_mut(&path) else { return StatusCode::NOT_FOUND.into_response() };
    let (status, body) = if own.len() > 1 { own.pop_front() } else { own.front().cloned() }.unwrap();
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

fn page(items: &[Value], next: &str) -> Value {
    json!({"kind": "List", "metadata": {"continue": next}, "items": items})
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"containers": [{"image": image}]}})
}

fn workload(name: &str, image: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"template": pod(name, image)}})
}

fn images(found: &[Running]) -> Vec<&str> {
    found.iter().map(|running| running.image.as_str()).collect()
}

#[tokio::test]
async fn workloads_of_every_kind_count_through_all_pages() {
    let (recorded, tasks) = (Recorded::empty(), Tasks::new());
    recorded.set(&format!("{}?limit=500", LISTS[0]), &[(200, page(&[pod("a", "r/a:1")], "next page"))]);
    recorded.set(&format!("{}?limit=500&continue=next+page", LISTS[0]), &[(200, page(&[pod("b", "r/b:1")], ""))]);
    for (number, list) in LISTS.iter().enumerate().skip(1).filter(|(_, list)| !list.ends_with("cronjobs")) {
        let image = format!("r/{number}:1");
        recorded.set(&format!("{list}?limit=500"), &[(200, page(&[workload("w", &image)], ""))]);
    }
    let cron = json!({"metadata": {"namespace": "shop", "name": "nightly"}, "spec": {"jobTemplate": workload("x", "r/cron:1")}});
    recorded.set(&format!("{}?limit=500", LISTS[6]), &[(200, page(&[cron], ""))]);
    let found = recorded.open(&tasks).await.images(None).await.unwrap();
    let expected = ["r/1:1", "r/2:1", "r/3:1", "r/4:1", "r/5:1", "r/7:1", "r/a:1", "r/b:1", "r/cron:1"];
    assert_eq!(images(&found), expected);
    assert_eq!(found[6].who, "context prod: pods shop/a");
    assert_eq!(found[8].who, "context prod: cronjobs shop/nightly");
}

#[tokio::test]
async fn a_list_that_became_too_old_is_read_again() {
    let (recorded, tasks) = (Recorded::empty(), Tasks::new());
    let first = page(&[pod("a", "r/a:1")], "old");
    recorded.set(&format!("{}?limit=500", LISTS[0]), &[(200, first), (200, page(&[pod("c", "r/c:1")], ""))]);
    recorded.set(&format!("{}?limit=500&continue=old", LISTS[0]), &[(410, json!({"reason": "Expired"}))]);
    let found = recorded.open(&tasks).await.images(None).await.unwrap();
    assert_eq!(images(&found), ["r/c:1"], "what was read of the old list does not count");
}

#[tokio::test]
async fn what_may_not_be_listed_ends_it() {
    let (recorded, tasks) = (Recorded::empty(), Tasks::new());
    let refusal = json!({"message": "jobs.batch is forbidden: User \"me\" cannot list"});
    recorded.set(&format!("{}?limit=500", LISTS[7]), &[(403, refusal)]);
    let error = recorded.open(&tasks).await.images(None).await.unwrap_err().to_string();
    assert!(
        error.starts_with("context prod: list jobs: the cluster answered 403") && error.contains("cannot list"),
        "{error}"
    );
    recorded.set(&format!("{}?limit=500", LISTS[7]), &[(200, json!({"kind": "Status"}))]);
    let error = recorded.open(&tasks).await.images(None).await.unwrap_err().to_string();
    assert!(error.contains("no list"), "{error}");
}

#[tokio::test]
async fn busy_and_older_clusters_are_asked_again() {
    let (recorded, tasks) = (Recorded::empty(), Tasks::new());
    let busy = (429, json!({}));
    recorded.set(&format!("{}?limit=500", LISTS[0]), &[busy, (503, json!({})), (200, page(&[pod("a", "r/a:1")], ""))]);
    recorded.answers.lock().unwrap().remove(&format!("{}?limit=500", LISTS[6]));
    let cron = json!({"metadata": {"name": "old"}, "spec": {"jobTemplate": workload("x", "r/cron:1")}});
    recorded.set("/apis/batch/v1beta1/cronjobs?limit=500", &[(200, page(&[cron], ""))]);
    let found = recorded.open(&tasks).await.images(None).await.unwrap();
    assert_eq!(images(&found), ["r/a:1", "r/cron:1"]);
}

#[tokio::test]
async fn one_namespace_can_be_asked_alone() {
    let (recorded, tasks) = (Recorded::default(), Tasks::new());
    for list in LISTS {
        let (group, kind) = list.rsplit_once('/').unwrap();
        recorded.add(&format!("{group}/namespaces/shop/{kind}?limit=500"), 200, page(&[], ""));
    }
    recorded.set("/api/v1/namespaces/shop/pods?limit=500", &[(200, page(&[pod("a", "r/a:1")], ""))]);
    let found = recorded.open(&tasks).await.images(Some("shop")).await.unwrap();
    assert_eq!(images(&found), ["r/a:1"]);
    assert!(recorded.asked.lock().unwrap().iter().all(|path| path.contains("/namespaces/shop/")));
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_named() {
    let text = "contexts: [{name: far, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n";
    let access = Access::parse(text, Path::new(".")).unwrap();
    let error = Cluster::open(&access.contexts[0]).await.unwrap().images(None).await.unwrap_err().to_string();
    assert!(error.starts_with("context far: list pods: ") && error.contains("tried 2 times"), "{error}");
}
