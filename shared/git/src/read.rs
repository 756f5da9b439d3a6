//! One file of a commit, by a path that may lead over symbolic links.

use std::rc::Rc;

use slipway_paths::TreePath;

use crate::{
    FileMode, GitError,
    node::{MAX_DEPTH, Node, NodeKind, Source},
};

/// Most symbolic links that are followed for one path.
const MAX_LINKS: usize = 1000;
/// Longest target of a symbolic link, in bytes.
const MAX_TARGET: u64 = 4096;
/// Largest file that is read at once, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// The way to a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trail {
    /// Symbolic links on the way, in the order they were followed.
    pub links: Vec<TreePath>,
    /// Where the file itself lies.
    pub file: TreePath,
}

/// The content of the file at `path`; `None` = no such file.
pub(crate) fn read(source: &Rc<Source>, path: &TreePath) -> Result<Option<Vec<u8>>, GitError> {
    let Some((_, node)) = follow(source, path)? else { return Ok(None) };
    let size = node.size()?;
    if size > MAX_FILE {
        return Err(GitError::Broken(format!(
            "the file `{path}` is {size} bytes long, more than {MAX_FILE} are not read"
        )));
    }
    node.content().map(Some)
}

/// The way to the file at `path`; `None` = no such file.
pub(crate) fn trail(source: &Rc<Source>, path: &TreePath) -> Result<Option<Trail>, GitError> {
    Ok(follow(source, path)?.map(|(trail, _)| trail))
}

fn follow(source: &Rc<Source>, path: &TreePath) -> Result<Option<(Trail, Node)>, GitError> {
    let mut links = Vec::new();
    // Directories from the root down to where we are, and the segments still to go, the next one last.
    let mut above = vec![(TreePath::root(), Node::root(source))];
    let mut rest: Vec<Vec<u8>> = path.segments().map(<[u8]>::to_vec).collect();
    rest.reverse();
    while let Some(name) = rest.pop() {
        let Some((here, directory)) = above.last() else { return Ok(None) };
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                above.pop();
                continue;
            }
            _ => {}
        }
        let Some(child) = directory.child(&name)? else { return Ok(None) };
        let at = here.join(&name);
        match child.kind {
            NodeKind::Tree | NodeKind::Submodule if above.len() > MAX_DEPTH => return Ok(None),
            NodeKind::Tree | NodeKind::Submodule => above.push((at, child)),
            NodeKind::File(FileMode::Symlink) => {
                let Some(target) = target(&child)? else { return Ok(None) };
                rest.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                links.push(at);
                if links.len() > MAX_LINKS {
                    return Err(GitError::Broken(format!("`{path}` leads over more than {MAX_LINKS} symbolic links")));
                }
            }
            NodeKind::File(_) if rest.is_empty() => return Ok(Some((Trail { links, file: at }, child))),
            NodeKind::File(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Where a symbolic link leads; `None` when that is outside of the repository or nowhere.
fn target(link: &Node) -> Result<Option<Vec<u8>>, GitError> {
    if link.size()? > MAX_TARGET {
        return Ok(None);
    }
    let target = link.content()?;
    let stays = !target.is_empty() && !target.starts_with(b"/") && !target.contains(&0);
    Ok(stays.then_some(target))
}
