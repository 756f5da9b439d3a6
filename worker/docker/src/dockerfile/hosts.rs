//! Several `addHost` entries: the engine takes the parameter `extrahosts` once per entry, but the client library sends
//! it once.

use bollard::{BollardRequest, Docker};

/// The path of a build, behind the API's version.
const PATH: &str = "/build";

/// The same connection, on which builds name these hosts (`HOST:ADDRESS`).
pub(super) fn with_hosts(docker: &Docker, hosts: &[String]) -> Docker {
    let query: String = hosts.iter().map(|host| format!("&extrahosts={}", encode(host))).collect();
    docker.clone().with_request_modifier(move |request| add(request, &query))
}

fn add(mut request: BollardRequest, query: &str) -> BollardRequest {
    let uri = request.uri();
    // A build always has a query: which builder builds.
    if uri.path().ends_with(PATH)
        && uri.query().is_some()
        && let Ok(longer) = format!("{uri}{query}").parse()
    {
        *request.uri_mut() = longer;
    }
    request
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text.bytes().map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri_of(uri: &str) -> String {
        let mut request = BollardRequest::new(bollard::body_full(Vec::new().into()));
        *request.uri_mut() = uri.parse().expect("an address");
        let query: String = ["db:10.0.0.5", "v6:::1"].map(|host| format!("&extrahosts={}", encode(host))).concat();
        add(request, &query).uri().to_string()
    }

    #[test]
    fn builds_name_every_host_and_other_requests_none() {
        let build = "http://2f7661/v1.41/build?version=2&rm=true";
        assert_eq!(uri_of(build), format!("{build}&extrahosts=db%3A10.0.0.5&extrahosts=v6%3A%3A%3A1"));
        for other in ["http://2f7661/v1.41/session", "http://2f7661/v1.41/build/prune?all=1"] {
            assert_eq!(uri_of(other), other);
        }
    }
}
