//! What services delete by interfaces of their own, as fakes that do what is published of them. None of this is verified against the
//! services themselves.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use futures::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use slipway_oci::BlobDigest;
use slipway_registry::{AwsKeys, AwsSource, Client, Deletes, Options, RegistryError, Removed, Vendor};
use tempfile::TempDir;

use super::{
    fake::{Act, Fake, Seen, say, say_with},
    repo,
};

/// A client of a fake that is a service, registry and interface; `known` = it has a login there.
pub(super) fn client_of(vendor: Vendor, fake: &Fake, known: bool, aws: AwsSource) -> (Client, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.json");
    let auth = base64::engine::general_purpose::STANDARD.encode("user:hunter2");
    let auths = if known { json!({ fake.host.clone(): { "auth": auth } }) } else { json!({}) };
    std::fs::write(&path, json!({ "auths": auths }).to_string()).unwrap();
    let interfaces = vec![(vendor, format!("http://{}", fake.host).parse().unwrap())];
    let vendors = vec![(fake.host.clone(), vendor)];
    let options = Options { docker_config: Some(path), vendors, interfaces, aws, ..Options::default() };
    (Client::new(options).unwrap(), home)
}

fn digest(number: usize) -> BlobDigest {
    BlobDigest::of(number.to_string().as_bytes())
}

#[tokio::test]
async fn docker_hub_deletes_tags_with_a_token_of_its_own() {
    let hub = |seen: &Seen| {
        let answer = match (&seen.method, seen.path.as_str()) {
            (&Method::POST, "/v2/auth/token") => {
                let asked: Value = serde_json::from_slice(&seen.body).unwrap();
                assert_eq!(asked, json!({ "identifier": "user", "secret": "hunter2" }));
                say(StatusCode::OK, format!(r#"{{"access_token":"token {}"}}"#, seen.earlier))
            }
            // The first token is refused after a while.
            (&Method::DELETE, "/v2/repositories/shop/app/tags/3/")
                if seen.header("authorization") == Some("Bearer token 0") =>
            {
                say(StatusCode::UNAUTHORIZED, "")
            }
            (&Method::DELETE, "/v2/repositories/shop/app/tags/4/") if seen.earlier == 0 => {
                say_with(StatusCode::TOO_MANY_REQUESTS, &[("x-retry-after", "1")], "")
            }
            (&Method::DELETE, "/v2/repositories/shop/app/tags/gone/") => say(StatusCode::NOT_FOUND, ""),
            (&Method::DELETE, path) if path.starts_with("/v2/repositories/shop/app/tags/") => {
                say(StatusCode::NO_CONTENT, "")
            }
            _ => say(StatusCode::IM_A_TEAPOT, ""),
        };
        Act::Answer(answer)
    };
    let fake = Fake::start(hub).await;
    let (client, _home) = client_of(Vendor::DockerHub, &fake, true, AwsSource::Nowhere);
    let app = repo(&fake.host, "shop/app");
    assert_eq!(client.deletes(&app), Deletes::Tags);
    for number in 0..6 {
        assert_eq!(client.remove(&app, &number.to_string()).await.unwrap(), Removed::Done, "{number}");
    }
    assert_eq!(client.remove(&app, "gone").await.unwrap(), Removed::Absent);
    assert_eq!(client.remove(&app, digest(1).as_str()).await.unwrap(), Removed::Unsupported);
    assert_eq!((fake.count(&Method::POST, "/auth/token"), fake.count(&Method::DELETE, "/tags/")), (2, 9));
    let (stranger, _home) = client_of(Vendor::DockerHub, &fake, false, AwsSource::Nowhere);
    let error = stranger.remove(&app, "1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied(_)) && !error.to_string().contains("hunter2"), "{error}");
}

/// A package of a user, with so many versions.
fn packages(count: usize) -> impl Fn(&Seen) -> Act + Send + Sync {
    let versions: Mutex<Vec<(u64, BlobDigest)>> =
        Mutex::new((0..count).map(|number| (number as u64, digest(number))).collect());
    move |seen: &Seen| {
        assert_eq!(seen.header("authorization"), Some("Bearer hunter2"));
        let mut versions = versions.lock().unwrap();
        let Some(rest) = seen.path.strip_prefix("/users/shop/packages/container/app%2Fweb/versions") else {
            return Act::Answer(say(StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#));
        };
        if let (Method::DELETE, Some(id)) = (seen.method.clone(), rest.strip_prefix('/')) {
            let id: u64 = id.parse().unwrap();
            if id == 7 && seen.earlier == 0 {
                let limited = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")];
                return Act::Answer(say_with(StatusCode::FORBIDDEN, &limited, r#"{"message":"rate limit"}"#));
            }
            let before = versions.len();
            versions.retain(|(other, _)| *other != id);
            let status = if versions.len() < before { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
            return Act::Answer(say(status, ""));
        }
        let page: usize = rest.strip_prefix("?per_page=100&page=").unwrap().parse().unwrap();
        if page == 1 && seen.earlier >= 5 {
            // One was pushed in the meantime.
            versions.insert(0, (9999, digest(9999)));
        }
        let shown = versions.iter().skip((page - 1) * 100).take(100);
        let shown: Vec<Value> = shown.map(|(id, name)| json!({ "id": id, "name": name.as_str() })).collect();
        Act::Answer(say(StatusCode::OK, Value::from(shown).to_string()))
    }
}

#[tokio::test]
async fn github_deletes_versions_that_its_lists_name() {
    let fake = Fake::start(packages(250)).await;
    let (client, _home) = client_of(Vendor::Ghcr, &fake, true, AwsSource::Nowhere);
    let app = repo(&fake.host, "shop/app/web");
    for number in [0, 7, 249] {
        assert_eq!(client.remove(&app, digest(number).as_str()).await.unwrap(), Removed::Done, "{number}");
    }
    // The lists of the organisation (there is none) and of the user, once.
    assert_eq!(fake.count(&Method::GET, "/versions"), 4);
    assert_eq!(client.remove(&app, digest(0).as_str()).await.unwrap(), Removed::Absent);
    assert_eq!(client.remove(&app, digest(9999).as_str()).await.unwrap(), Removed::Absent);
    assert_eq!(client.remove(&app, digest(9999).as_str()).await.unwrap(), Removed::Done, "it is new on the first page");
    assert_eq!(client.remove(&app, "v1").await.unwrap(), Removed::Unsupported);
    assert_eq!(client.remove(&repo(&fake.host, "shop/other"), digest(1).as_str()).await.unwrap(), Removed::Absent);
}

fn keys() -> AwsSource {
    AwsSource::Keys(AwsKeys { id: "AKID".to_owned(), secret: "hunter2".to_owned(), token: None })
}

#[tokio::test]
async fn ecr_deletes_many_by_one_request() {
    let taken: Arc<Mutex<Vec<usize>>> = Arc::default();
    let sizes = Arc::clone(&taken);
    let ecr = move |seen: &Seen| {
        assert_eq!(seen.header("x-amz-target"), Some("AmazonEC2ContainerRegistry_V20150921.BatchDeleteImage"));
        assert!(seen.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKID/"));
        if seen.earlier == 0 {
            return Act::Answer(say(StatusCode::BAD_REQUEST, r#"{"__type":"ThrottlingException","message":"slower"}"#));
        }
        let asked: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(asked["repositoryName"], "shop/app");
        let ids = asked["imageIds"].as_array().unwrap();
        sizes.lock().unwrap().push(ids.len());
        let failure = |id: &Value| match id["imageTag"].as_str() {
            Some("gone") => Some(json!({ "imageId": id, "failureCode": "ImageNotFound", "failureReason": "no" })),
            Some("held") => Some(
                json!({ "imageId": id, "failureCode": "ImageReferencedByManifestList", "failureReason": "an index" }),
            ),
            _ => None,
        };
        let failures: Vec<Value> = ids.iter().filter_map(failure).collect();
        Act::Answer(say(StatusCode::OK, json!({ "imageIds": [], "failures": failures }).to_string()))
    };
    let fake = Fake::start(ecr).await;
    let (client, _home) = client_of(Vendor::Ecr, &fake, true, keys());
    let app = repo(&fake.host, "shop/app");
    let names: Vec<BlobDigest> = (0..150).map(digest).collect();
    let all = join_all(names.iter().map(|name| client.remove(&app, name.as_str()))).await;
    assert!(all.iter().all(|done| matches!(done, Ok(Removed::Done))), "{all:?}");
    let (gone, held) = tokio::join!(client.remove(&app, "gone"), client.remove(&app, "held"));
    assert_eq!(gone.unwrap(), Removed::Absent);
    let error = held.unwrap_err();
    assert!(error.to_string().contains("ImageReferencedByManifestList: an index"), "{error}");
    let sizes = taken.lock().unwrap().clone();
    assert_eq!((sizes.iter().sum::<usize>(), sizes.iter().max()), (152, Some(&100)), "{sizes:?}");
    assert!(sizes.len() <= 5, "{sizes:?}");
}

#[tokio::test]
async fn ecr_says_what_it_lacks() {
    let refusing = |_: &Seen| {
        Act::Answer(say(StatusCode::BAD_REQUEST, r#"{"__type":"com.x#AccessDeniedException","Message":"no right"}"#))
    };
    let fake = Fake::start(refusing).await;
    let app = repo(&fake.host, "shop/app");
    let (without, _home) = client_of(Vendor::Ecr, &fake, true, AwsSource::Nowhere);
    let error = without.remove(&app, "v1").await.unwrap_err();
    assert!(matches!(&error, RegistryError::Denied(why) if why.contains("AWS_ACCESS_KEY_ID")), "{error}");
    assert_eq!(fake.seen().len(), 0, "nobody was asked");
    let (client, _home) = client_of(Vendor::Ecr, &fake, true, keys());
    let error = client.remove(&app, "v1").await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Denied(why) if why.contains("AccessDeniedException (no right)")),
        "{error}"
    );
    assert!(!error.to_string().contains("hunter2"));
}
