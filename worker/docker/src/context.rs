//! The context of a Dockerfile build: spooled, checked, and with the Dockerfile in it where the engine reads it.
//!
//! The engine takes the Dockerfile from the context. When the context holds the same text, that file is used;
//! otherwise BuildKit is sent both apart, and for the classic builder the text is added under a name of ours, with an
//! ignore file that makes it remove it again before the first `COPY`.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write},
    path::Path,
};

use slipway_backend::{
    BackendError, ByteStream,
    retar::{self, Rewrite},
};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::error::archive_failed;

/// Name of the Dockerfile when the context does not hold it.
const OWN_NAME: &str = ".slipway.Dockerfile";
const IGNORE: &str = ".dockerignore";
/// The largest ignore file that is looked at.
const MAX_IGNORE: u64 = 1024 * 1024;

/// A context that can be sent.
pub(crate) struct Context {
    /// The archive, read from its start.
    pub(crate) file: File,
    /// Name of the Dockerfile in it; `None` = it is to be sent apart.
    pub(crate) dockerfile: Option<String>,
}

/// What the archive holds that matters here.
#[derive(Default)]
struct Seen {
    dockerfile: Option<String>,
    ignore: Option<Vec<u8>>,
}

/// Writes the context to an unnamed file in `directory` and looks for the Dockerfile, which is added when it is not there and
/// cannot be sent `apart`. Blocking.
pub(crate) fn spool(directory: &Path, context: ByteStream, text: &str, apart: bool) -> Result<Context, BackendError> {
    let doing = "read the build context";
    let run = || -> io::Result<Context> {
        std::fs::create_dir_all(directory)?;
        let reader = SyncIoBridge::new(StreamReader::new(context));
        let mut first = tempfile::tempfile_in(directory)?;
        retar::rewrite(reader, io::BufWriter::with_capacity(1 << 18, &mut first), Rewrite::default())
            .map_err(io::Error::from)?;
        let seen = look(&mut first, text.as_bytes())?;
        if seen.dockerfile.is_some() || apart {
            first.seek(SeekFrom::Start(0))?;
            return Ok(Context { file: first, dockerfile: seen.dockerfile });
        }
        let file = add(&mut first, &tempfile::tempfile_in(directory)?, text.as_bytes(), seen.ignore)?;
        Ok(Context { file, dockerfile: Some(OWN_NAME.to_owned()) })
    };
    run().map_err(|error| archive_failed(doing, &error))
}

/// Finds a file with the Dockerfile's text, the one with the shortest name, and the ignore file.
fn look(file: &mut File, text: &[u8]) -> io::Result<Seen> {
    file.seek(SeekFrom::Start(0))?;
    let mut seen = Seen::default();
    let mut archive = tar::Archive::new(io::BufReader::new(&*file));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
        if name == IGNORE && entry.size() <= MAX_IGNORE {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            seen.ignore = Some(content);
        } else if entry.size() == text.len() as u64
            && seen.dockerfile.as_ref().is_none_or(|best| name.len() < best.len())
        {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            if content == text {
                seen.dockerfile = Some(name);
            }
        }
    }
    Ok(seen)
}

/// The archive with the Dockerfile and an ignore file that takes it out again. An ignore file of the user stays in
/// the context, one line longer; one of ours goes with the Dockerfile.
fn add(from: &mut File, to: &File, text: &[u8], ignore: Option<Vec<u8>>) -> io::Result<File> {
    let ignore = match ignore {
        Some(mut content) => {
            content.extend_from_slice(format!("\n{OWN_NAME}\n").as_bytes());
            content
        }
        None => format!("{IGNORE}\n{OWN_NAME}\n").into_bytes(),
    };
    from.seek(SeekFrom::Start(0))?;
    let mut output = io::BufWriter::with_capacity(1 << 18, to);
    let keep: retar::Predicate = Box::new(|path, _| path.as_bytes() != IGNORE.as_bytes());
    let mut body = Unended::new(&mut output);
    retar::rewrite(io::BufReader::new(&*from), &mut body, Rewrite { keep: Some(keep), ..Rewrite::default() })
        .map_err(io::Error::from)?;
    let mut builder = tar::Builder::new(&mut output);
    for (name, content) in [(OWN_NAME, text), (IGNORE, ignore.as_slice())] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content)?;
    }
    builder.finish()?;
    drop(builder);
    output.flush()?;
    drop(output);
    let mut file = to.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Passes on an archive without its end, so that more entries can follow.
struct Unended<W> {
    output: W,
    held: Vec<u8>,
}

/// The two zero blocks that end an archive.
const END: usize = 1024;

impl<W: Write> Unended<W> {
    fn new(output: W) -> Self {
        Self { output, held: Vec::new() }
    }
}

impl<W: Write> Write for Unended<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let passed = self.held.len().saturating_sub(END);
        self.output.write_all(&self.held[..passed])?;
        self.held.drain(..passed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt as _, stream};

    use super::*;

    fn archive(files: &[(&str, &str)]) -> Bytes {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            builder.append_data(&mut header, name, text.as_bytes()).expect("an entry");
        }
        Bytes::from(builder.into_inner().expect("an archive"))
    }

    async fn spooled(
        files: &[(&str, &str)],
        text: &'static str,
        apart: bool,
    ) -> (Option<String>, Vec<(String, String)>) {
        let directory = tempfile::tempdir().expect("a directory");
        let bytes = archive(files);
        let work = move || spool(directory.path(), stream::iter([Ok(bytes)]).boxed(), text, apart).expect("a context");
        let context = tokio::task::spawn_blocking(work).await.expect("no panic");
        let mut archive = tar::Archive::new(context.file);
        let entries = archive.entries().expect("an archive").map(|entry| {
            let mut entry = entry.expect("an entry");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), text)
        });
        let entries = entries.collect();
        (context.dockerfile, entries)
    }

    #[tokio::test]
    async fn the_dockerfile_of_the_context_is_used() {
        let files = [("a/Dockerfile", "FROM x"), ("Dockerfile", "FROM x"), ("other", "FROM y")];
        for apart in [false, true] {
            let (name, entries) = spooled(&files, "FROM x", apart).await;
            assert_eq!((name.as_deref(), entries.len()), (Some("Dockerfile"), 3));
        }
    }

    #[tokio::test]
    async fn a_missing_dockerfile_is_sent_apart_or_added_and_ignored() {
        let (name, entries) = spooled(&[("f", "1")], "FROM x", true).await;
        assert_eq!((name, entries.len()), (None, 1));
        let (name, entries) = spooled(&[("f", "1")], "FROM x", false).await;
        let expected = [("f", "1"), (OWN_NAME, "FROM x"), (IGNORE, ".dockerignore\n.slipway.Dockerfile\n")];
        assert_eq!(name.as_deref(), Some(OWN_NAME));
        assert_eq!(entries, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        let (_, entries) = spooled(&[(IGNORE, "*.o"), ("f", "1")], "FROM x", false).await;
        assert_eq!(entries[2], (IGNORE.to_owned(), "*.o\n.slipway.Dockerfile\n".to_owned()));
    }
}
