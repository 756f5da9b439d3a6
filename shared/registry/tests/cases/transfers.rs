//! Blobs whose way is cut: uploads before a real registry that lose requests or answers, downloads that break off.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_oci::BlobDigest;
use slipway_parts::Registry;
use slipway_registry::RegistryError;

use super::{
    client, download,
    fake::{Act, Fake, broken_off, say, say_with},
    noise, repo, upload,
};

#[derive(Clone, Copy, Debug)]
enum Loss {
    Request,
    Answer,
}

/// Loses the `which`-th request of a method to the uploads, or the answer to it.
fn losing(method: Method, which: usize, loss: Loss) -> impl Fn(&super::fake::Seen) -> Act + Send + Sync {
    let count = AtomicUsize::new(0);
    move |seen| {
        if !seen.is(&method, "/uploads/") || count.fetch_add(1, Ordering::SeqCst) != which {
            return Act::Pass;
        }
        match loss {
            Loss::Request => Act::Answer(say(StatusCode::BAD_GATEWAY, "")),
            Loss::Answer => Act::PassAndSay(StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

#[tokio::test]
async fn uploads_survive_one_loss_of_any_kind() {
    let Some(registry) = Registry::start() else { return };
    let cases = [
        (1_000, Method::POST, 0),
        (1_000, Method::PUT, 0),
        (9 << 20, Method::PATCH, 0),
        (9 << 20, Method::PATCH, 1),
        (9 << 20, Method::PATCH, 2),
        (9 << 20, Method::PUT, 0),
    ];
    for (number, (size, method, which)) in cases.into_iter().enumerate() {
        for loss in [Loss::Request, Loss::Answer] {
            let fake = Fake::before(Some(registry.host()), losing(method.clone(), which, loss)).await;
            let app = repo(&fake.host, &format!("app-{number}-{loss:?}").to_lowercase());
            let bytes = noise(size);
            let digest = upload(&client(), &app, &bytes).await.unwrap_or_else(|error| {
                panic!("{loss:?} of {method} {which} of {size} bytes: {error}");
            });
            assert!(download(&client(), &app, &digest).await.unwrap() == bytes, "{loss:?} of {method} {which}");
        }
    }
}

#[tokio::test]
async fn a_blob_whose_last_answer_was_lost_is_not_sent_twice() {
    let Some(registry) = Registry::start() else { return };
    let fake = Fake::before(Some(registry.host()), losing(Method::PUT, 0, Loss::Answer)).await;
    upload(&client(), &repo(&fake.host, "app"), &noise(1000)).await.unwrap();
    assert_eq!(fake.count(&Method::PUT, "/uploads/"), 1);
}

#[tokio::test]
async fn a_large_blob_that_the_registry_lost_is_the_callers_to_send_again() {
    let Some(registry) = Registry::start() else { return };
    let fake = Fake::before(Some(registry.host()), losing(Method::PATCH, 5, Loss::Answer)).await;
    let error = upload(&client(), &repo(&fake.host, "app"), &noise(30 << 20)).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("again"), "{error}");
    upload(&client(), &repo(&fake.host, "app"), &noise(30 << 20)).await.unwrap();
}

#[tokio::test]
async fn a_session_that_can_tell_is_resumed() {
    // Takes half of the second chunk, says so when asked, and then the rest.
    let half = 2 << 20;
    let fake = Fake::start(move |seen| {
        let session = [("location", "/v2/app/blobs/uploads/1?state=x")];
        let patches = if seen.method == Method::PATCH { seen.earlier } else { 0 };
        Act::Answer(match seen.method {
            Method::PATCH if patches == 1 => say(StatusCode::BAD_GATEWAY, ""),
            Method::POST | Method::PATCH => say_with(StatusCode::ACCEPTED, &session, ""),
            Method::GET => {
                let range = format!("0-{}", (4 << 20) + half - 1);
                say_with(StatusCode::NO_CONTENT, &[session[0], ("range", &range)], "")
            }
            _ => say(StatusCode::CREATED, ""),
        })
    })
    .await;
    let bytes = noise(9 << 20);
    upload(&client(), &repo(&fake.host, "app"), &bytes).await.unwrap();
    let ranges: Vec<String> = fake
        .seen()
        .iter()
        .filter(|seen| seen.method == Method::PATCH)
        .map(|seen| {
            let range = seen.header("content-range").unwrap().to_owned();
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            assert!(seen.body == bytes.slice(first..=last), "{range}");
            range
        })
        .collect();
    let mib = 1 << 20;
    let expected = [(0, 4 * mib), (4 * mib, 8 * mib), (6 * mib, 8 * mib), (8 * mib, 9 * mib)];
    assert_eq!(ranges, expected.map(|(first, end)| format!("{first}-{}", end - 1)));
    let put = fake.seen().into_iter().find(|seen| seen.method == Method::PUT).unwrap();
    assert!(put.body.is_empty() && put.path.contains("state=x&digest=sha256%3A"), "{}", put.path);
}

#[tokio::test]
async fn a_registry_that_stores_nothing_is_given_up() {
    let fake = Fake::start(|seen| {
        Act::Answer(match seen.method {
            Method::POST => say_with(StatusCode::ACCEPTED, &[("location", "/v2/app/blobs/uploads/1")], ""),
            _ => say(StatusCode::NOT_FOUND, ""),
        })
    })
    .await;
    let error = upload(&client(), &repo(&fake.host, "app"), &noise(1000)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(fake.count(&Method::PUT, "/uploads/") <= 7);
}

#[tokio::test]
async fn downloads_go_on_where_they_broke_off() {
    for ranges in [true, false] {
        let bytes = noise(3 << 20);
        let whole = bytes.clone();
        let fake = Fake::start(move |seen| {
            let asked =
                seen.header("range").map(|text| text.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap());
            let first: usize = asked.map_or(0, |first| first.parse().unwrap());
            let first = if ranges { first } else { 0 };
            let rest = whole.slice(first..);
            let part = rest.slice(..rest.len().min((1 + seen.earlier) << 20));
            let mut response = if part.len() < rest.len() {
                broken_off(StatusCode::OK, rest.len(), part)
            } else {
                say(StatusCode::OK, rest)
            };
            if first > 0 {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {first}-{}/{}", whole.len() - 1, whole.len());
                response.headers_mut().insert("content-range", range.parse().unwrap());
            }
            Act::Answer(response)
        })
        .await;
        let got = download(&client(), &repo(&fake.host, "app"), &BlobDigest::of(&bytes)).await.unwrap();
        assert!(got == bytes, "ranges: {ranges}");
        assert!(fake.seen().len() >= 2 && fake.seen()[1].header("range").is_some());
    }
}

#[tokio::test]
async fn downloads_that_vanish_or_grow_end_in_an_error() {
    let vanished = AtomicBool::new(false);
    let fake = Fake::start(move |_| {
        Act::Answer(if vanished.swap(true, Ordering::SeqCst) {
            say(StatusCode::NOT_FOUND, "")
        } else {
            broken_off(StatusCode::OK, 100, Bytes::from_static(b"half"))
        })
    })
    .await;
    let digest = BlobDigest::of(b"x");
    let error = download(&client(), &repo(&fake.host, "app"), &digest).await.unwrap_err();
    assert!(error.contains("404"), "{error}");

    let fake = Fake::start(|seen| {
        Act::Answer(if seen.header("range").is_some() {
            say_with(StatusCode::PARTIAL_CONTENT, &[("content-range", "bytes 90-99/100")], Bytes::from(vec![0; 10]))
        } else {
            broken_off(StatusCode::OK, 100, Bytes::from_static(b"half"))
        })
    })
    .await;
    let error = download(&client(), &repo(&fake.host, "app"), &digest).await.unwrap_err();
    assert!(error.contains("went on at 90"), "{error}");
}

#[tokio::test]
async fn a_blob_that_is_there_is_not_sent() {
    let fake = Fake::start(|seen| {
        assert_eq!(seen.method, Method::HEAD);
        Act::Answer(say_with(StatusCode::OK, &[("content-length", "4")], ""))
    })
    .await;
    let digest = client().put_blob(&repo(&fake.host, "app"), Bytes::from_static(b"blob")).await.unwrap();
    assert_eq!(digest, BlobDigest::of(b"blob"));
    let large = client().put_blob(&repo(&fake.host, "app"), noise((8 << 20) + 1)).await.unwrap_err();
    assert!(matches!(large, RegistryError::Refused(_)), "{large}");
    assert_eq!(fake.seen().len(), 1);
}
