//! Which name servers commands ask.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Port of name servers.
const PORT: u16 = 53;

/// What `/etc/resolv.conf` is in a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    /// The file.
    pub(crate) text: String,
    /// A server that only the host reaches: what is asked at the gateway is passed on to it.
    pub(crate) behind: Option<SocketAddr>,
}

/// The host's file for a network in which the host is at `gateway`: servers on the host's loopback are asked there.
/// Servers in the version of the protocol that the network does not have are left out.
pub(crate) fn through(text: &str, gateway: Ipv4Addr) -> Names {
    asked_at(text, gateway, |server| server.is_ipv4() && !server.is_loopback())
}

/// The host's file for a network that reaches the servers that `reaches` names; when there is none, the host's first one
/// is asked at `gateway`.
pub(crate) fn asked_at(text: &str, gateway: Ipv4Addr, reaches: impl Fn(&IpAddr) -> bool) -> Names {
    let mut servers = Vec::new();
    let mut rest = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("nameserver"), Some(server)) => servers.extend(server.parse::<IpAddr>()),
            (Some("search" | "domain" | "options"), _) => rest.push(line.trim()),
            _ => {}
        }
    }
    // Without a file, resolvers ask the loopback.
    if servers.is_empty() {
        servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let reached: Vec<&IpAddr> = servers.iter().filter(|server| reaches(server)).collect();
    let behind = match (reached.is_empty(), servers.first()) {
        (true, Some(server)) => Some(SocketAddr::new(*server, PORT)),
        _ => None,
    };
    let mut lines: Vec<String> = match behind {
        Some(_) => vec![format!("nameserver {gateway}")],
        None => reached.into_iter().map(|server| format!("nameserver {server}")).collect(),
    };
    lines.extend(rest.into_iter().map(str::to_owned));
    lines.push(String::new());
    Names { text: lines.join("\n"), behind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_only_the_host_reaches_are_asked_at_the_gateway() {
        let gateway = Ipv4Addr::new(10, 209, 0, 1);
        for (host, expected, behind) in [
            ("nameserver 10.0.0.2\n", "nameserver 10.0.0.2\n", None),
            (
                "# x\nsearch a.example b\nnameserver 127.0.0.53\noptions edns0\n",
                "nameserver 10.209.0.1\nsearch a.example b\noptions edns0\n",
                Some("127.0.0.53:53"),
            ),
            ("nameserver 127.0.0.1\nnameserver 10.0.0.2\n", "nameserver 10.0.0.2\n", None),
            ("nameserver fd00::53\n", "nameserver 10.209.0.1\n", Some("[fd00::53]:53")),
            ("nameserver fd00::53\nnameserver 10.0.0.2", "nameserver 10.0.0.2\n", None),
            ("", "nameserver 10.209.0.1\n", Some("127.0.0.1:53")),
            ("nameserver broken\n", "nameserver 10.209.0.1\n", Some("127.0.0.1:53")),
        ] {
            let names = through(host, gateway);
            assert_eq!(names.text, expected, "{host}");
            assert_eq!(names.behind.map(|server| server.to_string()).as_deref(), behind, "{host}");
        }
    }
}
