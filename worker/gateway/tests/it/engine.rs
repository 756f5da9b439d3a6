//! dockerd, by its command line.

use std::process::{Output, Stdio};

use slipway_oci::BlobDigest;
use slipway_parts::docker as docker_program;
use slipway_process::{child, random_id};
use tokio::io::AsyncWriteExt as _;

/// An image in the engine. Removed when dropped.
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) id: BlobDigest,
}

/// Runs the engine's program.
pub(crate) async fn docker(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = child::async_command(docker_program());
    command.args(arguments).env("DOCKER_BUILDKIT", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    let (written, output) = tokio::join!(
        async {
            let written = stdin.write_all(input).await;
            drop(stdin);
            written
        },
        running.wait_with_output()
    );
    drop(written);
    output.unwrap()
}

/// Runs the engine's program, which must succeed; answers what it printed.
pub(crate) async fn docker_ok(arguments: &[&str], input: &[u8]) -> String {
    let output = docker(arguments, input).await;
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The images of `docker images`, by id, that are there under any name.
pub(crate) async fn has(id: &BlobDigest) -> bool {
    docker(&["image", "inspect", id.as_str()], b"").await.status.success()
}

impl Image {
    /// An image of one layer, a file of `size` random bytes.
    pub(crate) async fn base(size: usize) -> Self {
        let name = format!("slipway-gateway-test:{}", random_id());
        let id = docker_ok(&["import", "-", &name], &tar(&[("data", &noise(size))])).await;
        Self { name, id: id.parse().unwrap() }
    }

    /// An image on top of this one, with one more layer of `size` random bytes.
    pub(crate) async fn child(&self, size: usize) -> Self {
        let name = format!("slipway-gateway-test:{}", random_id());
        let dockerfile = format!("FROM {}\nCOPY more /more\nENV A=b\n", self.name);
        let context = tar(&[("Dockerfile", dockerfile.as_bytes()), ("more", &noise(size))]);
        docker_ok(&["build", "--network", "none", "-t", &name, "-"], &context).await;
        let id = docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name], b"").await;
        Self { name, id: id.parse().unwrap() }
    }

    /// Names it `reference` and pushes it there.
    pub(crate) async fn push(&self, reference: &str) -> Output {
        docker_ok(&["tag", &self.name, reference], b"").await;
        let output = docker(&["push", reference], b"").await;
        docker_ok(&["rmi", reference], b"").await;
        output
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let mut command = child::command(docker_program());
        let _ = command.args(["rmi", "-f", &self.name]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A tar archive of files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Bytes that no two calls share, and that do not compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = u64::from_str_radix(&random_id()[..16], 16).unwrap() | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(next());
    }
    bytes.truncate(size);
    bytes
}
