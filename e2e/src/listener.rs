//! A listener outside of the product, to which commands of stages report that they run.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::engine;

/// How long a report may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before an id: whether it was reported.
const AFTER: &str = "after/";

/// Takes reports from build containers; ends when dropped.
pub struct Listener {
    host: Ipv4Addr,
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<Mutex<bool>>,
}

impl Listener {
    /// Listens where containers of the engine's default network reach this host.
    ///
    /// # Errors
    /// When the engine has no such network.
    pub fn start() -> Result<Self> {
        let routes = engine::run(&["run", "--rm", engine::base_image(), "ip", "route"])?;
        let default = routes.lines().find_map(|route| route.strip_prefix("default via "));
        let host = default.and_then(|route| route.split_whitespace().next()).context("containers have no network")?;
        let host: Ipv4Addr = host.parse()?;
        let listener = TcpListener::bind((host, 0)).with_context(|| format!("listen at {host}"))?;
        let port = listener.local_addr()?.port();
        let (seen, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(false)));
        let (reports, end) = (Arc::clone(&seen), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if *end.lock().unwrap_or_else(PoisonError::into_inner) {
                    return;
                }
                if let Ok(stream) = stream {
                    let reports = Arc::clone(&reports);
                    // What breaks off is no report.
                    thread::spawn(move || drop(take(stream, &reports)));
                }
            }
        });
        Ok(Self { host, port, seen, ended })
    }

    /// A shell command that reports `id`, which is of letters, digits and dashes; it fails when nobody listens.
    pub fn report(&self, id: &str) -> String {
        format!("wget -q -O /dev/null http://{}:{}/{id}", self.host, self.port)
    }

    /// A shell command that waits until `id` is reported.
    pub fn wait_for(&self, id: &str) -> String {
        format!("until {}; do sleep 0.2; done", self.has(id))
    }

    /// A shell command that succeeds when `id` has been reported.
    pub fn has(&self, id: &str) -> String {
        format!("wget -q -O /dev/null http://{}:{}/{AFTER}{id}", self.host, self.port)
    }

    /// Reports `id` itself: who waits for it goes on.
    pub fn note(&self, id: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
    }

    /// How often each id was reported so far.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for id in self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *counts.entry(id.clone()).or_default() += 1;
        }
        counts
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        drop(TcpStream::connect((self.host, self.port)));
    }
}

fn take(mut stream: TcpStream, seen: &Mutex<Vec<String>>) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = vec![0; 4096];
    let length = stream.read(&mut head)?;
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let id = head.split_whitespace().nth(1).and_then(|path| path.strip_prefix('/')).context("a path")?;
    if let Some(id) = id.strip_prefix(AFTER) {
        let is_there = seen.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|known| known == id);
        let answer = if is_there { "200 OK" } else { "404 Not Found" };
        write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        return Ok(());
    }
    // Before it is answered: a command that goes on has been counted.
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(())
}
