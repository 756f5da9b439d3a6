//! What a coordinator says of itself.

use std::time::Duration;

/// Whether the coordinator at this URL leads.
pub(super) fn is_leader(url: &str) -> bool {
    get(&format!("{url}/readyz")).is_some_and(|body| body.contains("\"leader\":true"))
}

/// Whether the coordinator at this URL knows that another one leads, and where.
pub(super) fn stands_by(url: &str) -> bool {
    let readiness = get(&format!("{url}/readyz")).unwrap_or_default();
    readiness.contains("\"leader\":false") && readiness.contains("\"url\":\"http")
}

/// Whether the coordinator at this URL knows that its store is away: it decides nothing any more.
pub(super) fn is_without_store(url: &str) -> bool {
    get(&format!("{url}/readyz")).is_some_and(|body| body.contains("the store by which a leader is found"))
}

/// A measurement, by its name and labels.
pub(super) fn measurement(url: &str, name: &str) -> Option<u64> {
    let page = get(&format!("{url}/metrics"))?;
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The body of an answer; `None` when there is none.
pub(super) fn get(url: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    runtime.block_on(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let ask = async {
            let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
            let head = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
        };
        tokio::time::timeout(Duration::from_secs(2), ask).await.ok().flatten()
    })
}
