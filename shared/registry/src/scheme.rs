//! Which addresses may be asked, and how: HTTPS or plain HTTP, where a redirect may lead, where tokens may be had.
//!
//! Pure rules; [`crate::transport`] obeys them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// How a registry is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    Https,
    Http,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// The ways to try for a registry, best first. Plain HTTP without being told to only on this machine.
pub(crate) fn ways(host: &str, insecure: bool) -> &'static [Scheme] {
    // Registries on this machine mostly speak plain HTTP, and nothing on the way could listen.
    if is_local(host) {
        &[Scheme::Http, Scheme::Https]
    } else if insecure {
        &[Scheme::Https, Scheme::Http]
    } else {
        &[Scheme::Https]
    }
}

/// Whether `host` (with or without a port) is `localhost` or in 127.0.0.0/8.
pub(crate) fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The host that answers for a registry: Docker Hub's name is not that of its server.
pub(crate) fn api_host(host: &str) -> &str {
    if matches!(host, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { host }
}

/// Whether two addresses are of one server.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// The address that a `Location` or `Link` points to from `from`; the reason when it must not be followed.
///
/// A server behind a TLS proxy often names itself with `http:`; that is taken for the `https:` it was asked with.
pub(crate) fn follow(from: &Url, location: &str) -> Result<Url, String> {
    let mut to = from.join(location).map_err(|error| format!("the address it points to is malformed ({error})"))?;
    if !matches!(to.scheme(), "http" | "https") || to.host().is_none() {
        return Err(format!("it points to a `{}:` address", to.scheme()));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("it points to an address with credentials in it".to_owned());
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        if to.host() != from.host() || to.port() != from.port() {
            return Err(format!("it leads from HTTPS to plain HTTP at {}", origin_of(&to)));
        }
        to.set_scheme("https").map_err(|()| "the address it points to cannot be made https".to_owned())?;
    }
    if is_inner(&to) && !is_inner(from) {
        return Err(format!("it leads to {}, an address of this machine or its link", origin_of(&to)));
    }
    Ok(to)
}

/// Whether a registry at `registry` may send us for a token to `realm`; the reason when not.
pub(crate) fn check_realm(registry: &Url, realm: &Url) -> Result<(), String> {
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err("its address has credentials in it".to_owned());
    }
    let plain = match realm.scheme() {
        "https" => false,
        "http" => true,
        other => return Err(format!("its address is a `{other}:` one")),
    };
    if is_inner(realm) && !is_inner(registry) {
        return Err(format!("{} is an address of this machine or its link", origin_of(realm)));
    }
    let near = realm.host() == registry.host() || is_inner(realm);
    if plain && !(registry.scheme() == "http" && near) {
        return Err(format!("{} is plain HTTP", origin_of(realm)));
    }
    Ok(())
}

/// Scheme, host and port: what may be shown of an address (queries may hold signatures).
pub(crate) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether an address is of this machine, or a link-local one, as services that hand out credentials have.
pub(crate) fn is_inner(url: &Url) -> bool {
    let inner = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => is_inner_v6(v6),
    };
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(v4)) => inner(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => inner(IpAddr::V6(v6)),
        None => false,
    }
}

fn is_inner_v6(address: Ipv6Addr) -> bool {
    let mapped = address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback() || v4.is_link_local());
    mapped || address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn plain_http_only_here_or_when_told() {
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.8.9.1"] {
            assert_eq!(ways(host, false), [Scheme::Http, Scheme::Https], "{host}");
        }
        for host in ["registry.example", "10.0.0.1:5000", "localhost.example:80", "128.0.0.1", "127.0.0.1.example"] {
            assert_eq!(ways(host, false), [Scheme::Https], "{host}");
            assert_eq!(ways(host, true), [Scheme::Https, Scheme::Http], "{host}");
        }
    }

    #[test]
    fn docker_hub_is_served_elsewhere() {
        assert_eq!(api_host("docker.io"), "registry-1.docker.io");
        assert_eq!(api_host("index.docker.io"), "registry-1.docker.io");
        assert_eq!(api_host("registry.example:5000"), "registry.example:5000");
    }

    #[test]
    fn locations_are_followed_where_that_is_safe() {
        let cases = [
            ("https://r.example/v2/a", "/v2/b?x=1", Ok("https://r.example/v2/b?x=1")),
            ("https://r.example/v2/a", "https://cdn.example/b", Ok("https://cdn.example/b")),
            ("http://10.0.0.1:5000/v2/", "http://10.0.0.2/b", Ok("http://10.0.0.2/b")),
            ("https://r.example/v2/a", "http://r.example/b", Ok("https://r.example/b")),
            ("https://r.example:5000/v2/a", "http://r.example:5000/b", Ok("https://r.example:5000/b")),
            ("http://127.0.0.1:1/a", "http://127.0.0.1:2/b", Ok("http://127.0.0.1:2/b")),
            ("https://r.example/a", "http://cdn.example/b", Err("plain HTTP")),
            ("https://r.example/a", "http://r.example:81/b", Err("plain HTTP")),
            ("https://r.example/a", "https://127.0.0.1/b", Err("this machine")),
            ("http://r.example/a", "http://169.254.169.254/b", Err("this machine")),
            ("https://r.example/a", "https://[::ffff:127.0.0.1]/b", Err("this machine")),
            ("https://r.example/a", "https://localhost./b", Err("this machine")),
            ("https://r.example/a", "file:///etc/passwd", Err("file:")),
            ("https://r.example/a", "https://user:pw@cdn.example/b", Err("credentials")),
            ("https://r.example/a", "https://[", Err("malformed")),
        ];
        for (from, location, expected) in cases {
            match (follow(&url(from), location), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got.as_str(), expected, "{location}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{location}: {why}"),
                (got, _) => panic!("{from} → {location}: {got:?}"),
            }
        }
    }

    #[test]
    fn realms_are_https_or_as_near_as_the_registry() {
        let cases = [
            ("https://r.example", "https://auth.example/token", true),
            ("http://r.example", "https://auth.example/token", true),
            ("https://r.example", "http://r.example/token", false),
            ("https://r.example", "http://auth.example/token", false),
            ("http://r.example", "http://r.example:8080/token", true),
            ("http://r.example", "http://auth.example/token", false),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("https://r.example", "https://127.0.0.1/token", false),
            ("http://r.example", "http://169.254.169.254/token", false),
            ("https://r.example", "ftp://auth.example/token", false),
            ("https://r.example", "https://u:p@auth.example/token", false),
        ];
        for (registry, realm, allowed) in cases {
            assert_eq!(check_realm(&url(registry), &url(realm)).is_ok(), allowed, "{registry} → {realm}");
        }
    }

    #[test]
    fn origins_are_compared_with_their_ports() {
        assert!(same_origin(&url("https://a.example/x"), &url("https://a.example:443/y")));
        assert!(!same_origin(&url("https://a.example"), &url("http://a.example")));
        assert!(!same_origin(&url("https://a.example"), &url("https://a.example:444")));
        assert!(!same_origin(&url("https://a.example"), &url("https://b.example")));
    }
}
