//! A server of git's smart protocol on loopback: `git http-backend` behind a few lines of HTTP.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use slipway_process::child;

/// Serves the repositories below a directory until it is dropped with the process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Requests that were answered.
    pub(crate) requests: Arc<AtomicUsize>,
}

impl Server {
    /// `login`: what `Authorization` must say.
    pub(crate) fn start(root: &Path, login: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let (root, login, counted) = (root.to_owned(), login.map(str::to_owned), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                answer(stream, &root, login.as_deref());
            }
        });
        Self { address, requests }
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

fn answer(mut stream: TcpStream, root: &Path, login: Option<&str>) {
    let Some(request) = read(&stream) else { return };
    if login.is_some_and(|login| request.header("Authorization") != login) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\
                       Connection: close\r\n\r\n";
        stream.write_all(refusal.as_bytes()).expect("answer");
        return;
    }
    let output = backend(&request, root.to_owned());
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let length = output.len() - split - 4;
    let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // A client that has enough closes early.
    drop(stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&output[split + 4..])));
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut request = Request { method, path, query, headers, body: Vec::new() };
    let length = request.header("Content-Length").parse().unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body).ok()?;
    Some(request)
}

fn backend(request: &Request, root: PathBuf) -> Vec<u8> {
    let mut running = child::command("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_TYPE", request.header("Content-Type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", request.header("Content-Encoding"))
        .env("HTTP_GIT_PROTOCOL", request.header("Git-Protocol"))
        .env("GIT_PROTOCOL", request.header("Git-Protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git http-backend runs");
    running.stdin.take().expect("a pipe").write_all(&request.body).expect("a body");
    running.wait_with_output().expect("an answer").stdout
}
