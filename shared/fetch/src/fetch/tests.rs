//! Against a server on loopback, which names lead to as a test says.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, http::HeaderMap, response::Redirect, routing::get};
use futures::FutureExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::guard::Lookup;

/// A server, and how often it was asked.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let file = move || {
            count.fetch_add(1, Ordering::SeqCst);
            async { ([("last-modified", "Sun, 13 Sep 2020 12:26:40 GMT")], "hello\n") }
        };
        let to = |address: String| get(move || async move { Redirect::temporary(&address) });
        let router = Router::new()
            .route("/file", get(file))
            .route("/undated", get(async || "x"))
            .route("/here", to("/file".to_owned()))
            .route("/loop", to("/loop".to_owned()))
            .route("/near", to(format!("http://127.0.0.1:{port}/file")))
            .route("/named", to(format!("http://near.example:{port}/file")))
            .route("/metadata", to("http://169.254.169.254/latest/meta-data".to_owned()))
            .route("/disk", to("file:///etc/passwd".to_owned()))
            .route("/broken", get(async || (StatusCode::BAD_GATEWAY, "")))
            .route("/login", get(login));
        slipway_process::Tasks::new().spawn(async move { axum::serve(listener, router).await });
        Self { port, asked }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port)
    }
}

async fn login(headers: HeaderMap) -> String {
    headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// A fetcher to whom some names are known.
fn fetcher(addresses: Addresses, limits: Limits) -> Fetcher {
    let lookup: Lookup = Arc::new(|name| {
        let address = match name.as_str() {
            "near.example" | "localhost" => [127, 0, 0, 1],
            "metadata.example" => [169, 254, 169, 254],
            _ => return async { Err(io::Error::other("no such name")) }.boxed(),
        };
        async move { Ok(vec![IpAddr::from([93, 184, 216, 34]), IpAddr::from(address)]) }.boxed()
    });
    Fetcher::with(Guard::new(addresses.rule(), &Environment::default(), lookup), limits).expect("a fetcher")
}

async fn text(fetcher: &Fetcher, url: &str) -> Result<(String, Option<i64>), String> {
    let home = tempfile::tempdir().expect("a directory");
    let to = home.path().join("f");
    let fetched =
        fetcher.fetch(url, &to, &mut |_| async { Ok(()) }.boxed()).await.map_err(|error| error.to_string())?;
    assert_eq!(to.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&to).expect("text");
    assert_eq!(fetched.size, text.len() as u64);
    Ok((text, fetched.modified))
}

#[tokio::test]
async fn a_file_comes_with_its_time() {
    let server = Server::start().await;
    let fetcher = fetcher(Addresses::All, Limits::default());
    let at = |path: &str| server.url("127.0.0.1", path);
    let hello = ("hello\n".to_owned(), Some(1_600_000_000));
    assert_eq!(text(&fetcher, &at("/file?token=1")).await, Ok(hello.clone()));
    assert_eq!(text(&fetcher, &at("/here")).await, Ok(hello.clone()));
    assert_eq!(text(&fetcher, &at("/near")).await, Ok(hello));
    assert_eq!(text(&fetcher, &at("/undated")).await, Ok(("x".to_owned(), None)));
    let login = server.url("me:secret@127.0.0.1", "/login");
    assert_eq!(text(&fetcher, &login).await.expect("a login").0, "Basic bWU6c2VjcmV0");
}

#[tokio::test]
async fn what_is_near_is_not_spoken_to_however_it_is_named() {
    let server = Server::start().await;
    let far = fetcher(Addresses::Far, Limits::default());
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost", "near.example"] {
        let error = text(&far, &server.url(host, "/file")).await.expect_err(host);
        assert!(error.contains("it is refused") && error.contains("127.0.0.1"), "{host}: {error}");
    }
    for url in ["http://169.254.169.254/latest", "https://metadata.example/latest", "http://[fd00:ec2::254]/"] {
        let error = text(&far, url).await.expect_err(url);
        assert!(error.contains("it is refused"), "{url}: {error}");
    }
    assert!(far.addresses_of("near.example").await.is_err());
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_looked_at_like_the_first_address() {
    let server = Server::start().await;
    // All of 127.0.0.0/8 is this host; one address of it stands for a far one here.
    let lookup: Lookup = Arc::new(|name| {
        let last = if name == "near.example" { 1 } else { 2 };
        async move { Ok(vec![IpAddr::from([127, 0, 0, last])]) }.boxed()
    });
    let is_far = |address| address == IpAddr::from([127, 0, 0, 2]);
    let guard = Guard::new(is_far, &Environment::default(), lookup);
    let fetcher = Fetcher::with(guard, Limits::default()).expect("a fetcher");
    for host in ["far.example", "127.0.0.2"] {
        for (path, expected) in [
            ("/near", "`127.0.0.1` is an address of this host"),
            ("/named", "`near.example` is 127.0.0.1"),
            ("/metadata", "169.254.169.254"),
            ("/disk", "file://"),
            ("/loop", "more than 10 times"),
        ] {
            let error = text(&fetcher, &server.url(host, path)).await.expect_err(path);
            assert!(error.contains(expected), "{path}: {error}");
        }
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
    assert!(text(&fetcher, &server.url("far.example", "/here")).await.is_ok());
}

#[tokio::test]
async fn limits_and_failures_are_said_without_secrets() {
    let server = Server::start().await;
    let small = fetcher(Addresses::All, Limits { bytes: 5, ..Limits::default() });
    let cases = [
        (server.url("me:secret@127.0.0.1", "/file?key=secret"), "more than 5 bytes"),
        (server.url("me:secret@127.0.0.1", "/none?key=secret"), "404"),
        (server.url("127.0.0.1", "/broken"), "502"),
        ("http://me:secret@none.example/file?secret".to_owned(), "no such name"),
        ("ftp://me:secret@host/file?secret".to_owned(), "`ftp://host/file` is no address"),
        ("http://me:secret@/?secret".to_owned(), "no address"),
    ];
    for (url, expected) in cases {
        let error = text(&small, &url).await.expect_err(&url);
        assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
    }
}
