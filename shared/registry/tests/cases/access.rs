//! Tokens: fetched, kept, renewed, for just what is needed; credentials that stay where they belong.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_oci::BlobDigest;
use slipway_parts::Registry;
use slipway_registry::{Client, Options, RegistryError};

use super::{
    CONFIG, OCI_MANIFEST,
    fake::{Act, Fake, Seen, say, say_with},
    manifest, noise, repo, upload,
};

/// Hands out tokens, and says whether a request brought one that is valid and allows it.
#[derive(Default)]
struct Office {
    /// The scopes that each token allows; taken away when it expires.
    tokens: Mutex<Vec<Option<Vec<String>>>>,
}

impl Office {
    fn act(&self, seen: &Seen) -> Option<Act> {
        if seen.path.starts_with("/token") {
            return Some(Act::Answer(self.issue(seen)));
        }
        let needed = match seen.method {
            Method::GET | Method::HEAD if !seen.path.contains("uploads") => "pull",
            Method::DELETE if seen.path.contains("manifests") => "delete",
            _ => "push",
        };
        let path = seen.path.strip_prefix("/v2/").unwrap().split("/blobs/").next().unwrap();
        let path = path.split("/manifests/").next().unwrap().split("/tags/").next().unwrap();
        if self.allows(seen, path, needed) {
            return None;
        }
        let challenge = format!(
            r#"Bearer realm="http://{}/token",service="test",scope="repository:{path}:{needed}",error="invalid_token""#,
            seen.header("host").unwrap()
        );
        let complaint = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Some(Act::Answer(say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", &challenge)], complaint)))
    }

    fn issue(&self, seen: &Seen) -> axum::response::Response {
        let form = if seen.method == Method::POST {
            String::from_utf8(seen.body.to_vec()).unwrap()
        } else {
            seen.path.split_once('?').unwrap().1.to_owned()
        };
        let pairs = url::form_urlencoded::parse(form.as_bytes()).into_owned();
        let scopes = pairs
            .filter(|(key, _)| key == "scope")
            .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let mut tokens = self.tokens.lock().unwrap();
        tokens.push(Some(scopes.collect()));
        say(StatusCode::OK, format!(r#"{{"token":"token-{}","expires_in":300}}"#, tokens.len() - 1))
    }

    fn allows(&self, seen: &Seen, path: &str, action: &str) -> bool {
        let number = seen.header("authorization").and_then(|text| text.strip_prefix("Bearer token-")?.parse().ok());
        let Some(number) = number else { return false };
        let number: usize = number;
        let tokens = self.tokens.lock().unwrap();
        let Some(scopes) = tokens[number].as_ref() else { return false };
        let prefix = format!("repository:{path}:");
        scopes
            .iter()
            .any(|scope| scope.strip_prefix(&prefix).is_some_and(|actions| actions.split(',').any(|a| a == action)))
    }

    fn expire_all(&self) {
        self.tokens.lock().unwrap().iter_mut().for_each(|token| *token = None);
    }

    fn issued(&self) -> usize {
        self.tokens.lock().unwrap().len()
    }
}

fn with_config(folder: &tempfile::TempDir, entry: &str, host: &str) -> Client {
    let path: PathBuf = folder.path().join("config.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
    Client::new(Options { docker_config: Some(path), ..Options::default() }).unwrap()
}

#[tokio::test]
async fn tokens_are_fetched_once_per_purpose_and_renewed_in_the_middle_of_an_upload() {
    let Some(registry) = Registry::start() else { return };
    let office = Arc::new(Office::default());
    let asked = Arc::clone(&office);
    let fake = Fake::before(Some(registry.host()), move |seen| {
        // All tokens expire after the first chunk.
        let act = asked.act(seen).unwrap_or(Act::Pass);
        if seen.method == Method::PATCH && matches!(act, Act::Pass) && asked.issued() < 3 {
            asked.expire_all();
        }
        act
    })
    .await;
    let (client, app) = (super::client(), repo(&fake.host, "team/app"));
    assert_eq!(client.tags(&app).await.unwrap(), [""; 0]);
    assert_eq!(client.tags(&app).await.unwrap(), [""; 0]);
    assert_eq!(office.issued(), 1, "the second time, the token is known");
    let bytes = noise(13 << 20);
    let digest = upload(&client, &app, &bytes).await.unwrap();
    assert!(client.head_blob(&app, &digest).await.unwrap() == Some(13 << 20));
    assert!(super::download(&client, &app, &digest).await.unwrap() == bytes);
    client.put_blob(&app, Bytes::from_static(CONFIG)).await.unwrap();
    let stored = client.put_manifest(&app, "v1", OCI_MANIFEST, manifest("x")).await.unwrap();
    client.delete_manifest(&app, &stored).await.unwrap();
    let scopes = |n: usize| fake.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).nth(n).unwrap().path;
    assert!(scopes(0).contains("scope=repository%3Ateam%2Fapp%3Apull"), "{}", scopes(0));
    assert!(scopes(1).contains("scope=repository%3Ateam%2Fapp%3Apull%2Cpush"), "{}", scopes(1));
    assert_eq!(office.issued(), 5, "to read; to write; anew to write, to read; to delete");
}

/// Tokens of CI jobs and clouds are passwords for some hours: who runs longer finds the next one where it found the first.
#[tokio::test]
async fn a_password_that_has_run_out_is_looked_for_anew() {
    let entry = |password: &str| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"));
        (format!(r#"{{"auth":"{pair}"}}"#), format!("Basic {pair}"))
    };
    for by_token in [false, true] {
        let good = Arc::new(Mutex::new(entry("one").1));
        let wanted = Arc::clone(&good);
        let fake = Fake::start(move |seen| {
            let shown = seen.header("authorization").unwrap_or_default();
            let is_good = shown == *wanted.lock().unwrap();
            let token = format!("Bearer {}", wanted.lock().unwrap().replace(' ', "-"));
            Act::Answer(match seen.path.starts_with("/token") {
                true if is_good => say(StatusCode::OK, format!(r#"{{"token":"{}","expires_in":300}}"#, &token[7..])),
                true => say(StatusCode::UNAUTHORIZED, "{}"),
                false if (by_token && shown == token) || (!by_token && is_good) => {
                    say(StatusCode::OK, r#"{"tags":["v1"]}"#)
                }
                false => {
                    let bearer = format!(r#"Bearer realm="http://{}/token",service="x""#, seen.header("host").unwrap());
                    let challenge = if by_token { bearer.as_str() } else { r#"Basic realm="x""# };
                    say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", challenge)], "{}")
                }
            })
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let (client, app) = (with_config(&folder, &entry("one").0, &fake.host), repo(&fake.host, "app"));
        assert_eq!(client.tags(&app).await.unwrap(), ["v1"], "{by_token}");
        *good.lock().unwrap() = entry("two").1;
        let refused = client.tags(&app).await.unwrap_err();
        assert!(matches!(refused, RegistryError::Denied(_)), "nobody has logged in anew: {refused}");
        let _ = with_config(&folder, &entry("two").0, &fake.host);
        assert_eq!(client.tags(&app).await.unwrap(), ["v1"], "{by_token}");
    }
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories() {
    let Some(registry) = Registry::start() else { return };
    let office = Arc::new(Office::default());
    let asked = Arc::clone(&office);
    let fake = Fake::before(Some(registry.host()), move |seen| asked.act(seen).unwrap_or(Act::Pass)).await;
    let client = super::client();
    let (base, app) = (repo(&fake.host, "base"), repo(&fake.host, "app"));
    let digest = client.put_blob(&base, Bytes::from_static(b"layer")).await.unwrap();
    assert!(client.mount_blob(&base, &app, &digest).await.unwrap());
    let both = ["repository:app:pull,push".to_owned(), "repository:base:pull".to_owned()];
    let held =
        |scopes: &Option<Vec<String>>| both.iter().all(|scope| scopes.as_ref().is_some_and(|s| s.contains(scope)));
    assert!(office.tokens.lock().unwrap().iter().any(held));
    assert!(!client.mount_blob(&base, &app, &BlobDigest::of(b"absent")).await.unwrap());
    assert_eq!(fake.count(&Method::DELETE, "uploads"), 1, "the upload begun instead is ended");
}

#[tokio::test]
async fn many_at_once_fetch_one_token() {
    let office = Arc::new(Office::default());
    let asked = Arc::clone(&office);
    let fake =
        Fake::start(move |seen| asked.act(seen).unwrap_or_else(|| Act::Answer(say(StatusCode::OK, r#"{"tags":[]}"#))))
            .await;
    let (client, app) = (super::client(), repo(&fake.host, "app"));
    let all = (0..20).map(|_| client.tags(&app));
    for tags in futures::future::join_all(all).await {
        tags.unwrap();
    }
    assert_eq!(office.issued(), 1);
}

#[tokio::test]
async fn passwords_and_identity_tokens_are_exchanged_at_the_token_server_only() {
    let encoded = base64::engine::general_purpose::STANDARD.encode("me:hunter2");
    let entries = [format!(r#"{{"auth":"{encoded}"}}"#), r#"{"identitytoken":"hunter2"}"#.to_owned()];
    for entry in entries {
        let office = Arc::new(Office::default());
        let fake = Fake::start(move |seen| {
            office.act(seen).unwrap_or_else(|| Act::Answer(say(StatusCode::OK, r#"{"tags":[]}"#)))
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        with_config(&folder, &entry, &fake.host).tags(&repo(&fake.host, "app")).await.unwrap();
        let seen = fake.seen();
        assert_eq!(seen.len(), 3, "refused, token, allowed");
        assert_eq!(seen[0].header("authorization"), None);
        assert_eq!(seen[2].header("authorization"), Some("Bearer token-0"));
        if entry.contains("identity") {
            let body = String::from_utf8(seen[1].body.to_vec()).unwrap();
            assert_eq!((seen[1].method.clone(), seen[1].header("authorization")), (Method::POST, None));
            for part in ["grant_type=refresh_token", "refresh_token=hunter2", "service=test", "client_id=slipway"] {
                assert!(body.contains(part), "{body}");
            }
        } else {
            assert_eq!(seen[1].header("authorization"), Some(format!("Basic {encoded}").as_str()));
            assert!(!seen[1].path.contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along() {
    let blob = Bytes::from_static(b"far away");
    let far = {
        let blob = blob.clone();
        Fake::start(move |_| Act::Answer(say(StatusCode::OK, blob.clone()))).await
    };
    let office = Arc::new(Office::default());
    let target = format!("http://{}/store?signature=x", far.host);
    let fake = Fake::start(move |seen| {
        let redirect = || say_with(StatusCode::TEMPORARY_REDIRECT, &[("location", &target)], "");
        office.act(seen).unwrap_or_else(|| Act::Answer(redirect()))
    })
    .await;
    let (client, app) = (super::client(), repo(&fake.host, "app"));
    assert_eq!(client.blob(&app, &BlobDigest::of(&blob)).await.unwrap(), blob);
    assert_eq!(super::download(&client, &app, &BlobDigest::of(&blob)).await.unwrap(), blob);
    assert!(fake.seen().last().unwrap().header("authorization").is_some());
    assert_eq!(far.seen().len(), 2);
    for seen in far.seen() {
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.header("cookie"), None);
    }
}

#[tokio::test]
async fn a_challenge_of_another_host_is_not_met() {
    let far = Fake::start(|_| {
        Act::Answer(say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=\"give it to me\"")], ""))
    })
    .await;
    let target = format!("http://{}/store", far.host);
    let fake =
        Fake::start(move |_| Act::Answer(say_with(StatusCode::TEMPORARY_REDIRECT, &[("location", &target)], ""))).await;
    let folder = tempfile::tempdir().unwrap();
    let client = with_config(&folder, r#"{"username":"me","password":"hunter2"}"#, &fake.host);
    let error = client.blob(&repo(&fake.host, "app"), &BlobDigest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied(_)), "{error}");
    assert!(far.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn untrusted_token_servers_get_nothing() {
    for realm in ["http://203.0.113.1/token", "ftp://127.0.0.1/token", "http://me:pw@127.0.0.1:1/token"] {
        let fake = Fake::start(move |_| {
            let challenge = format!(r#"Bearer realm="{realm}",service="x""#);
            Act::Answer(say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", &challenge)], ""))
        })
        .await;
        let error = super::client().tags(&repo(&fake.host, "app")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused(_)) && error.to_string().contains("not trusted"), "{error}");
    }
}

#[tokio::test]
async fn messages_hold_no_proof() {
    let encoded = base64::engine::general_purpose::STANDARD.encode("me:hunter2");
    let fake = Fake::start(move |seen| {
        let Some(proof) = seen.header("authorization") else {
            return Act::Answer(say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=x")], ""));
        };
        let message = format!("you sent {proof}, that is me:hunter2");
        let complaint = serde_json::json!({"errors": [{"code": "DENIED", "message": message}]});
        Act::Answer(say(StatusCode::FORBIDDEN, complaint.to_string()))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let client = with_config(&folder, &format!(r#"{{"auth":"{encoded}"}}"#), &fake.host);
    let error = client.tags(&repo(&fake.host, "app")).await.unwrap_err();
    let text = format!("{error} {error:?} {client:?}");
    assert!(text.contains("you sent") && text.contains("docker login"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains(&encoded), "{text}");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn a_busy_token_server_is_asked_again() {
    let office = Office::default();
    let tries = AtomicUsize::new(0);
    let fake = Fake::start(move |seen| {
        if seen.path.starts_with("/token") && tries.fetch_add(1, Ordering::SeqCst) < 2 {
            return Act::Answer(say_with(StatusCode::SERVICE_UNAVAILABLE, &[("retry-after", "0")], ""));
        }
        office.act(seen).unwrap_or_else(|| Act::Answer(say(StatusCode::OK, r#"{"tags":["v1"]}"#)))
    })
    .await;
    assert_eq!(super::client().tags(&repo(&fake.host, "app")).await.unwrap(), ["v1"]);
}

#[tokio::test]
async fn a_void_identity_token_says_what_to_do() {
    let fake = Fake::start(|seen| {
        if seen.path.starts_with("/token") {
            let complaint = r#"{"error":"invalid_grant","error_description":"the token hunter2 has expired"}"#;
            return Act::Answer(say(StatusCode::BAD_REQUEST, complaint));
        }
        let challenge = format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap());
        Act::Answer(say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", &challenge)], ""))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let client = with_config(&folder, r#"{"identitytoken":"hunter2"}"#, &fake.host);
    let error = client.tags(&repo(&fake.host, "app")).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RegistryError::Denied(_)), "{text}");
    assert!(text.contains("has expired") && text.contains("docker login") && !text.contains("hunter2"), "{text}");
}
