//! Services that are spoken to in another way, as fakes that do what is published of them. None of this is verified against the services
//! themselves.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_oci::BlobDigest;
use slipway_parts::Registry;
use slipway_registry::{Client, Options, RegistryError, Vendor};

use super::{
    client, download,
    fake::{Act, Fake, Seen, say, say_with},
    noise, repo, upload,
};

fn client_of(vendor: Vendor, host: &str) -> Client {
    let user_agent = "slipway-test".to_owned();
    Client::new(Options { vendors: vec![(host.to_owned(), vendor)], user_agent, ..Options::default() }).unwrap()
}

/// Google's Artifact Registry takes a blob in one request, and no chunks.
#[tokio::test]
async fn what_takes_no_chunks_gets_one_request() {
    let Some(registry) = Registry::start() else { return };
    let refusing = |seen: &Seen| {
        let is_chunk = seen.header("content-range").is_some() || seen.earlier > 0;
        match seen.is(&Method::PATCH, "/uploads/") && is_chunk {
            true => Act::Answer(say(StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"UNSUPPORTED"}]}"#)),
            false => Act::Pass,
        }
    };
    let fake = Fake::before(Some(registry.host()), refusing).await;
    let client = client_of(Vendor::Google, &fake.host);
    for size in [0, 1000, 4 << 20, (4 << 20) + 1, 21 << 20] {
        let (app, bytes) = (repo(&fake.host, &format!("app-{size}")), noise(size));
        let digest = upload(&client, &app, &bytes).await.unwrap();
        assert!(download(&client, &app, &digest).await.unwrap() == bytes, "{size} bytes");
        let patches = fake.count(&Method::PATCH, &format!("/app-{size}/"));
        assert_eq!(patches, usize::from(size >= 4 << 20), "{size} bytes");
    }
    let refused = upload(&super::client(), &repo(&fake.host, "plain"), &noise(9 << 20)).await;
    assert!(refused.is_err(), "the fake takes no chunks");
}

#[tokio::test]
async fn a_blob_in_one_request_that_breaks_off_is_the_callers_to_send_again() {
    let Some(registry) = Registry::start() else { return };
    let failing = |seen: &Seen| match seen.is(&Method::PATCH, "/uploads/") {
        true => Act::Answer(say(StatusCode::BAD_GATEWAY, "")),
        false => Act::Pass,
    };
    let fake = Fake::before(Some(registry.host()), failing).await;
    let client = client_of(Vendor::Google, &fake.host);
    let error = upload(&client, &repo(&fake.host, "app"), &noise(30 << 20)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
}

/// ECR takes parts of 5 MiB and more, says 201 to each, and tells of the first one for ever.
#[tokio::test]
async fn what_does_not_tell_its_progress_is_believed_by_its_status() {
    let taken: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let parts = Arc::clone(&taken);
    let ecr = move |seen: &Seen| {
        let mut parts = parts.lock().unwrap();
        let session = [("location", "/v2/app/blobs/uploads/1")];
        Act::Answer(match seen.method {
            Method::POST => say_with(StatusCode::ACCEPTED, &session, ""),
            Method::PATCH if parts.last().is_some_and(|last| last.len() < 5 << 20) => {
                say(StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}"#)
            }
            Method::PATCH => {
                parts.push(seen.body.clone());
                let range = format!("0-{}", parts[0].len() - 1);
                say_with(StatusCode::CREATED, &[session[0], ("range", &range)], "")
            }
            Method::PUT => {
                parts.push(seen.body.clone());
                let whole = parts.concat();
                let digest = BlobDigest::of(&whole).to_string().replace(':', "%3A");
                let right = seen.path.ends_with(&digest);
                say(if right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, "")
            }
            _ => say(StatusCode::NOT_FOUND, ""),
        })
    };
    let fake = Fake::start(ecr).await;
    let bytes = noise(33 << 20);
    upload(&client_of(Vendor::Ecr, &fake.host), &repo(&fake.host, "app"), &bytes).await.unwrap();
    assert!(taken.lock().unwrap().concat() == bytes);
    taken.lock().unwrap().clear();
    assert!(upload(&client(), &repo(&fake.host, "app"), &bytes).await.is_err(), "the fake tells nothing useful");
}
