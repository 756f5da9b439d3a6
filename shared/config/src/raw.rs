//! Reading documents, directive by directive: shapes and rules that a directive can check alone. What needs other
//! documents is left to `check`.
//!
//! [`Reader`] collects what is found; [`section`] and [`value`] are the ways to look at a mapping and its values;
//! every other module is one directive or one family of them.

mod ansible;
mod cleanup;
mod dependencies;
mod deploy;
mod docker;
mod dockerfile;
mod git;
mod healthcheck;
mod image;
mod image_spec;
mod import;
mod meta;
mod mount;
mod paths;
mod remote;
mod secrets;
mod section;
mod shell;
mod stapel;
mod value;

use std::collections::BTreeSet;

use crate::{
    Image, Outside, OutsideKind, Position, Problem, Problems, Warning,
    documents::{self, Document},
    yaml::{self, Budget, Node},
};

pub(crate) use image_spec::ImageSpec;
pub(crate) use meta::{Meta, project_name_fault};
pub(crate) use remote::read_include;
pub(crate) use section::{Section, nearest, suggestion};
pub(crate) use value::Written;

/// Problems that are kept of one file; more than this helps nobody.
const KEPT_PROBLEMS: usize = 1000;

/// Collects what is found while a file is read.
pub(crate) struct Reader<'f> {
    file: &'f str,
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// Deprecated spellings, each once.
    pub(crate) warnings: Vec<Warning>,
    warned: BTreeSet<String>,
    /// Directives that bring in what is in no commit.
    pub(crate) outside: Vec<Outside>,
}

/// What the documents say, references not yet resolved.
#[derive(Default)]
pub(crate) struct Documents {
    /// The meta section.
    pub(crate) meta: Option<Meta>,
    /// Images in the order of declaration.
    pub(crate) drafts: Vec<Draft>,
}

/// An image whose references are not yet resolved.
pub(crate) struct Draft {
    /// The image. Until its links are resolved, a Stapel image's base is a reference and imports may name
    /// external images.
    pub(crate) image: Image,
    /// Where each of its names stands.
    pub(crate) name_positions: Vec<Position>,
    /// The images that it mentions.
    pub(crate) links: Vec<Link>,
    /// Its `imageSpec`, before that of the meta section is merged in.
    pub(crate) spec: Option<ImageSpec>,
    /// Its `staged`, when it says so.
    pub(crate) staged: Option<bool>,
}

/// A mention of an image by another.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Link {
    /// What the mention is for.
    pub(crate) kind: LinkKind,
    /// The directive, as the user knows it (`fromImage`, `import.image`).
    pub(crate) directive: &'static str,
    /// The name.
    pub(crate) name: Written,
    /// What it may name.
    pub(crate) wants: Wants,
}

/// What a mention is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkKind {
    /// The base image.
    Base,
    /// The import with this index.
    Import(usize),
    /// An entry of `dependencies`.
    Dependency,
}

/// What a mention may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wants {
    /// An image of this file, or an external one when the name can be nothing else.
    Image,
    /// An artifact of this file.
    Artifact,
    /// Anything of this file, else an external image.
    Anything,
    /// An image of this file and nothing else.
    LocalImage,
}

impl<'f> Reader<'f> {
    /// A reader of the file that problems are reported under as `file`.
    pub(crate) fn new(file: &'f str) -> Self {
        Self { file, problems: Vec::new(), warnings: Vec::new(), warned: BTreeSet::new(), outside: Vec::new() }
    }

    /// What is wrong, with the lines of `text`.
    pub(crate) fn problems(self, text: &str) -> Problems {
        Problems::new(self.file, text, self.problems)
    }

    /// Reads all documents of `text`, which has line feeds only.
    pub(crate) fn documents(&mut self, text: &str) -> Documents {
        let mut found = Documents::default();
        let mut budget = Budget::new();
        for Document { first_line, text } in documents::split(text) {
            if let Some(node) = yaml::read(text, first_line, &mut budget, &mut self.problems) {
                self.document(&node, &mut found);
            }
            self.problems.truncate(KEPT_PROBLEMS);
        }
        found
    }

    fn document(&mut self, node: &Node, found: &mut Documents) {
        let Some(section) = self.section(node, "document") else { return };
        if section.has("configVersion") {
            let meta = meta::read(self, &section);
            if found.meta.is_some() {
                let hint = "one document of the file sets `configVersion` and `project`; merge the two";
                self.refuse(section.position, "duplicate meta config section", hint);
            } else {
                found.meta = Some(meta);
            }
        } else {
            found.drafts.extend(image::read(self, &section));
        }
    }

    /// Adds a problem at `position`, with what to write instead.
    pub(crate) fn refuse(&mut self, position: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Some(position), message.into(), hint.into());
    }

    /// Adds a problem of the whole file.
    pub(crate) fn refuse_file(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.add(None, message.into(), hint.into());
    }

    /// Whether further problems are dropped: then nothing costly need be done for them.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= KEPT_PROBLEMS
    }

    fn add(&mut self, position: Option<Position>, message: String, hint: String) {
        if !self.is_full() {
            self.problems.push(Problem::new(position, message, hint));
        }
    }

    /// Notes a directive that brings in what is in no commit.
    pub(crate) fn outside(&mut self, kind: OutsideKind, position: Position) {
        self.outside.push(Outside { kind, position });
    }

    /// Warns once per `message`, with the place of the first occasion.
    pub(crate) fn warn(&mut self, position: Position, message: &str) {
        if self.warned.insert(message.to_owned()) {
            self.warnings.push(Warning { message: message.to_owned(), position });
        }
    }
}
