//! Addresses of repositories, as `git clone` takes them.

use std::fmt;

/// What an address may begin with, besides `http`.
const SCHEMES: [&str; 4] = ["https", "ssh", "git+ssh", "file"];

/// A name and password for a repository.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The address of a repository that git may speak to. Shown without its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Without name and password when these are a login.
    url: String,
    login: Option<Login>,
}

/// Why a text is no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the address `{shown}` of a git repository {fault}; write `https://HOST/PATH`, `ssh://HOST/PATH`, `USER@HOST:PATH` or \
     `file:///PATH`"
)]
pub struct AddressError {
    shown: String,
    fault: &'static str,
}

impl Address {
    /// Reads `text`. Over `http` a password and what is fetched can be read and changed on the way: it is for this
    /// machine alone unless `with_http`.
    ///
    /// # Errors
    /// [`AddressError`] when git would take it for something else, or speak by a program of its own.
    pub fn new(text: &str, with_http: bool) -> Result<Self, AddressError> {
        let refuse = |fault| Err(AddressError { shown: without_password(text), fault });
        if text.is_empty() {
            return refuse("is empty");
        } else if text.starts_with('-') {
            return refuse("begins with a dash");
        } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return refuse("holds blanks");
        } else if text.split_once("::").is_some_and(|(helper, _)| helper.chars().all(|c| c.is_ascii_alphanumeric())) {
            return refuse("names a helper program");
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Self::without_scheme(text) };
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        match scheme.as_str() {
            "http" if !with_http && !is_here(host) => {
                return refuse("is not encrypted: `http` is for this machine alone");
            }
            "http" => {}
            other if SCHEMES.contains(&other) => {}
            _ => return refuse("begins with an unknown scheme"),
        }
        if scheme == "file" && !path.starts_with('/') || scheme != "file" && host.is_empty() {
            return refuse("names no host or path");
        }
        if host.starts_with('-') || path.starts_with("/-") {
            return refuse("holds an option");
        }
        Ok(match login(authority).filter(|_| scheme.starts_with("http")) {
            Some(login) => Self { url: format!("{scheme}://{host}{path}"), login: Some(login) },
            None => Self { url: format!("{scheme}://{rest}"), login: None },
        })
    }

    /// `USER@HOST:PATH`, or an absolute path of this machine.
    fn without_scheme(text: &str) -> Result<Self, AddressError> {
        let refuse = |fault| Err(AddressError { shown: without_password(text), fault });
        if !text.starts_with('/') {
            let Some((host, path)) = text.split_once(':').filter(|(host, _)| !host.contains('/')) else {
                return refuse("is a relative path");
            };
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            if host.is_empty() || path.is_empty() {
                return refuse("names no host or path");
            }
            if host.starts_with('-') || path.starts_with('-') {
                return refuse("holds an option");
            }
        }
        Ok(Self { url: text.to_owned(), login: None })
    }

    /// The same with another login.
    #[must_use]
    pub fn with_login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// The address without a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The login, for `https` and `http`.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.url))
    }
}

/// `NAME:PASSWORD@` of an authority.
fn login(authority: &str) -> Option<Login> {
    let (user, _) = authority.rsplit_once('@')?;
    let (username, password) = user.split_once(':')?;
    Some(Login { username: decoded(username), password: decoded(password) })
}

/// `text` with `%XX` replaced by what it stands for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                kept.push(byte);
                at += 3;
            }
            None => {
                kept.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Whether `host` (with a port) is this machine.
fn is_here(host: &str) -> bool {
    let name = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name);
    let name = name.unwrap_or_else(|| host.split_once(':').map_or(host, |(name, _)| name));
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) if rest[..at].contains(':') => format!("{scheme}://***{}", &rest[at..]),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_git_clone() {
        for (text, url) in [
            ("https://host/a.git", "https://host/a.git"),
            ("HTTPS://host/a", "https://host/a"),
            ("https://token@host/a", "https://token@host/a"),
            ("ssh://git@host:22/a.git", "ssh://git@host:22/a.git"),
            ("ssh://git@[::1]/a.git", "ssh://git@[::1]/a.git"),
            ("git@host:group/a.git", "git@host:group/a.git"),
            ("file:///srv/a", "file:///srv/a"),
            ("/srv/a", "/srv/a"),
            ("http://127.0.0.1:80/a", "http://127.0.0.1:80/a"),
            ("http://[::1]:80/a", "http://[::1]:80/a"),
        ] {
            assert_eq!(Address::new(text, false).expect(text).url(), url);
        }
        let address = Address::new("https://me:p%40ss@host/a", false).expect("an address");
        let login = Login { username: "me".to_owned(), password: "p@ss".to_owned() };
        assert_eq!((address.url(), address.login()), ("https://host/a", Some(&login)));
        assert!(!format!("{address:?}{address}").contains("p@ss"));
        assert!(Address::new("http://host/a", true).is_ok());
    }

    #[test]
    fn what_git_takes_for_something_else_is_refused() {
        for (text, fault) in [
            ("", "is empty"),
            ("--upload-pack=x", "begins with a dash"),
            ("https://h/a b", "holds blanks"),
            ("ext::sh -c x", "holds blanks"),
            ("ext::sh", "names a helper program"),
            ("git://host/a", "unknown scheme"),
            ("http://host/a", "is not encrypted"),
            ("http://127.0.0.1.example.org/a", "is not encrypted"),
            ("ssh://-oProxyCommand=x/a", "holds an option"),
            ("ssh://me@-x/a", "holds an option"),
            ("me@-x:a", "holds an option"),
            ("../a", "is a relative path"),
            ("a/b:c", "is a relative path"),
            ("https:///a", "names no host"),
            ("file://host", "names no host or path"),
            (":a", "names no host"),
        ] {
            let error = Address::new(text, false).expect_err(text).to_string();
            assert!(error.contains(fault), "{text}: {error}");
        }
        let shown = Address::new("http://me:secret@host/a", false).expect_err("no address").to_string();
        assert!(!shown.contains("secret") && shown.contains("http://***@host/a"), "{shown}");
    }
}
