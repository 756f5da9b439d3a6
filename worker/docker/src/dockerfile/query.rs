//! What the client library cannot say of a build. Several `addHost` entries: the engine takes the parameter `extrahosts`
//! once per entry, but the library sends it once. And a session of ours: the library opens one of its own for BuildKit,
//! which has neither secrets nor an ssh agent, so it is told of a classic build, which has none.

use bollard::{BollardRequest, Docker};

/// The path of a build, behind the API's version.
const PATH: &str = "/build";
/// Which builder builds: the classic one, as the library is told, and BuildKit.
const BUILDERS: [&str; 2] = ["version=1", "version=2"];

/// The same connection, on which builds name these hosts (`HOST:ADDRESS`) and, with a session's id, are BuildKit's.
pub(super) fn with_query(docker: &Docker, hosts: &[String], session: Option<&str>) -> Docker {
    let mut more: String = hosts.iter().map(|host| format!("&extrahosts={}", encode(host))).collect();
    more.extend(session.map(|session| format!("&session={}", encode(session))));
    let buildkit = session.is_some();
    docker.clone().with_request_modifier(move |request| change(request, &more, buildkit))
}

fn change(mut request: BollardRequest, more: &str, buildkit: bool) -> BollardRequest {
    let uri = request.uri();
    // A build always has a query: which builder builds.
    if let Some(query) = uri.query().filter(|_| uri.path().ends_with(PATH)) {
        let [classic, other] = BUILDERS;
        let fields = query.split('&').map(|field| if buildkit && field == classic { other } else { field });
        let query = fields.collect::<Vec<_>>().join("&");
        let before = uri.to_string();
        let before = before.split_once('?').map_or(before.as_str(), |(before, _)| before);
        if let Ok(changed) = format!("{before}?{query}{more}").parse() {
            *request.uri_mut() = changed;
        }
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

    fn uri_of(uri: &str, more: &str, buildkit: bool) -> String {
        let mut request = BollardRequest::new(bollard::body_full(Vec::new().into()));
        *request.uri_mut() = uri.parse().expect("an address");
        change(request, more, buildkit).uri().to_string()
    }

    #[test]
    fn builds_name_every_host_and_other_requests_none() {
        let build = "http://2f7661/v1.41/build?version=1&rm=true";
        let more: String = ["db:10.0.0.5", "v6:::1"].map(|host| format!("&extrahosts={}", encode(host))).concat();
        let expected = format!("{build}&extrahosts=db%3A10.0.0.5&extrahosts=v6%3A%3A%3A1");
        assert_eq!(uri_of(build, &more, false), expected);
        for other in ["http://2f7661/v1.41/session", "http://2f7661/v1.41/build/prune?all=1"] {
            assert_eq!(uri_of(other, &more, true), other);
        }
    }

    #[test]
    fn a_build_in_a_session_is_of_buildkit() {
        let build = "http://2f7661/v1.41/build?rm=true&version=1&t=version=1x";
        let expected = "http://2f7661/v1.41/build?rm=true&version=2&t=version=1x&session=s1";
        assert_eq!(uri_of(build, "&session=s1", true), expected);
    }
}
