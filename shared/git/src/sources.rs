//! Where the sources of a build context lead over symbolic links.
//!
//! Builders follow a link that a source names, in front of its first wildcard or as what the wildcard finds, but no link inside of a
//! directory that is copied. What lies behind such a link is used, so it counts. The context is the root of all links.

use std::{borrow::Cow, collections::BTreeSet, rc::Rc};

use slipway_paths::{Glob, Scope, TreePath};

use crate::{
    FileMode, GitError,
    node::{MAX_DEPTH, Node, NodeKind, Source},
};

/// Most links that are followed for one path: no builder follows more.
const MAX_LINKS: usize = 255;
/// Longest target of a link, in bytes.
const MAX_TARGET: u64 = 4096;
/// The whole context, as a source.
const EVERYTHING: &str = ".";

/// `scope`, with the links that its sources lead over, and what they lead to, as further sources.
pub(crate) fn followed<'s>(source: &Rc<Source>, scope: &'s Scope) -> Result<Cow<'s, Scope>, GitError> {
    let Scope::Context(filter) = scope else { return Ok(Cow::Borrowed(scope)) };
    let Some(sources) = &filter.sources else { return Ok(Cow::Borrowed(scope)) };
    let Some(base) = Node::find(source, &filter.base)? else { return Ok(Cow::Borrowed(scope)) };
    let mut links = Links { base, found: BTreeSet::new() };
    for source in sources {
        links.follow(source)?;
    }
    if links.found.is_empty() {
        return Ok(Cow::Borrowed(scope));
    }
    let mut filter = filter.clone();
    filter.sources.get_or_insert_default().extend(links.found);
    Ok(Cow::Owned(Scope::Context(filter)))
}

/// What the links of a context lead to.
struct Links {
    base: Node,
    /// As sources.
    found: BTreeSet<String>,
}

/// A path with its links followed.
struct Way {
    /// The links, in the order in which they were followed.
    links: Vec<TreePath>,
    /// Where it ends.
    end: TreePath,
    /// What lies there.
    node: Option<Node>,
}

impl Links {
    fn follow(&mut self, source: &str) -> Result<(), GitError> {
        let mut segments: Vec<&str> = Vec::new();
        for segment in source.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        let first = segments.iter().position(|segment| is_wild(segment)).unwrap_or(segments.len());
        let (plain, wild) = segments.split_at(first);
        let way = self.way(plain.iter().map(|segment| segment.as_bytes()))?;
        if wild.is_empty() {
            // Without a wildcard a `\` is one; in a pattern it would not be.
            if !way.links.is_empty() || source.contains('\\') {
                self.note(&way, "");
            }
            return Ok(());
        }
        if !way.links.is_empty() {
            self.note(&way, &format!("/{}", wild.join("/")));
        }
        let Some(directory) = way.node else { return Ok(()) };
        // What is no pattern is for the builder to refuse.
        let globs: Result<Vec<Glob>, _> = wild.iter().map(|segment| Glob::copy_source(segment)).collect();
        if let Ok(globs) = globs {
            self.expand(&directory, &way.end, &globs)?;
        }
        Ok(())
    }

    /// Follows the links that wildcards find below a directory.
    fn expand(&mut self, directory: &Node, path: &TreePath, globs: &[Glob]) -> Result<(), GitError> {
        let Some((glob, rest)) = globs.split_first() else { return Ok(()) };
        for entry in directory.entries()? {
            if !glob.is_match(&TreePath::root().join(entry.name())) {
                continue;
            }
            let path = path.join(entry.name());
            if !rest.is_empty() {
                self.expand(&entry, &path, rest)?;
            } else if entry.kind == NodeKind::File(FileMode::Symlink) {
                let way = self.way(path.segments())?;
                self.note(&way, "");
            }
        }
        Ok(())
    }

    /// Follows a path from the root of the context; what does not exist is taken as it is written.
    fn way<'p>(&self, path: impl Iterator<Item = &'p [u8]>) -> Result<Way, GitError> {
        let mut links = Vec::new();
        let mut names: Vec<Vec<u8>> = Vec::new();
        // Of the context and of every name.
        let mut nodes = vec![Some(self.base.clone())];
        let mut rest: Vec<Vec<u8>> = path.map(<[u8]>::to_vec).collect();
        rest.reverse();
        while let Some(name) = rest.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    names.pop();
                    nodes.truncate(names.len() + 1);
                    continue;
                }
                _ if names.len() > MAX_DEPTH => break,
                _ => {}
            }
            let here = nodes.last().and_then(Option::as_ref);
            let child = here.map(|here| here.child(&name)).transpose()?.flatten();
            let target = child.as_ref().filter(|_| links.len() < MAX_LINKS).map(target).transpose()?.flatten();
            names.push(name);
            let Some(target) = target else {
                nodes.push(child);
                continue;
            };
            links.push(TreePath::root().join(&names.join(&b'/')));
            names.pop();
            if target.starts_with(b"/") {
                names.clear();
                nodes.truncate(1);
            }
            rest.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
        let node = nodes.pop().flatten();
        Ok(Way { links, end: TreePath::root().join(&names.join(&b'/')), node })
    }

    /// Adds a way, with what is taken at its end.
    fn note(&mut self, way: &Way, below: &str) {
        self.found.extend(way.links.iter().map(|link| pattern(link, "")));
        self.found.insert(pattern(&way.end, below));
    }
}

/// Where a symbolic link leads; `None` for everything else.
fn target(node: &Node) -> Result<Option<Vec<u8>>, GitError> {
    if node.kind != NodeKind::File(FileMode::Symlink) || node.size()? > MAX_TARGET {
        return Ok(None);
    }
    node.content().map(Some)
}

/// Whether there is a wildcard in it. A `\` takes the next character as it is.
fn is_wild(segment: &str) -> bool {
    let mut characters = segment.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// The source that names a path, and what is `below` it; everything, where it cannot be written.
fn pattern(path: &TreePath, below: &str) -> String {
    let Ok(text) = str::from_utf8(path.as_bytes()) else { return EVERYTHING.to_owned() };
    let mut written = String::from("/");
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            written.push('\\');
        }
        written.push(character);
    }
    written.push_str(below);
    if Glob::copy_source(&written).is_ok() { written } else { EVERYTHING.to_owned() }
}
