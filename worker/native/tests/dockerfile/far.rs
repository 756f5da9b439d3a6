//! `ADD` of files of the web and of git repositories, from servers on loopback.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ImageBuilder as _, ImageStore as _,
    conformance::{archive, build_of, collect},
};
use slipway_native::{Addresses, limits::Limits, network::Commands};
use slipway_parts::{Part, require};
use slipway_process::{Environment, child::command, random_id};
use tokio::sync::mpsc;

use crate::{git_server, judge::Judge, listing, parts::Native};

/// A server of a few files.
struct Web {
    port: u16,
    asked: Arc<AtomicUsize>,
    /// By path: a body, or with `to:` in front where it is redirected.
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Web {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let web = Self { port, asked: Arc::default(), files: Arc::default() };
        let (asked, files) = (Arc::clone(&web.asked), Arc::clone(&web.files));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let path = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
                let found = files.lock().expect("a lock").get(&path).cloned();
                let (status, header, body) = match found {
                    None => ("404 Not Found", String::new(), Vec::new()),
                    Some(body) if body.starts_with(b"to:") => {
                        let to = String::from_utf8_lossy(&body[3..]).into_owned();
                        ("302 Found", format!("Location: {to}\r\n"), Vec::new())
                    }
                    Some(body) => ("200 OK", "Last-Modified: Sun, 13 Sep 2020 12:26:40 GMT\r\n".to_owned(), body),
                };
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        web
    }

    fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.files.lock().expect("a lock").insert(path.to_owned(), body.into());
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// A backend that may fetch from this host.
async fn near() -> Option<Native> {
    Native::made(None, Commands::Own, Limits::default(), Addresses::All).await
}

/// What comes of `FROM scratch` and some lines.
async fn made(native: &Native, lines: &str) -> Result<Vec<String>, BackendError> {
    let build = build_of(format!("far-{}", random_id()), &format!("FROM scratch\n{lines}\n"));
    let (logs, said) = mpsc::channel(16);
    let making = native.backend.dockerfile(build, archive(&[]), logs);
    let (image, _) = tokio::join!(making, collect(said));
    let (_, stream) = native.backend.files(&image?, "/").await.expect("files");
    let bytes: Vec<_> = stream.try_collect().await.expect("files");
    Ok(listing::trees(&bytes.concat(), Some("all")).remove("all").unwrap_or_default())
}

/// Builders of others that reach servers of this host, too.
struct Judges {
    engine: Option<Judge>,
    newer: Option<Judge>,
}

impl Judges {
    fn start() -> Self {
        let program = Environment::from_process().non_empty("SLIPWAY_TEST_BUILDKITD").map(str::to_owned);
        let engine = require(&[Part::Docker]).then(|| Judge::engine(true));
        Self { engine, newer: program.map(|program| Judge::buildkitd(&program)) }
    }

    /// Holds what is expected of a line against those that know it; `None` = it fails.
    fn hold<T: AsRef<str>>(&self, line: &str, expected: Option<&[T]>) {
        let is_newer = [".git", "--checksum", "--chmod", "--link", "--unpack"].iter().any(|part| line.contains(part));
        // Files of a repository have the time of their commit here, that of the checkout there.
        let mark = if line.contains(".git") { " dated" } else { "" };
        for judge in self.engine.iter().filter(|_| !is_newer).chain(&self.newer) {
            let answer = judge.listed(line);
            let expected = expected.map(|lines| {
                lines.iter().map(|line| line.as_ref().trim_end_matches(mark).to_owned()).collect::<Vec<_>>()
            });
            let same = match &expected {
                Some(lines) => answer.as_ref() == Ok(lines),
                None => answer.is_err(),
            };
            assert!(same, "{line}: {} makes {answer:#?}, not {expected:#?}", judge.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_near_is_not_fetched() {
    let Some(native) = Native::start().await else { return };
    let web = Web::start();
    web.put("/f", "f");
    let port = web.port;
    for address in [
        web.at("/f"),
        format!("http://localhost:{port}/f"),
        format!("http://2130706433:{port}/f"),
        format!("http://[::ffff:127.0.0.1]:{port}/f"),
        format!("http://0:{port}/f"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://127.0.0.1:{port}/r.git#main"),
        format!("http://localhost:{port}/r.git"),
        "git@localhost:r.git".to_owned(),
        "ssh://git@127.0.0.1/r".to_owned(),
    ] {
        let error = made(&native, &format!("ADD {address} /x")).await.expect_err(&address);
        assert!(!error.is_retryable(), "{address}: {error:?}");
        assert!(error.to_string().contains("--allow-near-addresses"), "{address}: {error}");
    }
    assert_eq!(web.asked.load(Ordering::SeqCst), 0);
    native.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_web_come_as_they_are() {
    let Some(native) = near().await else { return };
    let web = Web::start();
    web.put("/d/f.txt?v=1", "hello\n");
    web.put("/here", format!("to:{}", web.at("/d/f.txt?v=1")));
    let tar: Vec<_> = archive(&[slipway_backend::conformance::file("in", "in\n")]).try_collect().await.expect("bytes");
    web.put("/t.tar", tar.concat());
    let (file, sum) =
        (web.at("/d/f.txt?v=1"), "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    let cases = [
        (format!("ADD {file} /x/"), vec!["d 0755 0:0 x", "f 0600 0:0 x/f.txt hello\\n dated"]),
        (format!("ADD {file} /x"), vec!["f 0600 0:0 x hello\\n dated"]),
        (format!("ADD {} /x/", web.at("/here")), vec!["d 0755 0:0 x", "f 0600 0:0 x/here hello\\n dated"]),
        (format!("ADD --chmod=0751 --chown=3:4 {file} /x"), vec!["f 0751 3:4 x hello\\n dated"]),
        (format!("ADD --checksum={sum} {file} /x"), vec!["f 0600 0:0 x hello\\n dated"]),
        (format!("ADD --link {file} /x"), vec!["f 0600 0:0 x hello\\n dated"]),
        (format!("ADD --unpack=true {} /x/", web.at("/t.tar")), vec!["d 0755 0:0 x", "f 0644 0:0 x/in in\\n dated"]),
    ];
    let judges = Judges::start();
    for (line, expected) in cases {
        let lines = made(&native, &line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(lines, expected, "{line}");
        judges.hold(&line, Some(&expected));
    }
    let whole = made(&native, &format!("ADD {} /x/", web.at("/t.tar"))).await.expect("files");
    assert!(whole[1].starts_with("f 0600 0:0 x/t.tar "), "{whole:?}");
    // What has changed since is what comes.
    web.put("/d/f.txt?v=1", "changed\n");
    assert_eq!(made(&native, &format!("ADD {file} /x")).await.expect("files"), ["f 0600 0:0 x changed\\n dated"]);
    for (line, why) in [
        (format!("ADD --checksum={sum} {file} /x"), "--checksum says sha256:5891"),
        (format!("ADD {} /x", web.at("/none")), "404"),
        (format!("ADD {file} {} /x", web.at("/here")), "several sources"),
        (format!("COPY {file} /x"), "use ADD"),
    ] {
        let error = made(&native, &line).await.expect_err(&line);
        assert!(!error.is_retryable() && error.to_string().contains(why), "{line}: {error:?}");
        // What has this checksum they have by now; and one file is as good as another to them.
        if ["404", "use ADD"].contains(&why) {
            judges.hold::<&str>(&line, None);
        }
    }
    native.end().await;
}

/// A repository with a branch, a tag and a directory.
fn repository(home: &Path) -> String {
    let git = |arguments: &[&str]| {
        let mut call = command("git");
        call.current_dir(home).env("GIT_CONFIG_GLOBAL", "/dev/null").args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
        ]);
        let dates = [("GIT_COMMITTER_DATE", "1600000000 +0000"), ("GIT_AUTHOR_DATE", "1600000000 +0000")];
        let ended = call.envs(dates).args(arguments).output().expect("git");
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8_lossy(&ended.stdout).trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    fs::create_dir_all(home.join("sub")).expect("a directory");
    fs::write(home.join("sub/f"), "first\n").expect("a file");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["tag", "v1"]);
    fs::write(home.join("run"), "run\n").expect("a file");
    fs::set_permissions(home.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    std::os::unix::fs::symlink("sub", home.join("link")).expect("a link");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "second"]);
    git(&["rev-parse", "HEAD"])
}

#[tokio::test(flavor = "multi_thread")]
async fn git_repositories_are_checked_out() {
    if !require(&[Part::Git]) {
        return;
    }
    let Some(native) = near().await else { return };
    let home = tempfile::tempdir().expect("a directory");
    let head = repository(home.path());
    let server = git_server::Server::start(home.path(), None);
    let at = |rest: &str| format!("http://{}/.git{rest}", server.address);
    let all =
        ["d 0755 0:0 x", "d 0755 0:0 x/sub", "f 0644 0:0 x/sub/f first\\n dated", "f 0755 0:0 x/run run\\n dated"];
    let mut all: Vec<String> = all.iter().map(|line| (*line).to_owned()).collect();
    all.push("l 0777 0:0 x/link -> sub".to_owned());
    let old = ["d 0755 0:0 x", "d 0755 0:0 x/sub", "f 0644 0:0 x/sub/f first\\n dated"].map(str::to_owned);
    let only = ["d 0755 0:0 x", "f 0644 0:0 x/f first\\n dated"].map(str::to_owned);
    let judges = Judges::start();
    for (line, expected) in [
        (format!("ADD {} /x", at("")), all.as_slice()),
        (format!("ADD {} /x/", at("#main")), all.as_slice()),
        (format!("ADD {} /x", at(&format!("#{head}"))), all.as_slice()),
        (format!("ADD --checksum={head} {} /x", at("#main")), all.as_slice()),
        (format!("ADD {} /x", at("#v1")), old.as_slice()),
        (format!("ADD {} /x", at("#refs/tags/v1")), old.as_slice()),
        (format!("ADD {} /x", at("#main:sub")), only.as_slice()),
        (format!("ADD {} /x", at("#:link")), only.as_slice()),
    ] {
        assert_eq!(made(&native, &line).await.unwrap_or_else(|error| panic!("{line}: {error}")), expected, "{line}");
        judges.hold(&line, Some(expected));
    }
    let kept = made(&native, &format!("ADD --keep-git-dir=true {} /x", at("#main"))).await.expect("files");
    assert!(kept.iter().any(|line| line.contains(" x/.git/HEAD ")), "{kept:?}");
    for line in [
        format!("ADD {} /x", at("#none")),
        format!("ADD {} /x", at("#main:none")),
        format!("ADD {} /x", at("#main:../../etc")),
        format!("ADD --checksum={} {} /x", "0".repeat(40), at("#main")),
        format!("COPY {} /x", at("")),
    ] {
        let error = made(&native, &line).await.expect_err(&line);
        assert!(!error.is_retryable(), "{line}: {error:?}");
        judges.hold::<&str>(&line, None);
    }
    native.end().await;
}
