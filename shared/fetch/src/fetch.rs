//! Files, fetched over http and https.

use std::{
    error::Error,
    fs::OpenOptions,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use http::{
    StatusCode,
    header::{LAST_MODIFIED, LOCATION},
};
use reqwest::Response;
use slipway_process::Environment;
use url::Url;

use crate::{
    Addresses,
    guard::{self, Guard, TooNear},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Redirects that may follow each other.
const MAX_REDIRECTS: usize = 10;

/// Why a file was not fetched. No message holds a login or a query.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not to be had: trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// It would come from where nothing is fetched from.
    #[error("{0}")]
    Near(String),
    /// Nobody answers, or not to the end: another try may help.
    #[error("{0}")]
    Unavailable(String),
    /// It cannot be written.
    #[error("{doing}: {error}")]
    Disk {
        /// What was being done.
        doing: String,
        /// What went wrong.
        error: io::Error,
    },
}

/// How much is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file.
    pub bytes: u64,
    /// From the first connection to the last byte.
    pub time: Duration,
}

impl Default for Limits {
    /// 16 GiB, one hour.
    fn default() -> Self {
        Self { bytes: 16 << 30, time: Duration::from_secs(3600) }
    }
}

/// What is known of a file that was fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// `Last-Modified`, in seconds since the epoch.
    pub modified: Option<i64>,
    /// Bytes.
    pub size: u64,
}

/// What fetches.
pub struct Fetcher {
    client: reqwest::Client,
    guard: Guard,
    limits: Limits,
}

/// What is asked whether there is room for so many more bytes.
pub type Admit<'a> = dyn FnMut(u64) -> BoxFuture<'a, io::Result<()>> + Send + 'a;

impl Fetcher {
    /// A fetcher that connects only to the addresses allowed, by the proxies that the environment names.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(addresses: Addresses, limits: Limits, environment: &Environment) -> Result<Self, FetchError> {
        Self::with(Guard::new(addresses.rule(), environment, guard::system()), limits)
    }

    fn with(guard: Guard, limits: Limits) -> Result<Self, FetchError> {
        // Another part of the program may have installed one already: any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .dns_resolver(std::sync::Arc::new(guard.clone()))
        };
        // A machine without any certificates can still talk plain HTTP; HTTPS will say that nothing is trusted.
        let client = builder().build().or_else(|error| {
            tracing::warn!(%error, "no certificates of authorities; HTTPS will fail");
            builder().tls_certs_only([]).build()
        });
        let client = client.map_err(|error| FetchError::Refused(format!("set up connections: {}", root(&error))))?;
        Ok(Self { client, guard, limits })
    }

    /// The addresses of a host; all may be spoken to.
    ///
    /// # Errors
    /// [`FetchError::Near`] when one may not, [`FetchError::Unavailable`] when the host is not known.
    pub async fn addresses_of(&self, host: &str) -> Result<Vec<IpAddr>, FetchError> {
        let found = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => self.guard.addresses_of(&address.to_string()).await,
            Err(_) => self.guard.addresses_of(host).await,
        };
        found.map_err(|error| told(&format!("look up `{host}`"), &error))
    }

    /// Fetches `url` into the new file `to`, which only its owner may read. `admit` is asked before bytes are written.
    ///
    /// # Errors
    /// [`FetchError`]; what was written until then stays.
    pub async fn fetch(&self, url: &str, to: &Path, admit: &mut Admit<'_>) -> Result<Fetched, FetchError> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(parsed) = parsed else {
            return Err(FetchError::Refused(format!("`{}` is no address of a file", plain(url))));
        };
        let doing = format!("fetch {}", shown(&parsed));
        let fetching = self.follow(parsed, (to, admit), &doing);
        let late = |_| FetchError::Unavailable(format!("{doing}: it took more than {} s", self.limits.time.as_secs()));
        tokio::time::timeout(self.limits.time, fetching).await.map_err(late)?
    }

    async fn follow(
        &self,
        mut url: Url,
        (to, admit): (&Path, &mut Admit<'_>),
        doing: &str,
    ) -> Result<Fetched, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            self.guard.check(&url).await.map_err(|error| told(doing, &error))?;
            let sent = self.client.get(url.clone()).send().await.map_err(|error| told(doing, &error))?;
            let status = sent.status();
            if status == StatusCode::OK {
                return self.save(sent, (to, admit), doing).await;
            }
            let next = sent.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let Some(next) = next.filter(|_| status.is_redirection()) else { return Err(refusal(doing, status)) };
            let refuse = |why: &str| FetchError::Refused(format!("{doing}: the server redirects to {why}"));
            let next = url.join(next).map_err(|_| refuse("what is no address"))?;
            match (url.scheme(), next.scheme()) {
                ("http", "http") | (_, "https") => {}
                ("https", "http") => return Err(refuse(&format!("{}, which is not encrypted", shown(&next)))),
                _ => return Err(refuse(&format!("{}, which is not of the web", shown(&next)))),
            }
            url = next;
        }
        Err(FetchError::Refused(format!("{doing}: the server redirects more than {MAX_REDIRECTS} times")))
    }

    async fn save(
        &self,
        mut response: Response,
        (to, admit): (&Path, &mut Admit<'_>),
        doing: &str,
    ) -> Result<Fetched, FetchError> {
        let too_large = || {
            FetchError::Refused(format!(
                "{doing}: the file has more than {} bytes, which is the limit",
                self.limits.bytes
            ))
        };
        if response.content_length().is_some_and(|length| length > self.limits.bytes) {
            return Err(too_large());
        }
        let modified = response.headers().get(LAST_MODIFIED).and_then(|value| value.to_str().ok()).and_then(seconds);
        let disk = |error| FetchError::Disk { doing: format!("{doing}: write {}", to.display()), error };
        // What arrives is written in pieces of some kilobytes, which a disk's cache takes at once.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        let mut file = io::BufWriter::new(file.map_err(disk)?);
        let mut size = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| told(doing, &error))? {
            size += piece.len() as u64;
            if size > self.limits.bytes {
                return Err(too_large());
            }
            admit(piece.len() as u64).await.map_err(disk)?;
            file.write_all(&piece).map_err(disk)?;
        }
        file.into_inner().map_err(|error| disk(error.into_error()))?;
        Ok(Fetched { modified, size })
    }
}

fn refusal(doing: &str, status: StatusCode) -> FetchError {
    let text = format!("{doing}: the server answers {status}");
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    if passing { FetchError::Unavailable(text) } else { FetchError::Refused(text) }
}

/// What an error of a connection means.
fn told(doing: &str, error: &(dyn Error + 'static)) -> FetchError {
    let mut cause = Some(error);
    while let Some(found) = cause {
        let near = found.downcast_ref::<TooNear>().or_else(|| {
            let io = found.downcast_ref::<io::Error>()?;
            io.get_ref()?.downcast_ref()
        });
        if let Some(near) = near {
            return FetchError::Near(format!("{doing}: {near}"));
        }
        cause = found.source();
    }
    FetchError::Unavailable(format!("{doing}: {}", root(error)))
}

/// The innermost reason, which names no address.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn seconds(text: &str) -> Option<i64> {
    let moment = httpdate::parse_http_date(text).ok()?;
    i64::try_from(moment.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// An address without login and query.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// The same of what is no address.
fn plain(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest: String = rest.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect();
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

#[cfg(test)]
mod tests;
