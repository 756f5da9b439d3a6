//! A `docker-registry` of one test.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use slipway_process::child;
use tempfile::TempDir;

/// A running registry; stopped and removed when dropped.
pub struct Registry {
    process: Child,
    port: u16,
    dir: TempDir,
}

impl Registry {
    /// Starts a registry on a free port of loopback.
    ///
    /// # Errors
    /// When it does not come up within 10 seconds.
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            dir.path().join("data").display()
        );
        fs::write(&config, text)?;
        let process = serve(dir.path())?;
        let registry = Self { process, port, dir };
        registry.wait_until_up()?;
        Ok(registry)
    }

    /// Starts the registry again, on the same port and data, after its process was killed.
    ///
    /// # Errors
    /// When it does not come up within 10 seconds.
    pub fn restart(&mut self) -> Result<()> {
        let _ = self.process.kill();
        self.process.wait()?;
        self.process = serve(self.dir.path())?;
        self.wait_until_up()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Loses a manifest or blob of a repository; its tags stay, as after an accident.
    ///
    /// # Errors
    /// When it is not there.
    pub fn lose(&self, digest: &str) -> Result<()> {
        let hex = digest.trim_start_matches("sha256:");
        let blob = self.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex);
        fs::remove_dir_all(&blob).with_context(|| format!("remove {}", blob.display()))
    }

    /// The digest and the document of a tagged manifest.
    ///
    /// # Errors
    /// When there is none.
    pub fn manifest(&self, name: &str, tag: &str) -> Result<(String, serde_json::Value)> {
        block_on(async {
            let (client, repo) = (client()?, self.repo(name).parse()?);
            let manifest = client.manifest(&repo, tag).await?.context("the tag is not there")?;
            Ok((manifest.digest.to_string(), serde_json::from_slice(&manifest.bytes)?))
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A repository of it.
    pub fn repo(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// The access log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// All tags of a repository, sorted.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn tags(&self, name: &str) -> Result<Vec<String>> {
        let mut tags = block_on(async {
            let client = client()?;
            Ok::<_, anyhow::Error>(client.tags(&self.repo(name).parse()?).await?)
        })?;
        tags.sort();
        Ok(tags)
    }

    /// The tags of a repository that are stages, sorted.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn stages(&self, name: &str) -> Result<Vec<String>> {
        let is_stage = |tag: &String| tag.len() == 70 && tag.as_bytes()[56] == b'-';
        Ok(self.tags(name)?.into_iter().filter(is_stage).collect())
    }

    /// The config document of a tagged image.
    ///
    /// # Errors
    /// When there is none.
    pub fn config(&self, name: &str, tag: &str) -> Result<serde_json::Value> {
        block_on(async {
            let (client, repo) = (client()?, self.repo(name).parse()?);
            let manifest = client.manifest(&repo, tag).await?.context("the tag is not there")?;
            let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes)?;
            let digest = manifest["config"]["digest"].as_str().context("a config")?.parse()?;
            Ok(serde_json::from_slice(&client.blob(&repo, &digest).await?)?)
        })
    }

    /// Where the registry keeps its files.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn wait_until_up(&self) -> Result<()> {
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("docker-registry did not come up: {}", self.log())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(dir: &Path) -> Result<Child> {
    let log = fs::File::options().create(true).append(true).open(dir.join("log"))?;
    let mut command = child::command("docker-registry");
    command.arg("serve").arg(dir.join("config.yml")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("start docker-registry")
}

fn client() -> Result<slipway_registry::Client> {
    let options = slipway_registry::Options { user_agent: "slipway-e2e".to_owned(), ..Default::default() };
    Ok(slipway_registry::Client::new(options)?)
}

fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
