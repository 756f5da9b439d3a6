//! What is known of another repository by its description alone.

use std::fmt;

use super::{Config, GitRevision, Image, ImageKind, RemoteGit, SecretSource};

impl fmt::Display for GitRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

impl RemoteGit {
    /// Whether the description itself lets its reader in: the address holds a name or password for https, or the password
    /// of `basicAuth` is written out.
    pub fn tells_login(&self) -> bool {
        let is_written = |auth: &super::BasicAuth| matches!(auth.password, SecretSource::Value(_));
        let authority = |rest: &str| rest.split('/').next().is_some_and(|authority| authority.contains('@'));
        let in_address = self.url.split_once("://").is_some_and(|(scheme, rest)| {
            let scheme = scheme.to_ascii_lowercase();
            // A name alone may be a token, but for ssh, which has no passwords in addresses.
            scheme.starts_with("http") && authority(rest) || scheme.contains("ssh") && has_password(rest)
        });
        in_address || self.auth.as_ref().is_some_and(is_written)
    }
}

fn has_password(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

impl Config {
    /// The other repositories of all images, with the images that take files from them.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Image, &RemoteGit)> {
        self.images.iter().flat_map(|image| image.upstreams().map(move |remote| (image, remote)))
    }
}

impl Image {
    /// The other repositories that it takes files from, in order.
    pub fn upstreams(&self) -> impl Iterator<Item = &RemoteGit> {
        let mappings = match &self.kind {
            ImageKind::Stapel(stapel) => stapel.git.as_slice(),
            ImageKind::Dockerfile(_) => &[],
        };
        mappings.iter().filter_map(|mapping| mapping.remote.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn what_lets_its_reader_in_is_known() {
        for (described, tells) in [
            ("url: https://host/a/b.git", false),
            ("url: https://host/a@b", false),
            ("url: https://token@host/a", true),
            ("url: https://me:pass@host/a", true),
            ("url: git@host:a/b.git", false),
            ("url: ssh://git@host/a", false),
            ("url: ssh://git:pass@host/a", true),
            ("url: file:///srv/a@b", false),
            ("url: https://host/a\n  basicAuth: {username: me, password: {env: P}}", false),
            ("url: https://host/a\n  basicAuth: {username: me, password: {value: P}}", true),
        ] {
            let text = format!(
                "project: p\nconfigVersion: 1\n---\nimage: a\nfrom: b\ngit:\n- to: /a\n  tag: v1\n  {described}\n"
            );
            let config = parse("werf.yaml", &text).expect(described);
            let remote = config.upstreams().next().expect(described).1;
            assert_eq!(remote.tells_login(), tells, "{described}");
            assert_eq!(remote.revision.to_string(), "tag v1");
        }
    }
}
