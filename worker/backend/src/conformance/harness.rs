//! Verbs of the suite.

use std::{
    collections::BTreeMap,
    io::Read as _,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_oci::{ConfigChange, Platform};
use slipway_paths::TreePath;
use tar::{EntryType, Header};
use tokio::sync::mpsc;

use crate::{
    BackendError, ByteStream, ContainerBackend, DockerfileBuild, LocalImage, Root, Script, Secrets, Setup, Workspace,
};

/// A file, directory or link of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Path, without a slash at the end.
    pub path: String,
    /// `d`, `f`, `l` (symbolic) or `h` (hard).
    pub kind: char,
    /// Permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u64, u64),
    /// Content, or where a link leads.
    pub text: String,
}

/// A regular file.
pub fn file(path: &str, text: &str) -> Item {
    Item { path: path.to_owned(), kind: 'f', mode: 0o644, owner: (0, 0), text: text.to_owned() }
}

/// A directory.
pub fn directory(path: &str) -> Item {
    Item { path: path.to_owned(), kind: 'd', mode: 0o755, owner: (0, 0), text: String::new() }
}

/// A symbolic link.
pub fn link(path: &str, target: &str) -> Item {
    Item { path: path.to_owned(), kind: 'l', mode: 0o777, owner: (0, 0), text: target.to_owned() }
}

/// An archive of items.
pub fn archive(items: &[Item]) -> ByteStream {
    let mut builder = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = Header::new_gnu();
        header.set_mode(item.mode);
        header.set_uid(item.owner.0);
        header.set_gid(item.owner.1);
        header.set_mtime(1_600_000_000);
        let content = if item.kind == 'f' { item.text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        header.set_entry_type(match item.kind {
            'd' => EntryType::Directory,
            'l' => EntryType::Symlink,
            'h' => EntryType::Link,
            _ => EntryType::Regular,
        });
        let name = if item.kind == 'd' { format!("{}/", item.path) } else { item.path.clone() };
        if matches!(item.kind, 'l' | 'h') {
            header.set_link_name(&item.text).expect("a short link");
        }
        // Set by hand: the builder would refuse or change names that the suite wants.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, content).expect("an archive in memory");
    }
    let bytes = Bytes::from(builder.into_inner().expect("an archive in memory"));
    stream::iter([Ok(bytes)]).boxed()
}

/// The items of an archive, in its order.
pub async fn listing(stream: ByteStream) -> Vec<Item> {
    let bytes: Vec<Bytes> = stream.try_collect().await.expect("the archive arrives");
    let bytes = bytes.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let items = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        let kind = match entry.header().entry_type() {
            EntryType::Directory => 'd',
            EntryType::Symlink => 'l',
            EntryType::Link => 'h',
            _ => 'f',
        };
        if let Some(target) = entry.link_name_bytes() {
            text = String::from_utf8_lossy(&target).into_owned();
        }
        if kind == 'f' {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("content");
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        let header = entry.header();
        let owner = (header.uid().expect("a number"), header.gid().expect("a number"));
        Item { path, kind, mode: header.mode().expect("a number") & 0o7777, owner, text }
    });
    items.collect()
}

/// A backend under test.
pub struct Harness<'a> {
    /// The backend.
    pub backend: &'a dyn ContainerBackend,
    /// An image to stand on.
    pub base: &'a LocalImage,
    run: String,
    count: AtomicU32,
}

impl<'a> Harness<'a> {
    /// A suite's run.
    pub fn new(backend: &'a dyn ContainerBackend, base: &'a LocalImage) -> Self {
        // Names only have to differ between runs at the same time.
        let run = format!("{}-{:x}", std::process::id(), std::ptr::from_ref(base) as usize);
        Self { backend, base, run, count: AtomicU32::new(0) }
    }

    /// A name that no other build of this run has.
    pub fn attempt(&self) -> String {
        format!("conformance-{}-{}", self.run, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// A workspace on `base`.
    pub async fn open(&self, base: Option<&LocalImage>) -> Box<dyn Workspace> {
        let setup = Setup {
            attempt: self.attempt(),
            platform: Platform::host(),
            network: Some("none".to_owned()),
            to: None,
            mounts: Vec::new(),
            secrets: Secrets::none(),
        };
        self.backend.open(base, setup).await.expect("a workspace")
    }

    /// An image of `base` with the items below `/`.
    pub async fn filled(&self, items: &[Item]) -> LocalImage {
        let mut workspace = self.open(Some(self.base)).await;
        workspace.extract(archive(items), "/", None, None).await.expect("files go in");
        workspace.commit(ConfigChange::default()).await.expect("an image")
    }

    /// The items below a path of an image, sorted by path.
    pub async fn items(&self, image: &LocalImage, path: &str) -> Vec<Item> {
        let (_, stream) = self.backend.files(image, path).await.expect("files");
        let mut items = listing(stream).await;
        items.sort_by(|left, right| left.path.cmp(&right.path));
        items
    }

    /// What an image holds at a path.
    pub async fn root(&self, image: &LocalImage, path: &str) -> Result<Root, BackendError> {
        self.backend.files(image, path).await.map(|(root, _)| root)
    }

    /// The paths below a path of an image, sorted.
    pub async fn paths(&self, image: &LocalImage, path: &str) -> Vec<String> {
        self.items(image, path).await.into_iter().map(|item| item.path).collect()
    }

    /// The text of a file of an image.
    pub async fn text(&self, image: &LocalImage, path: &str) -> String {
        let (root, stream) = self.backend.files(image, path).await.expect("a file");
        assert_eq!(root, Root::File, "{path}");
        let mut items = listing(stream).await;
        assert_eq!(items.len(), 1, "{path}: {items:?}");
        items.remove(0).text
    }

    /// Runs commands in a workspace; answers how it went and what was said.
    pub async fn run(
        &self,
        workspace: &mut dyn Workspace,
        commands: &[(u32, &str)],
        variables: &[(&str, &str)],
    ) -> (Result<(), BackendError>, Vec<String>) {
        let script = Script {
            commands: commands.iter().map(|(line, text)| (*line, (*text).to_owned())).collect(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            tools: None,
        };
        let (logs, lines) = mpsc::channel(16);
        tokio::join!(workspace.run(script, logs), collect(lines))
    }

    /// Runs commands on `base` and commits.
    pub async fn built(&self, base: &LocalImage, commands: &[(u32, &str)]) -> LocalImage {
        let mut workspace = self.open(Some(base)).await;
        let (ended, said) = self.run(workspace.as_mut(), commands, &[]).await;
        ended.unwrap_or_else(|error| panic!("{error}: {said:?}"));
        workspace.commit(ConfigChange::default()).await.expect("an image")
    }
}

/// A Dockerfile build with nothing but a text.
pub fn build_of(attempt: String, text: &str) -> DockerfileBuild {
    DockerfileBuild {
        attempt,
        text: text.to_owned(),
        platform: Platform::host(),
        target: None,
        args: BTreeMap::new(),
        add_hosts: Vec::new(),
        network: Some("none".to_owned()),
        labels: BTreeMap::new(),
        to: None,
        bases: Vec::new(),
        secrets: Secrets::none(),
        agent: None,
    }
}

/// All lines until the build ends.
pub async fn collect(mut lines: mpsc::Receiver<Vec<u8>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(line) = lines.recv().await {
        all.push(String::from_utf8_lossy(&line).into_owned());
    }
    all
}

/// Paths for a deletion.
pub(super) fn paths(list: &[&str]) -> Vec<TreePath> {
    list.iter().map(|path| TreePath::new(path).expect("a path")).collect()
}
