//! A registry of the test's own, behind a proxy that counts.

use std::process::Stdio;

use slipway_process::{Environment, child};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};

/// A docker-registry on a free port. Ended when dropped.
pub(crate) struct Upstream {
    pub(crate) address: String,
    _process: Child,
    _directory: tempfile::TempDir,
}

/// Skips the test aloud, unless it must run.
pub(crate) fn skip(part: &str, reason: &str) {
    let required = Environment::from_process();
    let required = required.get("SLIPWAY_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == part), "{part} is required: {reason}");
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {reason}\n")));
}

impl Upstream {
    /// Starts one; `None` when this machine has no registry program.
    pub(crate) async fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yml");
        let root = directory.path().join("data");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: 127.0.0.1:0, relativeurls: true}}\nlog: {{level: info, accesslog: {{disabled: true}}}}\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = child::async_command("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped());
        let Ok(mut process) = command.spawn() else {
            skip("registry", "there is no program docker-registry");
            return None;
        };
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("the registry starts");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().unwrap().to_owned();
            }
        };
        let tasks = slipway_process::Tasks::new();
        drop(tasks.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} }));
        Some(Self { address, _process: process, _directory: directory })
    }
}
