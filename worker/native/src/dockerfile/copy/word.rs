//! What a source of an instruction names: a path, a text of the Dockerfile, a file of the web, a git repository.

use slipway_backend::BackendError;
use slipway_dockerfile::{Files, Source};

/// A source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// A path, perhaps with wildcards.
    Path(String),
    /// A file that stands in the Dockerfile.
    Text {
        /// Its name.
        name: String,
        /// Its content.
        text: String,
    },
    /// A file of the web.
    Url(String),
    /// Files of a git repository.
    Git(Git),
}

/// Files of a git repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Git {
    /// Its address.
    pub(super) address: String,
    /// A branch, tag or commit; `None` = the repository's own branch.
    pub(super) wanted: Option<String>,
    /// The directory that is taken; `None` = all.
    pub(super) subdir: Option<String>,
}

/// The sources of a step; refuses what does not go together.
pub(super) fn of(step: &Files) -> Result<Vec<Word>, BackendError> {
    let refuse = |why: String| Err(BackendError::Refused(why));
    let mut words = Vec::new();
    for source in &step.sources {
        words.push(match source {
            Source::Content(content) => Word::Text { name: content.name.clone(), text: content.text.clone() },
            Source::Path(path) => word(path).map_err(BackendError::Refused)?,
        });
    }
    let is_far = |word: &Word| matches!(word, Word::Url(_) | Word::Git(_));
    if !step.add && words.iter().any(is_far) {
        return refuse("COPY takes no address as a source: use ADD".to_owned());
    }
    if step.add && step.from.is_some() {
        return refuse("ADD takes nothing of other stages or images: use COPY".to_owned());
    }
    if let Some(checksum) = &step.checksum {
        match words.as_slice() {
            [Word::Url(_)] if is_sha256(checksum) => {}
            [Word::Git(_)] if is_commit(checksum) => {}
            [Word::Url(_)] => {
                return refuse(format!("`{checksum}` is no checksum: write `sha256:` and 64 hexadecimal digits"));
            }
            [Word::Git(_)] => return refuse(format!("`{checksum}` is no commit: write its 40 hexadecimal digits")),
            [_] => return refuse("--checksum is for a source that is an address".to_owned()),
            _ => return refuse("--checksum is for one source: write an ADD for each".to_owned()),
        }
    }
    if step.keep_git_dir && !words.iter().any(|word| matches!(word, Word::Git(_))) {
        return refuse("--keep-git-dir is for a source that is a git repository".to_owned());
    }
    Ok(words)
}

fn word(text: &str) -> Result<Word, String> {
    let lower = text.to_ascii_lowercase();
    let is_web = lower.starts_with("http://") || lower.starts_with("https://");
    let other = ["ssh://", "git://"].iter().any(|scheme| lower.starts_with(scheme));
    let before = text.split('#').next().unwrap_or_default();
    let path = before.split('?').next().unwrap_or_default();
    let is_git = other || is_scp(before) || is_web && path.ends_with(".git");
    if !is_git {
        return Ok(if is_web { Word::Url(text.to_owned()) } else { Word::Path(text.to_owned()) });
    }
    if path != before {
        return Err(
            "not supported yet: a query in the address of a git repository; write `ADDRESS#REF:DIRECTORY`".to_owned()
        );
    }
    if lower.starts_with("git://") {
        return Err("git:// is not encrypted and not spoken here: use https or ssh".to_owned());
    }
    let fragment = text.split_once('#').map(|(_, fragment)| fragment).unwrap_or_default();
    let (wanted, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Word::Git(Git { address: before.to_owned(), wanted: some(wanted), subdir: some(subdir) }))
}

/// Whether it is `USER@HOST:PATH`.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    plain(user, "-_") && plain(host, "-.") && !path.is_empty() && !text.contains("://")
}

fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hexadecimal(digits))
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let git = |address: &str, wanted: Option<&str>, subdir: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Word::Git(Git { address: address.to_owned(), wanted: own(wanted), subdir: own(subdir) })
        };
        let cases = [
            ("a/b", Word::Path("a/b".to_owned())),
            ("github.com/a/b.git", Word::Path("github.com/a/b.git".to_owned())),
            ("a@b", Word::Path("a@b".to_owned())),
            ("me@host/x:y", Word::Path("me@host/x:y".to_owned())),
            ("https://h/a.tar", Word::Url("https://h/a.tar".to_owned())),
            ("http://h/a?x=b.git", Word::Url("http://h/a?x=b.git".to_owned())),
            ("https://h/a.git", git("https://h/a.git", None, None)),
            ("https://h/a.git#v1:docs/x", git("https://h/a.git", Some("v1"), Some("docs/x"))),
            ("https://h/a.git#:docs", git("https://h/a.git", None, Some("docs"))),
            ("ssh://git@h/a#main", git("ssh://git@h/a", Some("main"), None)),
            ("git@h:a/b.git#main", git("git@h:a/b.git", Some("main"), None)),
        ];
        for (text, expected) in cases {
            assert_eq!(word(text), Ok(expected), "{text}");
        }
        assert!(word("git://h/a.git").is_err() && word("https://h/a.git?ref=main").is_err());
    }
}
