//! The toolbox: bash and a few programs that every build container sees under `/.werf/stapel`, so that a base image may
//! hold anything, even nothing.
//!
//! It is an image of a static bash and a static busybox, made on first use from the programs of this host, or an image
//! that the user names. One stopped container of it per host lends its volume to all build containers.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptions, CreateImageOptions},
};
use bytes::Bytes;
use futures::TryStreamExt as _;
use slipway_backend::{BackendError, script::TOOLBOX_BIN};
use slipway_oci::BlobDigest;
use tokio::sync::Mutex;

use crate::{
    engine::Engine,
    error::{failed, is_conflict, is_missing},
};

/// Where the toolbox is mounted.
const MOUNT: &str = "/.werf/stapel";
/// Repository of the images that are made here.
const OWN_REPOSITORY: &str = "slipway-toolbox";
/// Changes with what [`rootfs`] lays out.
const LAYOUT: &str = "1";
/// Programs that busybox stands for.
const APPLETS: &[&str] = &[
    "awk",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dirname",
    "env",
    "find",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mv",
    "printf",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "test",
    "touch",
    "tr",
    "true",
    "uniq",
    "wc",
    "which",
    "xargs",
];
/// busybox knows `-d` alone.
const BASE64: &str = "#!/.werf/stapel/embedded/bin/bash
args=()
for arg; do [[ $arg == --decode ]] && arg=-d; args+=(\"$arg\"); done
exec /.werf/stapel/embedded/bin/busybox base64 \"${args[@]}\"
";
/// More than a static program takes.
const MAX_PROGRAM: u64 = 64 * 1024 * 1024;

/// Which toolbox build containers get.
#[derive(Clone, Debug)]
pub enum ToolboxSource {
    /// Made here from these programs.
    Own(Programs),
    /// An image that the user names (`WERF_STAPEL_IMAGE_NAME`, `WERF_STAPEL_IMAGE_VERSION`); the engine pulls it.
    Image {
        /// Repository.
        name: String,
        /// Tag.
        version: String,
    },
}

/// Where the static programs of the toolbox come from.
#[derive(Clone, Debug)]
pub enum Programs {
    /// Files `bash` (or `bash-static`) and `busybox` of the first of these directories that has both; after them
    /// `/bin/bash-static` and `/bin/busybox`.
    Files(Vec<PathBuf>),
    /// Bytes that are part of the program.
    Embedded {
        /// A static bash.
        bash: &'static [u8],
        /// A static busybox.
        busybox: &'static [u8],
    },
}

/// The toolbox of one engine.
#[derive(Debug)]
pub(crate) struct Toolbox {
    engine: Engine,
    source: ToolboxSource,
    ready: Mutex<Option<String>>,
}

impl Toolbox {
    pub(crate) fn new(engine: Engine, source: ToolboxSource) -> Self {
        Self { engine, source, ready: Mutex::new(None) }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Name of the container that lends its volume; made on first use.
    pub(crate) async fn container(&self) -> Result<String, BackendError> {
        let mut ready = self.ready.lock().await;
        if let Some(name) = ready.as_ref() {
            return Ok(name.clone());
        }
        let name = self.prepare().await?;
        *ready = Some(name.clone());
        Ok(name)
    }

    /// Looks again at the next use: the container is gone.
    pub(crate) async fn forget(&self) {
        *self.ready.lock().await = None;
    }

    async fn prepare(&self) -> Result<String, BackendError> {
        match &self.source {
            ToolboxSource::Image { name, version } => {
                let container = container_name(version)?;
                if !self.exists(&container).await? {
                    self.pull(name, version).await?;
                    self.create(&container, &format!("{name}:{version}")).await?;
                }
                Ok(container)
            }
            ToolboxSource::Own(programs) => {
                let programs = programs.clone();
                let load = move || load(&programs).map(|(bash, busybox)| rootfs(&bash, &busybox));
                let (version, archive) = self.engine.cleanups.blocking(load).await??;
                let container = container_name(&version)?;
                if !self.exists(&container).await? {
                    self.import(&version, archive).await?;
                    self.create(&container, &format!("{OWN_REPOSITORY}:{version}")).await?;
                }
                Ok(container)
            }
        }
    }

    async fn exists(&self, container: &str) -> Result<bool, BackendError> {
        match self.engine.docker.inspect_container(container, None).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed(&format!("look for the toolbox container {container}"), error)),
        }
    }

    async fn has_image(&self, image: &str) -> Result<bool, BackendError> {
        match self.engine.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed(&format!("look for the toolbox image {image}"), error)),
        }
    }

    async fn pull(&self, name: &str, version: &str) -> Result<(), BackendError> {
        let image = format!("{name}:{version}");
        if self.has_image(&image).await? {
            return Ok(());
        }
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(version.to_owned()),
            ..CreateImageOptions::default()
        };
        let pulled =
            self.engine.docker.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) }).await;
        pulled.map_err(|error| failed(&format!("pull the toolbox image {image} (WERF_STAPEL_IMAGE_NAME)"), error))
    }

    async fn import(&self, version: &str, archive: Vec<u8>) -> Result<(), BackendError> {
        if self.has_image(&format!("{OWN_REPOSITORY}:{version}")).await? {
            return Ok(());
        }
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(OWN_REPOSITORY.to_owned()),
            tag: Some(version.to_owned()),
            changes: vec![format!("VOLUME {MOUNT}")],
            ..CreateImageOptions::default()
        };
        let body = bollard::body_full(Bytes::from(archive));
        let made = self.engine.docker.create_image(Some(options), Some(body), None);
        made.try_for_each(|_| async { Ok(()) }).await.map_err(|error| failed("make the toolbox image", error))
    }

    /// Creates the container; another process may be doing the same.
    async fn create(&self, name: &str, image: &str) -> Result<(), BackendError> {
        let options = CreateContainerOptions { name: Some(name.to_owned()), platform: String::new() };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec![format!("{TOOLBOX_BIN}/true")]),
            volumes: Some(vec![MOUNT.to_owned()]),
            ..ContainerCreateBody::default()
        };
        match self.engine.docker.create_container(Some(options), body).await {
            Ok(_) => Ok(()),
            Err(error) if is_conflict(&error) => Ok(()),
            Err(error) => Err(failed(&format!("create the toolbox container {name}"), error)),
        }
    }
}

fn container_name(version: &str) -> Result<String, BackendError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !version.is_empty() && version.len() <= 128 && version.bytes().all(plain) {
        Ok(format!("stapel_{version}"))
    } else {
        let shown: String = version.chars().take(100).collect();
        Err(BackendError::Refused(format!(
            "`{shown}` is no version of a toolbox image: check WERF_STAPEL_IMAGE_VERSION"
        )))
    }
}

/// The static bash and busybox.
fn load(programs: &Programs) -> Result<(Vec<u8>, Vec<u8>), BackendError> {
    let directories = match programs {
        Programs::Embedded { bash, busybox } => return Ok((bash.to_vec(), busybox.to_vec())),
        Programs::Files(directories) => directories,
    };
    let mut refused = Vec::new();
    let mut first = |candidates: Vec<PathBuf>| {
        for path in candidates {
            match read_program(&path) {
                Ok(Some(bytes)) => return Some(bytes),
                Ok(None) => {}
                Err(why) => refused.push(format!("{}: {why}", path.display())),
            }
        }
        None
    };
    for directory in directories {
        let bash = first(vec![directory.join("bash"), directory.join("bash-static")]);
        let busybox = first(vec![directory.join("busybox")]);
        if let (Some(bash), Some(busybox)) = (bash, busybox) {
            return Ok((bash, busybox));
        }
    }
    let bash = first(["/bin/bash-static", "/usr/bin/bash-static"].map(PathBuf::from).to_vec());
    let busybox = first(["/bin/busybox", "/usr/bin/busybox", "/bin/busybox-static"].map(PathBuf::from).to_vec());
    bash.zip(busybox).ok_or_else(|| {
        let refused = if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) };
        BackendError::Refused(format!(
            "stapel stages need a static bash and a static busybox, and this host has none{refused}: run `apt-get install \
             bash-static busybox-static`, or name a toolbox image with WERF_STAPEL_IMAGE_NAME and WERF_STAPEL_IMAGE_VERSION"
        ))
    })
}

/// A program when it is there; an error when it would not run in a container of any image.
fn read_program(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_PROGRAM + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_PROGRAM {
        return Err("it is too large for a program".to_owned());
    }
    match needs_interpreter(&bytes) {
        Some(false) => Ok(Some(bytes)),
        Some(true) => Err("it is not static".to_owned()),
        None => Err("it is no 64-bit little-endian ELF program".to_owned()),
    }
}

/// Whether an ELF program names a dynamic loader (a `PT_INTERP` segment); `None` when it is no such program.
fn needs_interpreter(bytes: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, size: usize| {
        let field = bytes.get(at..at.checked_add(size)?)?;
        Some(field.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)))
    };
    // Class 2 is 64 bits, data 1 is little-endian.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for index in 0..count {
        let at = usize::try_from(start.checked_add(index * size)?).ok()?;
        if number(at, 4)? == u64::from(INTERPRETER) {
            return Some(true);
        }
    }
    Some(false)
}

/// The version of a toolbox and its root file system as a tar. Equal programs give equal bytes.
fn rootfs(bash: &[u8], busybox: &[u8]) -> Result<(String, Vec<u8>), BackendError> {
    let archive = lay_out(bash, busybox);
    let archive = archive.map_err(|error| BackendError::Engine(format!("pack the toolbox: {error}")))?;
    let digest = BlobDigest::of(&archive);
    Ok((format!("slipway-{LAYOUT}-{}", digest.short()), archive))
}

fn lay_out(bash: &[u8], busybox: &[u8]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::with_capacity(bash.len() + busybox.len() + 64 * 1024));
    let header = |kind: tar::EntryType, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size as u64);
        header
    };
    let bin = TOOLBOX_BIN.trim_start_matches('/');
    let parents: Vec<&str> = bin.match_indices('/').map(|(at, _)| &bin[..at]).chain([bin]).collect();
    for parent in parents {
        builder.append_data(&mut header(tar::EntryType::Directory, 0), format!("{parent}/"), io::empty())?;
    }
    for (name, bytes) in [("bash", bash), ("busybox", busybox), ("base64", BASE64.as_bytes())] {
        builder.append_data(&mut header(tar::EntryType::Regular, bytes.len()), format!("{bin}/{name}"), bytes)?;
    }
    for applet in APPLETS {
        builder.append_link(&mut header(tar::EntryType::Symlink, 0), format!("{bin}/{applet}"), "busybox")?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_programs_are_told_from_others() {
        assert_eq!(needs_interpreter(b"#!/bin/sh\n"), None);
        let own = fs::read("/proc/self/exe").expect("this test is a program");
        assert_eq!(needs_interpreter(&own), Some(true));
        assert_eq!(needs_interpreter(&own[..0x38]), None);
    }

    #[test]
    fn a_host_without_programs_is_told_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("bash"), "#!/bin/sh\n").expect("a file");
        assert!(read_program(&directory.path().join("bash")).expect_err("a script").contains("ELF"));
        assert!(read_program(&directory.path().join("busybox")).expect("a look").is_none());
    }

    #[test]
    fn equal_programs_are_one_version() {
        let first = rootfs(b"bash", b"busybox").expect("an archive");
        assert_eq!(first, rootfs(b"bash", b"busybox").expect("an archive"));
        assert_ne!(first.0, rootfs(b"bash2", b"busybox").expect("an archive").0);
        assert!(container_name(&first.0).is_ok());
        assert!(container_name("../x").is_err());
    }
}
