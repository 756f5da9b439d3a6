//! An HTTP proxy in front of a registry or coordinator that does harm when it is told to.
//!
//! It takes one request per connection (every answer says `Connection: close`), so that each request meets the rule.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 1 << 16;
/// A connection on which nothing comes for this long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// A request, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path with its query.
    pub path: String,
    /// All lines of the request's head.
    pub head: String,
    /// How many requests came before.
    pub number: usize,
}

impl Request {
    /// Whether it is about manifests.
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }

    /// Whether it writes something.
    pub fn writes(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST" | "PATCH")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// It goes to the registry.
    Pass,
    /// It is answered here: status, more header lines, body.
    Answer(u16, String, Vec<u8>),
    /// The connection is closed.
    HangUp,
    /// It goes to the registry, which does it; its answer is lost.
    LoseAnswer,
}

type Rule = Box<dyn Fn(&Request) -> Action + Send>;

/// A running proxy; it ends when dropped.
pub struct Proxy {
    port: u16,
    rule: Arc<Mutex<Rule>>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy in front of `127.0.0.1:PORT` that passes everything.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_| Action::Pass)));
        let stopped = Arc::new(AtomicBool::new(false));
        let (rules, end, upstream) = (Arc::clone(&rule), Arc::clone(&stopped), upstream.to_owned());
        let count = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (rules, count, upstream) = (Arc::clone(&rules), Arc::clone(&count), upstream.clone());
                // What fails here is seen by the program under test.
                thread::spawn(move || drop(serve(client, &upstream, &rules, &count)));
            }
        });
        Ok(Self { port, rule, stopped })
    }

    /// From now on every request meets this rule.
    pub fn rule(&self, rule: impl Fn(&Request) -> Action + Send + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(rule);
    }

    /// From now on everything passes.
    pub fn heal(&self) {
        self.rule(|_| Action::Pass);
    }

    /// The address of a coordinator, through this proxy.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A repository of the registry, through this proxy.
    pub fn repo(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(mut client: TcpStream, upstream: &str, rule: &Mutex<Rule>, count: &AtomicUsize) -> Result<()> {
    client.set_read_timeout(Some(SILENCE))?;
    let (head, rest) = read_head(&mut client)?;
    let mut words = head.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().context("a method")?, words.next().context("a path")?);
    let request = Request { method, path, head: head.clone(), number: count.fetch_add(1, Ordering::SeqCst) };
    let action = rule.lock().unwrap_or_else(PoisonError::into_inner)(&request);
    match action {
        Action::HangUp => Ok(client.shutdown(Shutdown::Both)?),
        Action::Answer(status, headers, body) => {
            let length = body.len();
            write!(
                client,
                "HTTP/1.1 {status} Fault\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            )?;
            if request.method != "HEAD" {
                client.write_all(&body)?;
            }
            client.shutdown(Shutdown::Write)?;
            // Closing with unread bytes would reset the connection before the answer is read.
            client.set_read_timeout(Some(Duration::from_secs(2)))?;
            while client.read(&mut [0; 8192])? > 0 {}
            Ok(())
        }
        Action::Pass => pass(client, upstream, &head, &rest, false),
        Action::LoseAnswer => pass(client, upstream, &head, &rest, true),
    }
}

fn read_head(client: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes)?, rest));
        }
        let count = client.read(&mut chunk)?;
        if count == 0 || bytes.len() > MAX_HEAD {
            bail!("no request");
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
}

fn pass(client: TcpStream, upstream: &str, head: &str, rest: &[u8], lost: bool) -> Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    let is_kept = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:") && !line.is_empty();
    let lines: Vec<&str> = head.split("\r\n").filter(is_kept).collect();
    write!(server, "{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))?;
    server.write_all(rest)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
    let copied = match lost {
        true => std::io::copy(&mut server, &mut std::io::sink()),
        false => std::io::copy(&mut server, &mut &client),
    };
    client.shutdown(Shutdown::Both)?;
    copied?;
    Ok(())
}
