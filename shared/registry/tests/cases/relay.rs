//! Blobs from one registry to another: requests that lose their way, registries that take less than they are sent, sources
//! that break off.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Method, StatusCode};
use slipway_oci::{BlobDigest, Repo};
use slipway_parts::Registry;
use slipway_process::Tasks;
use slipway_registry::{Client, CopyError, Options, RegistryError, Vendor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
};

use super::{
    client, download,
    fake::{Act, Fake, Seen, broken_off, say, say_with},
    noise, repo,
};

const MIB: usize = 1 << 20;

/// A registry that only has this blob, and gives it from anywhere on.
async fn shelf(bytes: &Bytes) -> Fake {
    let bytes = bytes.clone();
    Fake::start(move |seen| Act::Answer(from_shelf(&bytes, seen))).await
}

fn from_shelf(bytes: &Bytes, seen: &Seen) -> axum::response::Response {
    let first = seen.header("range").map(|text| text.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap());
    let Some(first) = first else { return say(StatusCode::OK, bytes.clone()) };
    let first: usize = first.parse().unwrap();
    let range = format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len());
    say_with(StatusCode::PARTIAL_CONTENT, &[("content-range", &range)], bytes.slice(first..))
}

/// What a registry has of one upload, which it can tell at any time.
#[derive(Default)]
struct Session(Mutex<Vec<u8>>);

impl Session {
    fn act(&self, seen: &Seen) -> Act {
        self.take(seen, usize::MAX)
    }

    /// Takes at most so much of a chunk.
    fn take(&self, seen: &Seen, most: usize) -> Act {
        let mut held = self.0.lock().unwrap();
        let location = ("location", "/v2/app/blobs/uploads/1?state=x");
        Act::Answer(match seen.method {
            Method::POST => {
                held.clear();
                say_with(StatusCode::ACCEPTED, &[location], "")
            }
            Method::PATCH => {
                let first = seen.header("content-range").map(|range| range.split('-').next().unwrap().parse().unwrap());
                if first.is_some_and(|first: usize| first != held.len()) {
                    return Act::Answer(say(StatusCode::RANGE_NOT_SATISFIABLE, ""));
                }
                held.extend_from_slice(&seen.body[..most.min(seen.body.len())]);
                progress(StatusCode::ACCEPTED, location, held.len())
            }
            Method::GET => progress(StatusCode::NO_CONTENT, location, held.len()),
            Method::PUT => {
                held.extend_from_slice(&seen.body);
                let right = seen.path.ends_with(&BlobDigest::of(&held).to_string().replace(':', "%3A"));
                let complaint = r#"{"errors":[{"code":"DIGEST_INVALID","message":"digest did not match"}]}"#;
                say(if right { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }, complaint)
            }
            Method::DELETE => say(StatusCode::NO_CONTENT, ""),
            _ => say(StatusCode::NOT_FOUND, ""),
        })
    }
}

fn progress(status: StatusCode, location: (&str, &str), length: usize) -> axum::response::Response {
    say_with(status, &[location, ("range", &format!("0-{}", length.saturating_sub(1)))], "")
}

/// The bytes of each chunk that a registry was sent.
fn chunks(fake: &Fake) -> Vec<(usize, usize)> {
    let seen = fake.seen().into_iter().filter(|seen| seen.method == Method::PATCH);
    let ranges = seen.map(|seen| {
        let (first, last) = seen.header("content-range").unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(seen.header("content-length"), Some((last - first + 1).to_string().as_str()));
        (first, last + 1)
    });
    ranges.collect()
}

async fn send(from: &Fake, to: &str, bytes: &Bytes) -> Result<(), CopyError> {
    client().send_blob(&repo(&from.host, "base"), &repo(to, "app"), &BlobDigest::of(bytes)).await
}

#[tokio::test]
async fn requests_grow_and_hold_nothing_that_a_registry_would_miss() {
    for (size, expected) in [
        (1000, vec![]),
        (4 * MIB, vec![(0, 4 * MIB)]),
        (4 * MIB + 1, vec![(0, 4 * MIB + 1)]),
        (90 * MIB, vec![(0, 16 * MIB), (16 * MIB, 80 * MIB), (80 * MIB, 90 * MIB)]),
    ] {
        let bytes = noise(size);
        let (from, held) = (shelf(&bytes).await, Arc::new(Session::default()));
        let session = Arc::clone(&held);
        let to = Fake::start(move |seen| session.act(seen)).await;
        send(&from, &to.host, &bytes).await.unwrap();
        assert!(*held.0.lock().unwrap() == bytes, "{size}");
        assert_eq!(chunks(&to), expected, "{size}");
        assert_eq!((from.seen().len(), to.count(&Method::PUT, "/uploads/1")), (1, 1), "{size}");
    }
}

#[tokio::test]
async fn one_loss_of_any_kind_between_two_registries() {
    let Some(registry) = Registry::start() else { return };
    let cases = [(Method::POST, 0, 5), (Method::PATCH, 0, 5), (Method::PATCH, 1, 17), (Method::PUT, 0, 5)];
    for (number, (method, which, size)) in cases.into_iter().enumerate() {
        let bytes = noise(size * MIB);
        let from = shelf(&bytes).await;
        for answer_only in [false, true] {
            let (count, method) = (AtomicUsize::new(0), method.clone());
            let fake = Fake::before(Some(registry.host()), move |seen| {
                if !seen.is(&method, "/uploads/") || count.fetch_add(1, Ordering::SeqCst) != which {
                    return Act::Pass;
                }
                let status = StatusCode::SERVICE_UNAVAILABLE;
                if answer_only { Act::PassAndSay(status) } else { Act::Answer(say(status, "")) }
            })
            .await;
            let to = repo(&fake.host, &format!("app-{number}-{answer_only}"));
            let digest = BlobDigest::of(&bytes);
            let sent = client().send_blob(&repo(&from.host, "base"), &to, &digest).await;
            sent.unwrap_or_else(|error| panic!("{number} {answer_only}: {error}"));
            assert!(download(&client(), &to, &digest).await.unwrap() == bytes, "{number} {answer_only}");
        }
    }
}

#[tokio::test]
async fn an_upload_goes_on_where_the_registry_says_and_the_source_is_read_from_there() {
    let bytes = noise(20 * MIB);
    let (from, held) = (shelf(&bytes).await, Arc::new(Session::default()));
    let session = Arc::clone(&held);
    let to = Fake::start(move |seen| match (&seen.method, seen.earlier) {
        // Takes a part, and fails.
        (&Method::PATCH, 0) => {
            session.take(seen, 5 * MIB);
            Act::Answer(say(StatusCode::BAD_GATEWAY, ""))
        }
        // Takes a part, and says so.
        (&Method::PATCH, 1) => session.take(seen, 2 * MIB),
        _ => session.act(seen),
    })
    .await;
    send(&from, &to.host, &bytes).await.unwrap();
    assert!(*held.0.lock().unwrap() == bytes);
    assert_eq!(chunks(&to), [(0, 16 * MIB), (5 * MIB, 20 * MIB), (7 * MIB, 20 * MIB)]);
    let read: Vec<Option<String>> = from.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    let from_there = |position: usize| Some(format!("bytes={position}-"));
    assert_eq!(read, [None, from_there(5 * MIB), from_there(7 * MIB)]);
}

#[tokio::test]
async fn a_token_that_expires_between_two_requests_is_renewed() {
    let bytes = noise(20 * MIB);
    let (from, session) = (shelf(&bytes).await, Session::default());
    let issued = AtomicUsize::new(0);
    let to = Fake::start(move |seen| {
        if seen.path.starts_with("/token") {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            return Act::Answer(say(StatusCode::OK, format!(r#"{{"token":"{number}","expires_in":300}}"#)));
        }
        let bearer = seen.header("authorization").and_then(|text| text.strip_prefix("Bearer ")?.parse::<usize>().ok());
        // The first one is good for the first request.
        let late = match seen.method {
            Method::POST => false,
            Method::PATCH => seen.earlier > 0,
            _ => true,
        };
        match bearer {
            Some(number) if number > 0 || !late => session.act(seen),
            Some(_) | None => {
                let challenge =
                    format!(r#"Bearer realm="http://{}/token",service="test""#, seen.header("host").unwrap());
                Act::Answer(say_with(StatusCode::UNAUTHORIZED, &[("www-authenticate", &challenge)], "{}"))
            }
        }
    })
    .await;
    send(&from, &to.host, &bytes).await.unwrap();
    assert_eq!(chunks(&to), [(0, 16 * MIB), (16 * MIB, 20 * MIB), (16 * MIB, 20 * MIB)]);
    assert_eq!(to.count(&Method::GET, "/token"), 2);
}

#[tokio::test]
async fn who_may_not_push_is_told_so() {
    let bytes = noise(5 * MIB);
    let (from, session) = (shelf(&bytes).await, Session::default());
    let to = Fake::start(move |seen| match seen.method {
        Method::PATCH => Act::Answer(say(StatusCode::FORBIDDEN, r#"{"errors":[{"code":"DENIED","message":"quota"}]}"#)),
        _ => session.act(seen),
    })
    .await;
    let error = send(&from, &to.host, &bytes).await.unwrap_err();
    assert!(matches!(&error, CopyError::Target(RegistryError::Denied(why)) if why.contains("quota")), "{error}");
    assert_eq!(to.count(&Method::PATCH, ""), 2);
}

#[tokio::test]
async fn a_registry_that_takes_no_large_requests_gets_small_ones() {
    for status in [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::BAD_REQUEST, StatusCode::TEMPORARY_REDIRECT] {
        let bytes = noise(9 * MIB);
        let (from, held) = (shelf(&bytes).await, Arc::new(Session::default()));
        let session = Arc::clone(&held);
        let to = Fake::start(move |seen| {
            let large = seen.method == Method::PATCH && seen.body.len() > 4 * MIB;
            if large { Act::Answer(say(status, "")) } else { session.act(seen) }
        })
        .await;
        send(&from, &to.host, &bytes).await.unwrap();
        assert!(*held.0.lock().unwrap() == bytes, "{status}");
        let expected = [(0, 9 * MIB), (0, 4 * MIB), (4 * MIB, 8 * MIB), (8 * MIB, 9 * MIB)];
        assert_eq!(chunks(&to), expected, "{status}");
        assert_eq!(to.count(&Method::DELETE, "/uploads/1"), 1, "{status}: the first upload is abandoned");
    }
}

#[tokio::test]
async fn services_get_requests_of_the_sizes_they_take() {
    let bytes = noise(21 * MIB);
    let from = shelf(&bytes).await;
    let four = |last: usize| (0..last).map(|n| (n * 4 * MIB, ((n + 1) * 4 * MIB).min(21 * MIB))).collect::<Vec<_>>();
    for (vendor, expected) in [
        (Vendor::Ecr, vec![(0, 10 * MIB), (10 * MIB, 20 * MIB), (20 * MIB, 21 * MIB)]),
        (Vendor::Ghcr, four(6)),
        (Vendor::Plain, vec![(0, 16 * MIB), (16 * MIB, 21 * MIB)]),
    ] {
        let (to, held) = of_vendor().await;
        with_vendor(&to, vendor)
            .send_blob(&repo(&from.host, "a"), &repo(&to.host, "app"), &BlobDigest::of(&bytes))
            .await
            .unwrap();
        assert!(*held.0.lock().unwrap() == bytes, "{vendor:?}");
        assert_eq!(chunks(&to), expected, "{vendor:?}");
    }
    let (to, held) = of_vendor().await;
    let client = with_vendor(&to, Vendor::Google);
    client.send_blob(&repo(&from.host, "a"), &repo(&to.host, "app"), &BlobDigest::of(&bytes)).await.unwrap();
    assert!(*held.0.lock().unwrap() == bytes);
    let all: Vec<Seen> = to.seen().into_iter().filter(|seen| seen.method == Method::PATCH).collect();
    assert!(all.len() == 1 && all[0].header("content-range").is_none(), "one request that is no chunk");
}

async fn of_vendor() -> (Fake, Arc<Session>) {
    let held = Arc::new(Session::default());
    let session = Arc::clone(&held);
    (Fake::start(move |seen| session.act(seen)).await, held)
}

fn with_vendor(fake: &Fake, vendor: Vendor) -> Client {
    Client::new(Options { vendors: vec![(fake.host.clone(), vendor)], ..Options::default() }).unwrap()
}

#[tokio::test]
async fn one_request_for_all_that_breaks_off_is_begun_again() {
    let bytes = noise(9 * MIB);
    let (from, session) = (shelf(&bytes).await, Session::default());
    let to = Fake::start(move |seen| match (&seen.method, seen.earlier) {
        (&Method::PATCH, 0) => Act::Answer(say(StatusCode::BAD_GATEWAY, "")),
        _ => session.act(seen),
    })
    .await;
    let client = with_vendor(&to, Vendor::Google);
    client.send_blob(&repo(&from.host, "a"), &repo(&to.host, "app"), &BlobDigest::of(&bytes)).await.unwrap();
    assert_eq!((to.count(&Method::POST, ""), to.count(&Method::PATCH, ""), from.seen().len()), (2, 2, 2));
}

#[tokio::test]
async fn a_source_that_vanishes_ends_the_upload() {
    let bytes = noise(9 * MIB);
    let half = bytes.slice(..5 * MIB);
    let vanished = AtomicBool::new(false);
    let from = Fake::start(move |_| {
        Act::Answer(if vanished.swap(true, Ordering::SeqCst) {
            say(StatusCode::NOT_FOUND, "")
        } else {
            broken_off(StatusCode::OK, 9 * MIB, half.clone())
        })
    })
    .await;
    let (to, _) = of_vendor().await;
    let error = send(&from, &to.host, &bytes).await.unwrap_err();
    assert!(matches!(error, CopyError::Source(RegistryError::NotFound(_))), "{error}");
    assert_eq!(to.count(&Method::DELETE, "/uploads/1"), 1);
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_the_sources_fault() {
    let from = shelf(&noise(9 * MIB)).await;
    let (to, _) = of_vendor().await;
    let digest = BlobDigest::of(b"something else");
    let error = client().send_blob(&repo(&from.host, "base"), &repo(&to.host, "app"), &digest).await.unwrap_err();
    assert!(
        matches!(&error, CopyError::Source(RegistryError::Corrupt(_))) && error.to_string().contains("digest"),
        "{error}"
    );
}

/// A way to a server that is cut once, when so many bytes have gone in a direction.
struct Way {
    host: String,
    tasks: Tasks,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    Up,
    Down,
}

impl Way {
    async fn to(server: &str, cut: Cut, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (tasks, server, whole) = (Tasks::new(), server.to_owned(), Arc::new(AtomicBool::new(true)));
        drop(tasks.spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let there = TcpStream::connect(&server).await.unwrap();
                let whole = Arc::clone(&whole);
                let passing = async move {
                    let ((mut up_from, mut down_to), (mut down_from, mut up_to)) =
                        (here.into_split(), there.into_split());
                    let limit = |way| if way == cut { after } else { usize::MAX };
                    tokio::select! {
                        () = pass(&mut up_from, &mut up_to, limit(Cut::Up), &whole) => {}
                        () = pass(&mut down_from, &mut down_to, limit(Cut::Down), &whole) => {}
                    }
                };
                drop(Tasks::new().spawn(passing));
            }
        }));
        Self { host, tasks }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

/// Passes bytes on until there are no more, or `limit` is reached while the way is `whole`.
async fn pass(from: &mut tcp::OwnedReadHalf, to: &mut tcp::OwnedWriteHalf, limit: usize, whole: &AtomicBool) {
    let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        passed += count;
        if (passed > limit && whole.swap(false, Ordering::SeqCst)) || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn connections_that_are_cut_on_either_side_are_replaced() {
    let (Some(one), Some(two)) = (Registry::start(), Registry::start()) else { return };
    let bytes = noise(20 * MIB);
    let digest = super::upload(&client(), &repo(one.host(), "base"), &bytes).await.unwrap();
    for (number, (source, target)) in
        [(0, 0), (7 * MIB, 0), (0, 7 * MIB), (0, 18 * MIB), (9 * MIB, 5 * MIB)].into_iter().enumerate()
    {
        let never = |after: usize| if after == 0 { usize::MAX } else { after };
        let from = Way::to(one.host(), Cut::Down, never(source)).await;
        let to = Way::to(two.host(), Cut::Up, never(target)).await;
        let app = Repo { host: to.host.clone(), path: format!("app-{number}") };
        client().send_blob(&repo(&from.host, "base"), &app, &digest).await.unwrap();
        assert!(download(&client(), &app, &digest).await.unwrap() == bytes, "{source} {target}");
    }
}
