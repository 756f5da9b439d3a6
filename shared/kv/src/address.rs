//! Where etcd is, as users write it: `etcd://HOST:PORT[,HOST:PORT…][/PREFIX]`, or URLs of its members; and how it is
//! spoken to, by variables, so that no secret stands on a command line.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use slipway_process::Environment;

/// The port of an etcd member that names none.
const DEFAULT_PORT: u16 = 2379;
/// Most members that an address may name.
const MAX_MEMBERS: usize = 16;
/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 200;
/// How long one call may take at one member.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// File of the authorities whose certificates are taken; makes connections use TLS.
pub const CA_FILE: &str = "SLIPWAY_ETCD_CA_FILE";
/// File of the certificate that we show.
pub const CERT_FILE: &str = "SLIPWAY_ETCD_CERT_FILE";
/// File of its key.
pub const KEY_FILE: &str = "SLIPWAY_ETCD_KEY_FILE";
/// Name of the user.
pub const USER: &str = "SLIPWAY_ETCD_USER";
/// His password.
pub const PASSWORD: &str = "SLIPWAY_ETCD_PASSWORD";
/// File of his password.
pub const PASSWORD_FILE: &str = "SLIPWAY_ETCD_PASSWORD_FILE";

/// Members of an etcd cluster, and the prefix of our keys in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EtcdAddress {
    /// `HOST:PORT`, at least one.
    members: Vec<String>,
    /// Whether `https://` was written.
    tls: bool,
    /// What all keys begin with; ends with a slash, or is empty.
    prefix: String,
}

/// A text that is no address of etcd.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no address of etcd: {why}; write etcd://HOST:PORT[,HOST:PORT…][/PREFIX]")]
pub struct AddressError {
    text: String,
    why: String,
}

impl EtcdAddress {
    /// The members, as `HOST:PORT`.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// What all keys begin with; ends with a slash, or is empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The address of members given one by one: `http://HOST:PORT`, `https://HOST:PORT` or `HOST:PORT` each.
    ///
    /// # Errors
    /// When one of them is none, or some are to be spoken to with TLS and some without.
    pub fn of_members<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, AddressError> {
        let urls: Vec<&str> = urls.into_iter().collect();
        let whole = urls.join(",");
        let error = |why: &str| AddressError::new(&whole, why);
        let tls = urls.iter().filter(|url| url.starts_with("https://")).count();
        if tls != 0 && tls != urls.len() {
            return Err(error("https:// is for all of its members or for none"));
        }
        let hosts = urls.iter().map(|url| {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
            host.strip_suffix('/').unwrap_or(host)
        });
        let members = members(hosts).map_err(|why| error(&why))?;
        Ok(Self { members, tls: tls != 0, prefix: String::new() })
    }

    /// The same cluster, under another prefix, written as in an address.
    ///
    /// # Errors
    /// When it cannot be a prefix.
    pub fn under(self, prefix_text: &str) -> Result<Self, AddressError> {
        let prefix = prefix(prefix_text).map_err(|why| AddressError::new(prefix_text, &why))?;
        Ok(Self { prefix, ..self })
    }
}

impl AddressError {
    fn new(text: &str, why: &str) -> Self {
        // What stands before an `@` may be a password.
        let shown = text.rsplit_once('@').map_or(text.to_owned(), |(_, rest)| format!("…@{rest}"));
        Self { text: shown.chars().take(200).collect(), why: why.to_owned() }
    }
}

impl FromStr for EtcdAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = |why: &str| AddressError::new(text, why);
        let rest = text.strip_prefix("etcd://").ok_or_else(|| error("it does not begin with etcd://"))?;
        if rest.contains('@') {
            return Err(error(&format!("user and password come from {USER} and {PASSWORD}")));
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let members = members(hosts.split(',')).map_err(|why| error(&why))?;
        let prefix = prefix(path).map_err(|why| error(&why))?;
        Ok(Self { members, tls: false, prefix })
    }
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd://{}", self.members.join(","))?;
        match self.prefix.strip_suffix('/') {
            Some(prefix) => write!(f, "/{prefix}"),
            None => Ok(()),
        }
    }
}

fn members<'a>(hosts: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let members: Vec<String> = hosts.map(member).collect::<Result<_, _>>()?;
    match members.len() {
        0 => Err("it names no member".to_owned()),
        number if number > MAX_MEMBERS => Err(format!("it names {number} members, of at most {MAX_MEMBERS}")),
        _ => Ok(members),
    }
}

fn member(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err(format!("user and password come from {USER} and {PASSWORD}"));
    }
    let no_member = || format!("`{text}` is no HOST:PORT");
    let url = url::Url::parse(&format!("http://{text}/")).map_err(|_| no_member())?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(no_member)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(no_member());
    }
    // The port 80 is left out by the parser, as if none was written.
    let port = if text.ends_with(":80") { 80 } else { url.port().unwrap_or(DEFAULT_PORT) };
    Ok(format!("{host}:{port}"))
}

fn prefix(path: &str) -> Result<String, String> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if path.len() > MAX_PREFIX || !path.split('/').all(good) {
        return Err("a prefix is of letters, digits, `.`, `_` and `-`, at most 200 in all, between slashes".to_owned());
    }
    Ok(format!("{path}/"))
}

/// How etcd is spoken to. What it prints holds no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    /// PEM of the authorities whose certificates are taken; `Some` = TLS.
    pub authorities: Option<Vec<u8>>,
    /// PEM of our certificate and of its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// How long one call may take at one member, before the next is asked.
    pub call_timeout: Duration,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self { authorities: None, identity: None, user: None, call_timeout: CALL_TIMEOUT }
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("tls", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("call_timeout", &self.call_timeout)
            .finish()
    }
}

impl EtcdOptions {
    /// What the variables say; the files are read.
    ///
    /// # Errors
    /// Which variable is wrong, and why.
    pub fn from_environment(environment: &Environment) -> Result<Self, String> {
        let file = |name: &str| environment.non_empty(name).map(|path| read(name, path)).transpose();
        let authorities = file(CA_FILE)?;
        let identity = match (file(CERT_FILE)?, file(KEY_FILE)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(format!("{CERT_FILE} needs {KEY_FILE}: set both")),
            (None, Some(_)) => return Err(format!("{KEY_FILE} needs {CERT_FILE}: set both")),
        };
        if identity.is_some() && authorities.is_none() {
            return Err(format!("{CERT_FILE} needs {CA_FILE}: whose certificate etcd has"));
        }
        let user = match (environment.non_empty(USER), password(environment)?) {
            (Some(name), Some(password)) => Some((name.to_owned(), password)),
            (Some(_), None) => return Err(format!("{USER} needs {PASSWORD} or {PASSWORD_FILE}")),
            (None, Some(_)) => return Err(format!("{PASSWORD} needs {USER}")),
            (None, None) => None,
        };
        Ok(Self { authorities, identity, user, call_timeout: CALL_TIMEOUT })
    }

    /// The URL of a member.
    pub(crate) fn url(&self, address: &EtcdAddress, member: &str) -> String {
        let scheme = if self.authorities.is_some() || address.tls { "https" } else { "http" };
        format!("{scheme}://{member}")
    }

    /// What does not fit together.
    pub(crate) fn check(&self, address: &EtcdAddress) -> Result<(), String> {
        if address.tls && self.authorities.is_none() {
            return Err(format!("{address} is spoken to with TLS: set {CA_FILE} to the authority of its certificate"));
        }
        Ok(())
    }
}

fn password(environment: &Environment) -> Result<Option<String>, String> {
    if let Some(password) = environment.non_empty(PASSWORD) {
        return Ok(Some(password.to_owned()));
    }
    let Some(path) = environment.non_empty(PASSWORD_FILE) else { return Ok(None) };
    let text =
        String::from_utf8(read(PASSWORD_FILE, path)?).map_err(|_| format!("{PASSWORD_FILE}: {path} is no text"))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The longest certificate or password file, in bytes.
const MAX_FILE: u64 = 1 << 20;

fn read(name: &str, path: &str) -> Result<Vec<u8>, String> {
    let path = PathBuf::from(path);
    let failed = |why: String| format!("read {} of {name}: {why}", path.display());
    let size = std::fs::metadata(&path).map_err(|why| failed(why.to_string()))?.len();
    if size > MAX_FILE {
        return Err(failed(format!("it has {size} bytes, of at most {MAX_FILE}")));
    }
    std::fs::read(&path).map_err(|why| failed(why.to_string()))
}

#[cfg(test)]
mod tests;
