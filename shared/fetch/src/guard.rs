//! Names on their way to a connection: looked up here, so that what is checked is what is spoken to.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use slipway_process::Environment;
use url::{Host, Url};

/// Variables that name proxies.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// How names are looked up.
pub(crate) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// An address that must not be spoken to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{host}` is {address}, an address of this host, its link or its cloud's metadata")]
pub(crate) struct TooNear {
    host: String,
    address: IpAddr,
}

/// What looks names up and lets only some addresses through.
#[derive(Clone)]
pub(crate) struct Guard {
    allow: fn(IpAddr) -> bool,
    lookup: Lookup,
    /// Names of proxies, which may be near: what they connect to is theirs to decide.
    proxies: BTreeSet<String>,
}

impl Guard {
    pub(crate) fn new(allow: fn(IpAddr) -> bool, environment: &Environment, lookup: Lookup) -> Self {
        let named = PROXIES.iter().filter_map(|name| environment.non_empty(name));
        let hosts = named.filter_map(|text| {
            let url = Url::parse(text).ok().filter(Url::has_host);
            url.or_else(|| Url::parse(&format!("http://{text}")).ok()).and_then(|url| url.host_str().map(str::to_owned))
        });
        Self { allow, lookup, proxies: hosts.collect() }
    }

    /// Looks at the host of an address as it is written, or that only its bearer would look up.
    pub(crate) async fn check(&self, url: &Url) -> io::Result<()> {
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
            Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
            Some(Host::Domain(name)) if self.proxies.contains(name) => return self.addresses_of(name).await.map(drop),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.let_through(&literal.to_string(), &[literal])
    }

    /// The addresses of a host, all of which may be spoken to.
    pub(crate) async fn addresses_of(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = (self.lookup)(host.to_owned()).await?;
        self.let_through(host, &found)?;
        Ok(found)
    }

    fn let_through(&self, host: &str, found: &[IpAddr]) -> io::Result<()> {
        match found.iter().find(|address| !(self.allow)(**address)) {
            Some(address) => Err(io::Error::other(TooNear { host: host.to_owned(), address: *address })),
            None => Ok(()),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let name = name.as_str();
            let found = match guard.proxies.contains(name) {
                true => (guard.lookup)(name.to_owned()).await?,
                false => guard.addresses_of(name).await?,
            };
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Asks the system.
pub(crate) fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}
