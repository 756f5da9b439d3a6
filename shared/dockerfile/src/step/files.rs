//! `COPY` and `ADD`.

use super::{Expand, flags::Flags};
use crate::{keyword::Keyword, lines, parse::Instruction};

/// Files that go into an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// Whether it is `ADD`, not `COPY`.
    pub add: bool,
    /// The stage or image that they come from, as it is written; `None` = the context.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<String>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// At least one.
    pub sources: Vec<Source>,
    /// The destination, as it is written: it may be relative, and a `/` at its end says that it is a directory.
    pub to: String,
}

/// One source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A path with wildcards, or an address.
    Path(String),
    /// A here-document.
    Content(Content),
}

/// A file that stands in the Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Whether variables in it are expanded.
    pub(crate) expand: bool,
}

pub(super) fn read(instruction: &Instruction, list: &[String], mut flags: Flags) -> Result<Files, String> {
    let add = instruction.keyword == Keyword::Add;
    let mut files = Files {
        add,
        from: None,
        chown: flags.one("chown")?,
        chmod: flags.one("chmod")?,
        link: flags.switch("link")?.unwrap_or(false),
        parents: false,
        exclude: flags.all("exclude")?,
        checksum: None,
        keep_git_dir: false,
        unpack: None,
        sources: Vec::new(),
        to: String::new(),
    };
    if add {
        files.checksum = flags.one("checksum")?;
        files.keep_git_dir = flags.switch("keep-git-dir")?.unwrap_or(false);
        files.unpack = flags.switch("unpack")?;
    } else {
        files.from = flags.one("from")?;
        files.parents = flags.switch("parents")?.unwrap_or(false);
    }
    flags.end()?;
    let mut heredocs = instruction.heredocs.iter();
    if let Some((to, sources)) = list.split_last() {
        files.to.clone_from(to);
        for source in sources {
            files.sources.push(match lines::opened(source).and_then(|_| heredocs.next()) {
                Some(heredoc) => Source::Content(Content {
                    name: heredoc.name.clone(),
                    text: heredoc.content.clone(),
                    expand: !source.contains(['"', '\'', '\\']),
                }),
                None => Source::Path(source.clone()),
            });
        }
    }
    Ok(files)
}

impl Files {
    /// With its variables expanded, but for those in here-documents.
    pub(super) fn expanded(&self, word: &mut Expand<'_>) -> Result<Self, String> {
        let mut optional = |text: &Option<String>| text.as_deref().map(&mut *word).transpose();
        let (from, chown, chmod) = (optional(&self.from)?, optional(&self.chown)?, optional(&self.chmod)?);
        let checksum = optional(&self.checksum)?;
        let mut sources = Vec::new();
        for source in &self.sources {
            sources.push(match source {
                Source::Path(path) => Source::Path(word(path)?),
                Source::Content(content) => Source::Content(content.clone()),
            });
        }
        let exclude = self.exclude.iter().map(|pattern| word(pattern)).collect::<Result<_, _>>()?;
        Ok(Self { from, chown, chmod, checksum, exclude, sources, to: word(&self.to)?, ..self.clone() })
    }

    /// Whether a source may lie in the context.
    pub fn needs_context(&self) -> bool {
        self.from.is_none() && self.sources.iter().any(|source| matches!(source, Source::Path(_)))
    }

    /// Its here-documents, to be expanded.
    pub(crate) fn contents(&mut self) -> impl Iterator<Item = &mut Content> {
        self.sources.iter_mut().filter_map(|source| match source {
            Source::Content(content) if content.expand => Some(content),
            Source::Content(_) | Source::Path(_) => None,
        })
    }
}
