//! What BuildKit asks of us while it builds, whichever way the engine is reached.

use std::{path::Path, sync::Arc};

use slipway_backend::{
    BackendError, DockerfileBuild, ImageBuilder as _, ImageStore as _, LocalImage, Secrets, SshAgent,
    conformance::{Harness, Item, archive, build_of, collect, file},
};
use slipway_docker::BuilderChoice;
use slipway_parts::{Part, require};
use slipway_process::{Tasks, child::command};
use slipway_toolbox::{Places, Source};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

use crate::parts::Engine;

const TOKEN: &str = "open sesame, whoever you are";

fn secrets() -> Secrets {
    let mut secrets = Secrets::none();
    secrets.add("token", TOKEN.as_bytes().to_vec());
    secrets.add("key", b"-----BEGIN-----\nAAAABBBBCCCC\n\xff\0".to_vec());
    secrets
}

/// Builds; the context holds the Dockerfile.
async fn built(engine: &Engine, build: DockerfileBuild) -> (Result<LocalImage, BackendError>, Vec<String>) {
    let (logs, lines) = mpsc::channel(16);
    let context = archive(&[file("Dockerfile", &build.text)]);
    tokio::join!(engine.backend.dockerfile(build, context, logs), collect(lines))
}

async fn secrets_are_seen_and_leave_nothing(engine: &Engine) {
    let harness = Harness::new(&engine.backend, &engine.base);
    // Two steps that run beside each other tell a secret in pieces.
    let mount = "RUN --mount=type=secret,id=token,target=/t --mount=type=secret,id=key --mount=type=secret,id=none";
    let tell = "for i in 1 2 3; do busybox cut -c 1-9 /t | busybox tr -d '\\n'; busybox sleep 0.02; busybox cut -c 10- /t; \
                cat /run/secrets/key >&2; busybox base64 /t; done";
    let look =
        |name: &str| format!("busybox md5sum /t > /{name}; busybox ls /run/secrets >> /{name}; echo told-{name}");
    let base = engine.base_name();
    let step = |name: &str| format!("FROM {base} AS {name}\n{mount} {tell}; {}\n", look(name));
    let text = format!("{}{}FROM one\nCOPY --from=two /two /two\n", step("one"), step("two"));
    let (image, said) =
        built(engine, DockerfileBuild { secrets: secrets(), ..build_of(harness.attempt(), &text) }).await;
    let image = image.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    for name in ["one", "two"] {
        let seen = harness.text(&image, &format!("/{name}")).await;
        assert!(seen.ends_with("  /t\nkey\n"), "{seen}");
        assert!(said.contains(&format!("told-{name}")), "{said:?}");
    }
    let hidden = |text: &str| !["sesame", "whoever", "AAAA", "b3BlbiBz"].iter().any(|part| text.contains(part));
    assert!(said.iter().any(|line| line == "***") && said.iter().all(|line| hidden(line)), "{said:?}");
    let mut left = harness.items(&image, "/").await;
    left.retain(|item| item.path != "bin/busybox");
    assert!(left.iter().all(|item| hidden(&item.text)), "{left:?}");
    assert!(left.iter().all(|item| item.kind == 'd' || !item.path.starts_with("run/secrets/") || item.text.is_empty()));
    let history = engine.docker.image_history(image.id.as_str()).await.expect("a history");
    let config = engine.backend.config(&image).await.expect("a config");
    assert!(hidden(&format!("{history:?} {config:?}")));
    engine.backend.remove(&image).await.expect("it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_run_are_seen_and_leave_nothing() {
    let Some(engine) = Engine::start(BuilderChoice::BuildKit).await else { return };
    secrets_are_seen_and_leave_nothing(&engine).await;
    let harness = Harness::new(&engine.backend, &engine.base);
    let text = format!("FROM {}\nRUN echo 1\nRUN --mount=type=secret,id=absent,required echo 2\n", engine.base_name());
    let (refused, _) =
        built(&engine, DockerfileBuild { secrets: secrets(), ..build_of(harness.attempt(), &text) }).await;
    let refused = refused.expect_err("a secret is missing");
    assert!(refused.to_string().contains("(line 3): the image has no secret `absent`"), "{refused:?}");
    engine.end().await;
}

/// One that is ignored, not committed, or names a base by its digest.
#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_that_is_not_in_its_context_has_secrets_too() {
    let Some(engine) = Engine::start(BuilderChoice::BuildKit).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    let large = "0123456789abcdef".repeat(40_000);
    let mut items = vec![file("large", &large), file("ein/ümlaut", "x"), file(".dockerignore", "*.no")];
    // More than what the engine asks for at once.
    items.extend((0..6000).map(|number| file(&format!("many/{}/{number}", number % 7), &number.to_string())));
    items.push(Item { mode: 0o755, ..file("tool", "#!/bin/sh\n") });
    items.push(Item { kind: 'l', text: "large".to_owned(), ..file("link", "") });
    let run = "RUN --mount=type=secret,id=token busybox md5sum < /run/secrets/token > /sum; busybox find /c -type f | busybox wc -l > /count";
    let text = format!("FROM {}\nCOPY . /c\nCOPY .dockerignore /alone\n{run}\n", engine.base_name());
    let build = DockerfileBuild { secrets: secrets(), ..build_of(harness.attempt(), &text) };
    let (logs, lines) = mpsc::channel(16);
    let (image, said) = tokio::join!(engine.backend.dockerfile(build, archive(&items), logs), collect(lines));
    let image = image.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    // All of it, and no Dockerfile.
    assert_eq!(harness.text(&image, "/count").await, "6004\n");
    assert_eq!(harness.text(&image, "/c/large").await, large);
    assert_eq!(harness.text(&image, "/c/many/3/3349").await, "3349");
    assert_eq!(harness.text(&image, "/alone").await, "*.no");
    let all = harness.items(&image, "/c").await;
    let of = |path: &str| all.iter().find(|item| item.path == path).unwrap_or_else(|| panic!("{path}"));
    assert_eq!((of("tool").mode, of("link").kind, of("link").text.as_str()), (0o755, 'l', "large"));
    assert_eq!((of("ein/ümlaut").owner, of("many/3").kind), ((0, 0), 'd'));
    // Other contents of the same sizes and times are not taken for the ones before.
    let other = large.replace('0', "x");
    items[0] = file("large", &other);
    let (logs, lines) = mpsc::channel(16);
    let build = DockerfileBuild { secrets: secrets(), ..build_of(harness.attempt(), &text) };
    let (second, said) = tokio::join!(engine.backend.dockerfile(build, archive(&items), logs), collect(lines));
    let second = second.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(harness.text(&second, "/c/large").await, other);
    for image in [image, second] {
        engine.backend.remove(&image).await.expect("it goes");
    }
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_classic_builder_has_no_secrets_and_says_so() {
    let Some(engine) = Engine::start(BuilderChoice::Classic).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    for kind in ["secret", "ssh"] {
        let text = format!("FROM {}\nRUN --mount=type={kind},id=token echo 1\n", engine.base_name());
        let (refused, _) = built(&engine, build_of(harness.attempt(), &text)).await;
        let expected = format!("(line 2): RUN --mount=type={kind} needs BuildKit");
        let refused = refused.expect_err("there are no secrets");
        assert!(!refused.is_retryable() && refused.to_string().contains(&expected), "{refused:?}");
    }
    engine.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_reached_by_its_ids_alone() {
    let Some(engine) = Engine::start(BuilderChoice::BuildKit).await else { return };
    let harness = Harness::new(&engine.backend, &engine.base);
    let home = tempfile::tempdir().expect("a directory");
    let socket = home.path().join("agent");
    // What it says is for ssh itself to understand; see the whole-program tests.
    let _agent = UnixListener::bind(&socket).expect("a socket");
    let with = |text: String| DockerfileBuild {
        agent: Some(SshAgent { socket: socket.clone(), ids: vec!["default".to_owned(), "own".to_owned()] }),
        ..build_of(harness.attempt(), &text)
    };
    let name = engine.base_name();
    let look = "busybox test -S $SSH_AUTH_SOCK && echo there";
    let text = format!("FROM {name}\nRUN --mount=type=ssh {look}\nRUN --mount=type=ssh,id=own {look}\n");
    let (image, said) = built(&engine, with(text)).await;
    let image = image.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(said.iter().filter(|line| *line == "there").count(), 2, "{said:?}");
    engine.backend.remove(&image).await.expect("it goes");
    let text = format!("FROM {name}\nRUN --mount=type=ssh,id=other,required {look}\n");
    let (refused, _) = built(&engine, with(text)).await;
    let refused = refused.expect_err("nobody is called so");
    assert!(!refused.is_retryable() && refused.to_string().contains("other"), "{refused:?}");
    engine.end().await;
}

/// Passes connections on to the engine's socket, in `tasks`; answers the address.
async fn passing_on(tls: Option<TlsAcceptor>, tasks: &Tasks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let own = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            own.spawn(async move {
                let mut engine = UnixStream::connect("/var/run/docker.sock").await.expect("the engine");
                match tls {
                    None => pass(stream, &mut engine).await,
                    Some(tls) => pass(tls.accept(stream).await.expect("a handshake"), &mut engine).await,
                }
            });
        }
    });
    format!("tcp://127.0.0.1:{port}")
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, engine: &mut UnixStream) {
    // Either side may end it at any time.
    drop(tokio::io::copy_bidirectional(&mut stream, engine).await);
}

async fn secrets_by(tls: Option<TlsAcceptor>, certificates: Option<&Path>) {
    let tasks = Tasks::new();
    let at = (Some(passing_on(tls, &tasks).await), certificates.map(Path::to_owned));
    let toolbox = Source::Own(Places::new(Vec::new()));
    let Some(engine) = Engine::start_at(BuilderChoice::BuildKit, toolbox, at).await else { return };
    secrets_are_seen_and_leave_nothing(&engine).await;
    engine.end().await;
    tasks.token().cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_tcp_has_secrets_too() {
    secrets_by(None, None).await;
}

fn openssl(directory: &Path, arguments: &str) {
    let output = command("openssl").args(arguments.split(' ')).current_dir(directory).output().expect("openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and certificates of it for the engine and for us, under the names that Docker gives them.
fn certificates(directory: &Path) {
    std::fs::write(directory.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    std::fs::write(directory.join("cert.ext"), "extendedKeyUsage=clientAuth\n").expect("a file");
    openssl(directory, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem");
    for (name, key) in [("server", "server.key"), ("cert", "key.pem")] {
        openssl(directory, &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {key} -out {name}.csr"));
        let signed =
            format!("-in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile {name}.ext -out {name}.pem");
        openssl(directory, &format!("x509 -req -days 2 {signed}"));
    }
}

/// TLS that only clients with a certificate of the authority get through.
fn acceptor(directory: &Path) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let authority = CertificateDer::from_pem_file(directory.join("ca.pem")).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("an authority");
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let own = CertificateDer::from_pem_file(directory.join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).expect("a key");
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_client_cert_verifier(clients.build().expect("a verifier"));
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![own], key).expect("a config")))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_tls_has_secrets_too() {
    if !require(&[Part::Openssl]) {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    certificates(home.path());
    secrets_by(Some(acceptor(home.path())), Some(home.path())).await;
}
