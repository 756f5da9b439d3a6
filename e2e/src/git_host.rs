//! A host of git repositories on loopback: git's own programs behind https with a login, and behind ssh with a key that only an
//! agent has. `socat` listens; `sshd` is the real one.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use slipway_parts::Server;
use slipway_process::child;
use tempfile::TempDir;

/// The login of the web server.
const LOGIN: (&str, &str) = ("reader", "pass word/%");
/// Answers one request over http by git's own program.
const ANSWER: &str = r#"read -r method target version
while IFS= read -r line; line=${line%$'\r'}; [ -n "$line" ]; do
  value=${line#*: }
  case "${line,,}" in
    authorization:*) login=$value ;;
    content-encoding:*) export HTTP_CONTENT_ENCODING=$value ;;
    content-length:*) export CONTENT_LENGTH=$value ;;
    content-type:*) export CONTENT_TYPE=$value ;;
    git-protocol:*) export GIT_PROTOCOL=$value ;;
  esac
done
if [ "$login" != "Basic $WANTED" ]; then
  printf 'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="git"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
  exit
fi
export GIT_HTTP_EXPORT_ALL=1 REQUEST_METHOD=$method PATH_INFO=${target%%\?*} QUERY_STRING=
case "$target" in *\?*) QUERY_STRING=${target#*\?} ;; esac
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\n'
head -c "${CONTENT_LENGTH:-0}" | git http-backend
"#;

/// A running host; ended when dropped.
pub struct GitHost {
    dir: TempDir,
    /// Repositories are below it.
    root: PathBuf,
    https: (Server, u16),
    ssh: (Server, u16),
    agent: Server,
}

impl GitHost {
    /// A host of the repositories below `root`; `None`, said aloud, where a program for it is missing.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(root: &Path) -> Result<Option<Self>> {
        for (program, argument) in
            [("socat", "-V"), ("ssh-agent", "-h"), ("/usr/sbin/sshd", "-V"), ("openssl", "version")]
        {
            let tried = child::command(program).arg(argument).stdin(Stdio::null()).output();
            if tried.is_err() {
                slipway_parts::skip(
                    "git-host",
                    &format!("{program} is not installed: install socat and openssh-server"),
                );
                return Ok(None);
            }
        }
        let (dir, root) = (tempfile::tempdir()?, root.canonicalize()?);
        fs::write(dir.path().join("answer"), ANSWER)?;
        run(child::command("openssl").current_dir(dir.path()).args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ]))?;
        let https = https(dir.path(), &root)?;
        let agent = agent(dir.path())?;
        let ssh = ssh(dir.path())?;
        Ok(Some(Self { dir, root, https, ssh, agent }))
    }

    /// The address of a repository over https.
    pub fn https(&self, repository: &Path) -> String {
        format!("https://localhost:{}/{}", self.https.1, self.below(repository))
    }

    /// The address of a repository over ssh.
    pub fn ssh(&self, repository: &Path) -> String {
        format!("ssh://127.0.0.1:{}{}", self.ssh.1, repository.display())
    }

    /// What a user has set up who may read over both: a helper for the login, the agent, and the host's certificate and key.
    /// The password is nowhere else.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn variables(&self) -> Result<Vec<(String, String)>> {
        let (user, password) = LOGIN;
        let (config, helper) = (self.dir.path().join("gitconfig"), self.dir.path().join("helper"));
        let said = format!("#!/bin/sh\ntest \"$1\" = get && echo 'username={user}' && echo 'password={password}'\n");
        fs::write(&helper, said)?;
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o700))?;
        let text = format!("[credential]\n\thelper = {}\n[safe]\n\tdirectory = *\n", helper.display());
        fs::write(&config, text)?;
        let known = self.dir.path().join("known_hosts");
        let ssh = format!(
            "ssh -F none -o BatchMode=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes",
            known.display()
        );
        let place = |name: &str| self.dir.path().join(name).display().to_string();
        let pairs = [
            ("GIT_CONFIG_GLOBAL", config.display().to_string()),
            ("GIT_SSL_CAINFO", place("cert.pem")),
            ("SSH_AUTH_SOCK", place("agent")),
            ("GIT_SSH_COMMAND", ssh),
        ];
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The password of the login.
    pub fn password(&self) -> &'static str {
        LOGIN.1
    }

    /// Takes the key out of the agent: whoever comes by ssh is refused from now on.
    pub fn lock_out(&self) {
        let forgotten =
            child::command("ssh-add").arg("-D").env("SSH_AUTH_SOCK", self.dir.path().join("agent")).output();
        assert!(forgotten.is_ok_and(|output| output.status.success()), "{}", self.agent.log());
    }

    fn below(&self, repository: &Path) -> String {
        let real = repository.canonicalize().unwrap_or_else(|_| repository.to_owned());
        real.strip_prefix(&self.root).unwrap_or(&real).display().to_string()
    }
}

/// Listens with TLS.
fn https(dir: &Path, root: &Path) -> Result<(Server, u16)> {
    let (user, password) = LOGIN;
    let login = child::command("openssl").args(["base64", "-A"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut login = login?;
    std::io::Write::write_all(&mut login.stdin.take().context("a pipe")?, format!("{user}:{password}").as_bytes())?;
    let login = String::from_utf8(login.wait_with_output()?.stdout)?;
    let place = |name: &str| dir.join(name).display().to_string();
    let listen =
        format!("OPENSSL-LISTEN:0,bind=127.0.0.1,fork,verify=0,cert={},key={}", place("cert.pem"), place("key.pem"));
    let answer = format!("EXEC:/bin/bash {}", place("answer"));
    let mut socat = child::command("socat");
    socat.args(["-d", "-d", "-t", "30", &listen, &answer]).env("WANTED", login.trim()).env("GIT_PROJECT_ROOT", root);
    socat.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    listening(&mut socat, &dir.join("https.log"))
}

/// An agent with a key that is in no file any more.
fn agent(dir: &Path) -> Result<Server> {
    let socket = dir.join("agent");
    let mut server =
        Server::start(child::command("ssh-agent").arg("-D").arg("-a").arg(&socket), &dir.join("agent.log"));
    server.ready(|_| socket.exists().then_some(())).map_err(anyhow::Error::msg)?;
    let key = dir.join("user");
    run(child::command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    run(child::command("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket))?;
    fs::remove_file(&key)?;
    Ok(server)
}

/// The real `sshd`, started for each connection.
fn ssh(dir: &Path) -> Result<(Server, u16)> {
    let key = dir.join("host");
    run(child::command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    fs::rename(dir.join("user.pub"), dir.join("authorized"))?;
    // It wants this directory, which an installation makes at boot.
    let _ = fs::create_dir_all("/run/sshd");
    let place = dir.display();
    let config = format!(
        "HostKey {place}/host\nAuthorizedKeysFile {place}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    );
    fs::write(dir.join("sshd_config"), config)?;
    let answer = format!("EXEC:/usr/sbin/sshd -i -e -f {place}/sshd_config");
    let mut socat = child::command("socat");
    socat.args(["-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork", &answer]);
    let (server, port) = listening(&mut socat, &dir.join("ssh.log"))?;
    let public = fs::read_to_string(dir.join("host.pub"))?;
    let words: Vec<&str> = public.split_whitespace().take(2).collect();
    fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {}\n", words.join(" ")))?;
    Ok((server, port))
}

/// Starts `socat` and waits until it says where it listens.
fn listening(socat: &mut Command, log: &Path) -> Result<(Server, u16)> {
    let mut server = Server::start(socat, log);
    let port = |log: &str| {
        let (_, rest) = log.split_once("listening on AF=2 127.0.0.1:")?;
        let (port, _) = rest.split_once(|c: char| !c.is_ascii_digit())?;
        port.parse().ok()
    };
    let port = server.ready(port).map_err(anyhow::Error::msg)?;
    Ok((server, port))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
