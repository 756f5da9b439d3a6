//! `url` of `git`: another repository, and which of its commits.

use slipway_paths::TreePath;

use super::{Reader, secrets, section::Section, value::Written};
use crate::{BasicAuth, GitRevision, OutsideKind, RemoteGit, problem::without_credentials, yaml::shorten};

/// The directives that name a commit.
const REVISIONS: [&str; 3] = ["branch", "tag", "commit"];
/// Directives that make sense only beside a `url`.
const FOR_REMOTES: [&str; 4] = ["branch", "tag", "commit", "basicAuth"];
const INCLUDE_KEYS: [&str; 10] =
    ["name", "git", "branch", "tag", "commit", "basicAuth", "add", "to", "includePaths", "excludePaths"];
/// What an address may begin with.
const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git+ssh", "file"];

/// Reads what names the repository of a mapping and its commit. `None` = the project's own, or a problem was added.
pub(super) fn read(reader: &mut Reader<'_>, mapping: &Section<'_>) -> Option<RemoteGit> {
    let given: Vec<_> = REVISIONS.into_iter().filter_map(|key| Some((key, mapping.get(key)?))).collect();
    if let [(first, _), (second, entry), ..] = given.as_slice() {
        let message = format!("`{first}` and `{second}` cannot stand together");
        reader.refuse(entry.position, message, "keep one of `branch`, `tag` and `commit`");
    }
    let revision = given.first().and_then(|(key, _)| revision(reader, mapping, key));
    let Some(entry) = mapping.get("url") else {
        refuse_without_url(reader, mapping);
        return None;
    };
    match (&revision, given.first()) {
        (Some(GitRevision::Branch(_)), Some((_, branch))) => reader.outside(OutsideKind::GitBranch, branch.position),
        // The branch that a repository calls its own moves like any other.
        (None, None) => reader.outside(OutsideKind::GitBranch, entry.position),
        _ => {}
    }
    let auth = auth(reader, mapping);
    let url = url(reader, mapping, "url")?;
    refuse_auth(reader, auth.is_some(), &url);
    let name = repository_name(&url.text);
    let revision = revision.unwrap_or(GitRevision::Default);
    Some(RemoteGit { url: url.text, name, revision, auth, commit: None, position: url.position })
}

/// Reads an entry of `includes`: the repository with its commit, `add` and `to`.
pub(crate) fn read_include(reader: &mut Reader<'_>, entry: &Section<'_>) -> Option<(RemoteGit, TreePath, TreePath)> {
    reader.known(entry, &INCLUDE_KEYS);
    let given: Vec<_> = REVISIONS.into_iter().filter_map(|key| Some((key, entry.get(key)?))).collect();
    match given.as_slice() {
        [_] => {}
        [] => {
            let message = "an include needs one of `branch`, `tag` and `commit`";
            reader.refuse(entry.position, message, "write `branch: main`, `tag: NAME` or `commit: ID`");
        }
        [(first, _), (second, other), ..] => {
            let message = format!("`{first}` and `{second}` cannot stand together");
            reader.refuse(other.position, message, "keep one of `branch`, `tag` and `commit`");
        }
    }
    let revision = given.first().and_then(|(key, _)| revision(reader, entry, key));
    if entry.get("git").is_none() {
        let message = "`git` is missing: from which repository are the files?";
        reader.missing(entry, "git", message, "write `git: https://HOST/PATH`");
    }
    let auth = auth(reader, entry);
    let url = url(reader, entry, "git");
    if let Some(url) = &url {
        refuse_auth(reader, auth.is_some(), url);
    }
    let (add, to) = (place(reader, entry, "add"), place(reader, entry, "to"));
    let url = url?;
    let name = repository_name(&url.text);
    let remote = RemoteGit { url: url.text, name, revision: revision?, auth, commit: None, position: url.position };
    Some((remote, add?, to?))
}

/// A path from the root of a repository, with or without a slash in front.
fn place(reader: &mut Reader<'_>, entry: &Section<'_>, key: &str) -> Option<TreePath> {
    if entry.get(key).is_none() {
        return Some(TreePath::root());
    }
    let written = reader.text(entry, key)?;
    let path = TreePath::new(written.text.trim_start_matches('/'));
    if path.is_err() {
        let message = format!("`{key}` leads outside: `{}`", shorten(&written.text));
        reader.refuse(written.position, message, "remove `..` from the path");
    }
    path.ok()
}

fn refuse_auth(reader: &mut Reader<'_>, has_auth: bool, url: &Written) {
    if has_auth && !url.text.starts_with("http") {
        let message = "`basicAuth` is for an address that begins with `https://`";
        reader.refuse(url.position, message, "remove `basicAuth`; over ssh the keys of the user are taken");
    }
}

fn refuse_without_url(reader: &mut Reader<'_>, mapping: &Section<'_>) {
    for (key, entry) in FOR_REMOTES.into_iter().filter_map(|key| Some((key, mapping.get(key)?))) {
        let message = format!("`{key}` is for `git` with a `url`: the project's own files come from its commit");
        reader.refuse(entry.position, message, format!("remove `{key}`, or name the repository by `url`"));
    }
}

fn revision(reader: &mut Reader<'_>, mapping: &Section<'_>, key: &str) -> Option<GitRevision> {
    let Written { text, position } = reader.filled(mapping, key)?;
    if key == "commit" {
        let digits = text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'));
        if !digits || !matches!(text.len(), 40 | 64) {
            let message = format!("`commit` must be the whole name of a commit, not `{}`", shorten(&text));
            reader.refuse(
                position,
                message,
                "write all 40 digits (0-9, a-f) of it; write `tag` or `branch` for a name",
            );
            return None;
        }
        return Some(GitRevision::Commit(text));
    }
    if let Some(fault) = name_fault(&text) {
        let message = format!("`{key}` cannot be `{}`: {fault}", shorten(&text));
        reader.refuse(position, message, format!("write the name as `git {key}` lists it"));
        return None;
    }
    Some(if key == "tag" { GitRevision::Tag(text) } else { GitRevision::Branch(text) })
}

/// Why git has no branch or tag of this name.
fn name_fault(name: &str) -> Option<&'static str> {
    if name.starts_with('-') {
        Some("names do not begin with a dash")
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c)) {
        Some("names hold no blanks and none of `~^:?*[\\`")
    } else if name.contains("..") || name.contains("//") || name.starts_with('/') || name.ends_with(['/', '.']) {
        Some("names hold no `..` and `//`, and end in neither `/` nor `.`")
    } else {
        None
    }
}

/// The address, as `git clone` takes it.
fn url(reader: &mut Reader<'_>, mapping: &Section<'_>, key: &str) -> Option<Written> {
    let written = reader.filled(mapping, key)?;
    let shown = shorten(&without_credentials(&written.text));
    let scheme = written.text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let hint = "write the address as `git clone` takes it: `https://HOST/PATH`, `ssh://HOST/PATH` or `USER@HOST:PATH`";
    let fault = if written.text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "holds blanks"
    } else if written.text.starts_with('-') {
        "begins with a dash"
    } else if written.text.split_once("::").is_some_and(|(helper, _)| helper.chars().all(|c| c.is_ascii_alphanumeric()))
    {
        "names a helper program"
    } else if scheme.is_some_and(|scheme| !SCHEMES.contains(&scheme.as_str())) {
        "begins with an unknown scheme"
    } else {
        return Some(written);
    };
    reader.refuse(written.position, format!("`{key}` {fault}: `{shown}`"), hint);
    None
}

fn auth(reader: &mut Reader<'_>, mapping: &Section<'_>) -> Option<BasicAuth> {
    let section = reader.subsection(mapping, "basicAuth", &["username", "password"])?;
    if section.get("username").is_none() {
        reader.missing(&section, "username", "`basicAuth` has no `username`", "write `username: NAME`");
    }
    let username = reader.filled(&section, "username");
    if section.get("password").is_none() {
        let hint = "write `password: {env: NAME}` or `password: {src: PATH}`";
        reader.missing(&section, "password", "`basicAuth` has no `password`", hint);
    }
    let password = reader.subsection(&section, "password", &["env", "src", "value"])?;
    // It opens a door and changes nothing that is built: giterminism need not allow it.
    let (password, _) = secrets::source(reader, &password, "a password")?;
    Some(BasicAuth { username: username?.text, password })
}

/// The name that a repository goes by: the last two parts of its address, without `.git`. An address that has no host
/// and no scheme is its own name.
pub(super) fn repository_name(url: &str) -> String {
    let (has_host, path) = match url.split_once("://") {
        Some((_, rest)) => (true, rest.split_once('/').map_or("", |(_, path)| path)),
        None => match url.split_once(':') {
            Some((host, path)) if !host.contains('/') => (true, path),
            _ => (false, url),
        },
    };
    if !has_host {
        return url.to_owned();
    }
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts = path.rsplitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some(last), Some(before)) => format!("{before}/{last}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixture_67_repositories_have_short_names() {
        for (url, name) in [
            ("git@github.com:company/name.git", "company/name"),
            ("git@github.com:company/name", "company/name"),
            ("https://github.com/company/name.git", "company/name"),
            ("https://user:password@github.com/company/name", "company/name"),
            ("https://user@host:8443/company/name.git", "company/name"),
            ("ssh://git@host:2222/company/name.git", "company/name"),
            ("https://host/group/sub/name.git", "sub/name"),
            ("file:///path/workspace/name.git/", "workspace/name"),
            ("file:///path/workspace/name", "workspace/name"),
            ("../name", "../name"),
            ("/srv/git/name.git", "/srv/git/name.git"),
            ("https://host/name.git", "name"),
        ] {
            assert_eq!(repository_name(url), name, "{url}");
        }
    }
}
