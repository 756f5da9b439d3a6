//! `werf-includes.yaml`: files of the configuration that come from other repositories, and `werf-includes.lock`, which
//! holds them at commits.

use slipway_paths::TreePath;

use crate::{
    GitRevision, Position, Problems, RemoteGit,
    documents::{self, Document},
    raw::{Reader, Section, read_include},
    yaml::{self, Budget, Kind, Node, shorten},
};

/// The largest text that is read, in bytes.
const LARGEST_TEXT: usize = 1 << 20;
/// Most entries of a file.
const MOST: usize = 100;
const LOCK_KEYS: [&str; 4] = ["git", "branch", "tag", "commit"];

/// One entry of `includes`: files of another repository.
#[derive(Clone, PartialEq, Debug)]
pub struct Include {
    /// The repository, and which of its commits. `url` is written as `git`.
    pub remote: RemoteGit,
    /// `add`: where in it, from its root.
    pub add: TreePath,
    /// `to`: where they go, from the project directory.
    pub to: TreePath,
    /// `includePaths`, relative to `add`.
    pub include: Vec<String>,
    /// `excludePaths`, relative to `add`.
    pub exclude: Vec<String>,
    /// Where the entry stands.
    pub position: Position,
}

/// One entry of the lock file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Locked {
    /// The address of the repository, without a password.
    pub git: String,
    /// The branch, tag or commit that is asked for.
    pub revision: GitRevision,
    /// The commit that it is held at.
    pub commit: String,
}

impl Include {
    /// What the lock file knows it by.
    pub fn locked(&self, commit: &str) -> Locked {
        Locked { git: public(&self.remote.url), revision: self.remote.revision.clone(), commit: commit.to_owned() }
    }

    /// The commit that `lock` holds it at. One that names its commit needs no lock.
    pub fn held(&self, lock: &[Locked]) -> Option<String> {
        if let GitRevision::Commit(commit) = &self.remote.revision {
            return Some(commit.clone());
        }
        let own = self.locked("");
        let same = |entry: &&Locked| entry.git == own.git && entry.revision == own.revision;
        lock.iter().find(same).map(|entry| entry.commit.clone())
    }
}

/// Reads `werf-includes.yaml`. `file` is the name that problems are reported under.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(file: &str, text: &str) -> Result<Vec<Include>, Problems> {
    entries(file, text, |reader, section| {
        let (remote, add, to) = read_include(reader, section)?;
        let (include, exclude) = (paths(reader, section, "includePaths"), paths(reader, section, "excludePaths"));
        Some(Include { remote, add, to, include, exclude, position: section.position })
    })
}

/// Reads `werf-includes.lock`.
///
/// # Errors
/// All problems of the text at once.
pub fn parse_lock(file: &str, text: &str) -> Result<Vec<Locked>, Problems> {
    entries(file, text, |reader, section| {
        reader.known(section, &LOCK_KEYS);
        let git = reader.filled(section, "git");
        if section.get("git").is_none() {
            reader.missing(section, "git", "`git` is missing: which repository is held?", LOCK_HINT);
        }
        let commit = reader.filled(section, "commit");
        if section.get("commit").is_none() {
            reader.missing(section, "commit", "`commit` is missing: at which commit is it held?", LOCK_HINT);
        }
        let is_whole = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(commit) = commit.as_ref().filter(|commit| !is_whole(&commit.text)) {
            let message = format!("`commit` must be the whole name of a commit, not `{}`", shorten(&commit.text));
            reader.refuse(commit.position, message, LOCK_HINT);
        }
        let (branch, tag) = (reader.filled(section, "branch"), reader.filled(section, "tag"));
        let (git, commit) = (git?.text, commit?.text);
        let revision = match (branch, tag) {
            (Some(branch), None) => GitRevision::Branch(branch.text),
            (None, Some(tag)) => GitRevision::Tag(tag.text),
            (None, None) => GitRevision::Commit(commit.clone()),
            (Some(_), Some(tag)) => {
                reader.refuse(tag.position, "`branch` and `tag` cannot stand together", LOCK_HINT);
                return None;
            }
        };
        Some(Locked { git: public(&git), revision, commit })
    })
}

const LOCK_HINT: &str = "the file is written by `slipway includes update`; run it again";

/// The text of a lock file.
pub fn write_lock(entries: &[Locked]) -> String {
    let mut text = "includes:\n".to_owned();
    for entry in entries {
        text.push_str(&format!("- git: {}\n", quoted(&entry.git)));
        match &entry.revision {
            GitRevision::Branch(name) => text.push_str(&format!("  branch: {}\n", quoted(name))),
            GitRevision::Tag(name) => text.push_str(&format!("  tag: {}\n", quoted(name))),
            GitRevision::Default | GitRevision::Commit(_) => {}
        }
        text.push_str(&format!("  commit: {}\n", quoted(&entry.commit)));
    }
    if entries.is_empty() { "includes: []\n".to_owned() } else { text }
}

/// The entries of `includes`, each read by `read`.
fn entries<T>(
    file: &str,
    text: &str,
    read: impl Fn(&mut Reader<'_>, &Section<'_>) -> Option<T>,
) -> Result<Vec<T>, Problems> {
    let mut reader = Reader::new(file);
    if text.len() > LARGEST_TEXT {
        let message = format!("the file has {} bytes; up to {LARGEST_TEXT} are read", text.len());
        reader.refuse_file(message, "include whole directories instead of single files");
        return Err(reader.problems(""));
    }
    let text = documents::normalise(text);
    let documents = documents::split(&text);
    if let [_, Document { first_line, .. }, ..] = documents.as_slice() {
        let position = Position { line: *first_line, column: 1 };
        reader.refuse(position, "the file is one document", "remove the line `---` and merge the two");
    }
    let first = documents.first();
    let node =
        first.and_then(|first| yaml::read(first.text, first.first_line, &mut Budget::new(), &mut reader.problems));
    let found = node.map(|node| list(&mut reader, &node, read)).unwrap_or_default();
    if reader.problems.is_empty() { Ok(found) } else { Err(reader.problems(&text)) }
}

fn list<T>(reader: &mut Reader<'_>, node: &Node, read: impl Fn(&mut Reader<'_>, &Section<'_>) -> Option<T>) -> Vec<T> {
    let Some(top) = reader.section(node, "document") else { return Vec::new() };
    reader.known(&top, &["includes"]);
    let Some(entry) = top.get("includes") else { return Vec::new() };
    let Kind::Sequence(items) = &entry.value.kind else {
        let message = format!("`includes` must be a list, not {}", entry.value.describe());
        reader.refuse(entry.value.position, message, "begin every entry of `includes` with `- `");
        return Vec::new();
    };
    if items.len() > MOST {
        let message = format!("there are {} includes; up to {MOST} are read", items.len());
        reader.refuse(entry.value.position, message, "include whole directories instead of single files");
        return Vec::new();
    }
    let mut found = Vec::new();
    for item in items {
        if matches!(item.kind, Kind::Mapping(_)) {
            found.extend(reader.section(item, "includes").and_then(|section| read(reader, &section)));
        } else {
            let message = format!("an entry of `includes` must be a mapping, not {}", item.describe());
            reader.refuse(item.position, message, "write `- git: URL` with `branch`, `tag` or `commit` below");
        }
    }
    found
}

/// Globs relative to `add`; a slash in front of one means `add` itself.
fn paths(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<String> {
    let mut written = reader.texts(section, key);
    for glob in &mut written {
        if let Some(rest) = glob.text.strip_prefix('/').filter(|rest| !rest.is_empty()) {
            glob.text = rest.to_owned();
        }
    }
    written.iter().filter_map(|glob| reader.glob(glob, key)).collect()
}

/// `url` without a name and password.
fn public(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if rest[..at].contains(':') => format!("{scheme}://{}", &rest[at + 1..]),
        Some(_) | None => url.to_owned(),
    }
}

/// `text` as a YAML scalar that is a text, quoted when needed.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:+~".contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_word = text.chars().all(is_plain) && !text.ends_with(':') && begins_well;
    let means_text = yaml::Scalar { text: text.to_owned(), plain: true, tag: None }.meaning() == yaml::Meaning::Text;
    if is_word && means_text { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn includes_are_read_and_held_by_the_lock() {
        let text = format!(
            "includes:\n- git: https://me:hush@h/group/a.git\n  branch: main\n  add: local-dev\n  to: /\n  includePaths: [/.helm]\n\
             - {{git: /srv/b, tag: '1', excludePaths: x/y}}\n- {{git: git@h:c, commit: {COMMIT}, add: /, to: sub/dir}}\n"
        );
        let includes = parse("werf-includes.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let [a, b, c] = includes.as_slice() else { panic!("three") };
        assert_eq!(
            (a.add.to_string(), a.to.is_root(), a.include.as_slice()),
            ("local-dev".to_owned(), true, &[".helm".to_owned()][..])
        );
        assert_eq!((b.exclude.as_slice(), c.to.to_string()), (&["x/y".to_owned()][..], "sub/dir".to_owned()));
        let lock = [a.locked(COMMIT), b.locked(COMMIT)];
        let written = write_lock(&lock);
        assert_eq!(
            written,
            format!(
                "includes:\n- git: https://h/group/a.git\n  branch: main\n  commit: \"{COMMIT}\"\n- git: /srv/b\n  tag: \"1\"\n  \
                 commit: \"{COMMIT}\"\n"
            )
        );
        let read = parse_lock("werf-includes.lock", &written).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(read, lock);
        assert_eq!((a.held(&read).as_deref(), c.held(&[]).as_deref()), (Some(COMMIT), Some(COMMIT)));
        assert_eq!(a.held(&read[1..]), None);
        assert_eq!(parse("f", "").expect("nothing"), []);
        assert_eq!(parse_lock("f", &write_lock(&[])).expect("nothing"), []);
    }
}
