//! Registries that are busy, late, wrong or leading astray; manifests and small answers.

use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_oci::BlobDigest;
use slipway_registry::RegistryError;

use super::{
    OCI_MANIFEST, client,
    fake::{Act, Fake, broken_off, say, say_with},
    manifest, repo,
};

const TAGS: &str = r#"{"tags":["v1"]}"#;

#[tokio::test]
async fn busy_registries_are_asked_again() {
    let busy: [(StatusCode, &[(&str, &str)]); 5] = [
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "0")]),
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "1")]),
        (StatusCode::SERVICE_UNAVAILABLE, &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]),
        (StatusCode::INTERNAL_SERVER_ERROR, &[]),
        (StatusCode::BAD_GATEWAY, &[]),
    ];
    for (status, headers) in busy {
        let fake = Fake::start(move |seen| {
            Act::Answer(if seen.earlier < 2 { say_with(status, headers, "") } else { say(StatusCode::OK, TAGS) })
        })
        .await;
        assert_eq!(client().tags(&repo(&fake.host, "app")).await.unwrap(), ["v1"], "{status}");
        assert_eq!(fake.seen().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn patience_ends() {
    let fake = Fake::start(|_| {
        let complaint = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
        Act::Answer(say_with(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "0")], complaint))
    })
    .await;
    let error = client().head_manifest(&repo(&fake.host, "app"), "v1").await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("tried 6 times"), "{error}");
    let error = client().tags(&repo(&fake.host, "app")).await.unwrap_err();
    assert!(error.to_string().contains("slow down"), "{error}");
    assert_eq!(fake.seen().len(), 12);
}

#[tokio::test]
async fn a_manifest_whose_answer_was_lost_is_stored_again() {
    let fake = Fake::start(|seen| {
        let status = if seen.earlier == 0 { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::CREATED };
        Act::Answer(say(status, ""))
    })
    .await;
    client().put_manifest(&repo(&fake.host, "app"), "v1", OCI_MANIFEST, manifest("x")).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    for put in seen {
        assert_eq!((put.body.clone(), put.header("content-type")), (manifest("x"), Some(OCI_MANIFEST)));
    }
}

#[tokio::test]
async fn a_manifest_whose_blob_is_not_seen_yet_is_stored_again() {
    let fake = Fake::start(|seen| {
        let unseen = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
        Act::Answer(match seen.earlier {
            0 => say(StatusCode::BAD_REQUEST, unseen),
            _ if seen.path.ends_with("/v2") => say(StatusCode::BAD_REQUEST, unseen),
            _ => say(StatusCode::CREATED, ""),
        })
    })
    .await;
    let (client, app) = (client(), repo(&fake.host, "app"));
    client.put_manifest(&app, "v1", OCI_MANIFEST, manifest("x")).await.unwrap();
    assert_eq!(fake.count(&Method::PUT, "/v1"), 2);
    let missing = client.put_manifest(&app, "v2", OCI_MANIFEST, manifest("x")).await.unwrap_err();
    assert!(matches!(missing, RegistryError::NotFound(_)), "{missing}");
    assert_eq!(fake.count(&Method::PUT, "manifests/v2"), 4);
}

#[tokio::test]
async fn what_was_just_stored_gets_a_moment_to_appear() {
    let fake = Fake::start(|seen| {
        let late = seen.method == Method::PUT || (seen.earlier >= 2 && seen.path.ends_with("/v1"));
        Act::Answer(match seen.method {
            Method::PUT => say(StatusCode::CREATED, ""),
            _ if late => say_with(StatusCode::OK, &[("content-type", OCI_MANIFEST)], manifest("x")),
            _ => say(StatusCode::NOT_FOUND, ""),
        })
    })
    .await;
    let (client, app) = (client(), repo(&fake.host, "app"));
    let digest = client.put_manifest(&app, "v1", OCI_MANIFEST, manifest("x")).await.unwrap();
    assert_eq!(client.manifest(&app, "v1").await.unwrap().unwrap().digest, digest);
    assert_eq!(fake.count(&Method::GET, "/v1"), 3);
    assert_eq!(client.manifest(&app, "v2").await.unwrap(), None);
    assert_eq!(fake.count(&Method::GET, "/v2"), 1 + 3, "what was never stored is not waited for");
}

#[tokio::test]
async fn wrong_bytes_are_fetched_again_and_then_refused() {
    let right = manifest("right");
    let digest = BlobDigest::of(&right);
    for (wrong_times, headers) in [(1, true), (99, true), (99, false)] {
        let (right, digest_text) = (right.clone(), digest.to_string());
        let fake = Fake::start(move |seen| {
            let bytes = if seen.earlier < wrong_times { manifest("wrong") } else { right.clone() };
            let announced = [("docker-content-digest", digest_text.as_str())];
            Act::Answer(say_with(StatusCode::OK, if headers { &announced } else { &[] }, bytes))
        })
        .await;
        let selector = if headers { "v1" } else { digest.as_str() };
        let found = client().manifest(&repo(&fake.host, "app"), selector).await;
        if wrong_times == 1 {
            assert_eq!(found.unwrap().unwrap().digest, digest);
        } else {
            let error = found.unwrap_err();
            assert!(
                matches!(error, RegistryError::Corrupt(_)) && error.to_string().contains(digest.as_str()),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn answers_that_break_off_are_fetched_again() {
    let fake = Fake::start(|seen| {
        let whole = Bytes::from_static(b"all of the blob");
        Act::Answer(match seen.earlier {
            0 => broken_off(StatusCode::OK, whole.len(), whole.slice(..5)),
            _ => say(StatusCode::OK, whole),
        })
    })
    .await;
    let digest = BlobDigest::of(b"all of the blob");
    assert_eq!(client().blob(&repo(&fake.host, "app"), &digest).await.unwrap(), "all of the blob");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn nothing_too_large_is_read() {
    let fake = Fake::start(|seen| {
        let announced = seen.path.contains("announced");
        let pieces = (0..5).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20])));
        let body = axum::body::Body::from_stream(futures::stream::iter(pieces));
        let length = (5 << 20).to_string();
        let header = [("content-length", length.as_str())];
        Act::Answer(say_with(StatusCode::OK, if announced { &header } else { &[] }, body))
    })
    .await;
    for selector in ["announced", "streamed"] {
        let error = client().manifest(&repo(&fake.host, "app"), selector).await.unwrap_err();
        assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    }
    assert_eq!(fake.seen().len(), 2, "no use in asking again");
    let large = Bytes::from(vec![b' '; (4 << 20) + 1]);
    let error = client().put_manifest(&repo(&fake.host, "app"), "v1", OCI_MANIFEST, large).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn a_head_that_does_not_tell_is_followed_by_a_get() {
    for status in [StatusCode::OK, StatusCode::METHOD_NOT_ALLOWED] {
        let fake = Fake::start(move |seen| {
            Act::Answer(match seen.method {
                Method::HEAD => say(status, ""),
                _ => say_with(StatusCode::OK, &[("content-type", OCI_MANIFEST)], manifest("x")),
            })
        })
        .await;
        let found = client().head_manifest(&repo(&fake.host, "app"), "v1").await.unwrap();
        assert_eq!(found, Some(BlobDigest::of(&manifest("x"))), "{status}");
        let accept = fake.seen()[0].header("accept").unwrap().to_owned();
        for kind in ["oci.image.manifest.v1", "oci.image.index.v1", "manifest.v2+json", "manifest.list.v2"] {
            assert!(accept.contains(kind), "{accept}");
        }
    }
}

#[tokio::test]
async fn redirects_end_and_writes_do_not_leave_the_registry() {
    let fake = Fake::start(|seen| {
        let round = format!("{}x", seen.path);
        Act::Answer(match seen.method {
            Method::GET => say_with(StatusCode::TEMPORARY_REDIRECT, &[("location", &round)], ""),
            _ => say_with(StatusCode::TEMPORARY_REDIRECT, &[("location", "http://127.0.0.2:1/elsewhere")], ""),
        })
    })
    .await;
    let (client, app) = (client(), repo(&fake.host, "app"));
    let error = client.manifest(&app, "v1").await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)) && error.to_string().contains("redirects"), "{error}");
    assert_eq!(fake.seen().len(), 6);
    let error = client.put_manifest(&app, "v1", OCI_MANIFEST, manifest("x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)) && error.to_string().contains("redirect"), "{error}");
    assert_eq!(fake.seen().len(), 7);
}

#[tokio::test]
async fn deletion_may_be_switched_off() {
    let fake = Fake::start(|_| {
        let complaint = r#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#;
        Act::Answer(say(StatusCode::METHOD_NOT_ALLOWED, complaint))
    })
    .await;
    let error = client().delete_manifest(&repo(&fake.host, "app"), &BlobDigest::of(b"x")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)) && error.to_string().contains("unsupported"), "{error}");
}
