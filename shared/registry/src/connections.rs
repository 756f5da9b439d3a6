//! Connections: TLS, proxies, time-outs. No redirects and no retries, which [`crate::transport`] decides.

use std::{sync::OnceLock, time::Duration};

use http::HeaderValue;
use url::Url;

use crate::{Options, RegistryError, scheme::is_inner};

const CONNECT: Duration = Duration::from_secs(10);
const IDLE_CONNECTIONS_PER_HOST: usize = 16;

/// Connections to registries: proxied ones as the environment says, and direct ones to this machine, which is never
/// reached through a proxy. Each kind is set up when first needed, as that reads all certificates of the system.
#[derive(Debug)]
pub(crate) struct Connections {
    user_agent: HeaderValue,
    skip_tls_verify: bool,
    proxied: OnceLock<Result<reqwest::Client, String>>,
    direct: OnceLock<Result<reqwest::Client, String>>,
}

impl Connections {
    pub(crate) fn new(options: &Options) -> Result<Self, RegistryError> {
        // Another part of the program may have installed one already: any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let user_agent = if options.user_agent.is_empty() {
            HeaderValue::from_static(concat!("slipway/", env!("CARGO_PKG_VERSION")))
        } else {
            HeaderValue::from_str(&options.user_agent).map_err(|_| {
                RegistryError::Refused("set up the registry client: the user agent is no header value".to_owned())
            })?
        };
        Ok(Self {
            user_agent,
            skip_tls_verify: options.skip_tls_verify,
            proxied: OnceLock::new(),
            direct: OnceLock::new(),
        })
    }

    /// The connections for an address.
    pub(crate) fn to(&self, url: &Url) -> Result<&reqwest::Client, String> {
        let direct = is_inner(url);
        let cell = if direct { &self.direct } else { &self.proxied };
        cell.get_or_init(|| self.open(direct)).as_ref().map_err(Clone::clone)
    }

    fn open(&self, direct: bool) -> Result<reqwest::Client, String> {
        let system = self.builder(direct).build();
        // A machine without any certificates can still talk plain HTTP; HTTPS will say that nothing is trusted.
        let client = system.or_else(|error| {
            tracing::warn!(error = root_cause(&error), "no certificates of authorities; HTTPS registries will fail");
            self.builder(direct).tls_certs_only([]).build()
        });
        client.map_err(|error| format!("cannot set up connections: {}", root_cause(&error)))
    }

    fn builder(&self, direct: bool) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(self.user_agent.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .tls_danger_accept_invalid_certs(self.skip_tls_verify);
        if direct { builder.no_proxy() } else { builder }
    }
}

/// What went wrong on a connection, as far as it changes what to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The server's certificate is not trusted.
    Certificate,
    /// The server does not speak TLS.
    NotTls,
    /// No connection.
    Connect,
    /// All else: cut, timed out.
    Other,
}

/// The kind of a connection's error.
pub(crate) fn fault(error: &reqwest::Error) -> Fault {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Certificate,
        Some(rustls::Error::InvalidMessage(_)) => Fault::NotTls,
        _ if error.is_connect() => Fault::Connect,
        _ => Fault::Other,
    }
}

/// The innermost message of an error: the one that says what happened. Outer ones may hold addresses with queries.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error hides the error it was made of from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        if let Some(found) = inner.and_then(|inner| tls_error(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
