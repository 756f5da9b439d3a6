//! A `docker-registry` of one test.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Stdio,
};

use slipway_process::child::command;
use tempfile::TempDir;

use crate::{Part, Server, require};

/// User that [`Setup::password`] lets in.
pub const USER: &str = "builder";
/// The password of [`USER`].
pub const PASSWORD: &str = "open sesame";
/// A line of an htpasswd file that says so.
const HTPASSWD: &str = "builder:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// How a registry is set up.
#[derive(Clone, Copy, Default, Debug)]
pub struct Setup {
    /// Only [`USER`] with [`PASSWORD`] is let in.
    pub password: bool,
    /// It speaks TLS, with a certificate that nobody trusts.
    pub tls: bool,
    /// Its addresses are without host, so that a proxy before it need not change them.
    pub relative: bool,
    /// It listens at all addresses of this machine, and is called by that of loopback.
    pub everywhere: bool,
}

/// A running registry on a port of loopback that the kernel chose. It is killed, and its files are removed, when this is
/// dropped.
pub struct Registry {
    server: Option<Server>,
    host: String,
    setup: Setup,
    directory: TempDir,
}

impl Registry {
    /// A registry that lets everyone in; `None`, said aloud, when this machine has none.
    ///
    /// # Panics
    /// When it does not come up, or is required and missing.
    pub fn start() -> Option<Self> {
        Self::with(Setup::default())
    }

    /// A registry; `None`, said aloud, when this machine has none.
    ///
    /// # Panics
    /// When it does not come up, or is required and missing.
    pub fn with(setup: Setup) -> Option<Self> {
        let parts: &[Part] = if setup.tls { &[Part::Registry, Part::Openssl] } else { &[Part::Registry] };
        if !require(parts) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path();
        if setup.password {
            fs::write(place.join("htpasswd"), HTPASSWD).expect("the password file can be written");
        }
        if setup.tls {
            make_certificate(place);
        }
        let mut server = serve(place, setup, if setup.everywhere { "0.0.0.0:0" } else { "127.0.0.1:0" });
        let listening = server.ready(listening_at);
        let host = listening.unwrap_or_else(|log| panic!("docker-registry does not start:\n{log}"));
        let port = host.rsplit(':').next().expect("a port");
        let host = format!("127.0.0.1:{port}");
        Some(Self { server: Some(server), host, setup, directory })
    }

    /// Kills the process and starts another on the same port and data.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.host.rsplit(':').next().expect("a port");
        let address = if self.setup.everywhere { format!("0.0.0.0:{port}") } else { self.host.clone() };
        let mut server = serve(self.directory.path(), self.setup, &address);
        let up = server.ready(|_| TcpStream::connect(&self.host).ok());
        up.unwrap_or_else(|log| panic!("docker-registry does not start again:\n{log}"));
        self.server = Some(server);
    }

    /// Kills the process: nobody answers until [`Registry::restart`].
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The process: its id, its log, and how to halt it.
    ///
    /// # Panics
    /// When it was killed.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the registry is up")
    }

    /// Where the registry keeps its files.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A Docker config with the right password, or with a wrong one.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn docker_config(&self, right: bool) -> PathBuf {
        let password = if right { PASSWORD } else { "wrong" };
        let text = format!(r#"{{"auths": {{"{}": {{"username": "{USER}", "password": "{password}"}}}}}}"#, self.host);
        let path = self.directory.path().join(format!("docker-{right}.json"));
        fs::write(&path, text).expect("the Docker config can be written");
        path
    }
}

fn serve(place: &Path, setup: Setup, address: &str) -> Server {
    let config = place.join("config.yml");
    fs::write(&config, configuration(&place.display().to_string(), setup, address)).expect("it can be written");
    let mut program = command("docker-registry");
    program.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
    Server::start(&mut program, &place.join("log"))
}

fn configuration(place: &str, setup: Setup, address: &str) -> String {
    let mut text = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
         storage: {{filesystem: {{rootdirectory: {place}/data}}, delete: {{enabled: true}}}}\n"
    );
    if setup.password {
        text += &format!("auth: {{htpasswd: {{realm: test, path: {place}/htpasswd}}}}\n");
    }
    text += &format!("http:\n  addr: {address}\n  relativeurls: {}\n", setup.relative);
    if setup.tls {
        text += &format!("  tls: {{certificate: {place}/cert.pem, key: {place}/key.pem}}\n");
    }
    text
}

fn make_certificate(place: &Path) {
    let made = command("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(place)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
}

/// The address that the registry says it listens at.
fn listening_at(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':' | '[' | ']'))?;
    Some(rest[..end].to_owned())
}
