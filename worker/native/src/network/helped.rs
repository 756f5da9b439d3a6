//! The network of sandboxes without root: which helper connects them, and what they see of the host.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    Commands, Helper, Netlink, helper,
    helper::Kind,
    resolve::{self, Names},
};
use crate::sandbox;

/// Where the kernel lists the addresses of a network.
const ADDRESSES: &str = "/proc/net/fib_trie";
/// Addresses of one link, where clouds tell machines their secrets.
const LINK_LOCAL: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 0, 0), 16);

/// A network behind a helper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Helped {
    /// What connects it.
    pub(crate) helper: Helper,
    /// Whether commands are strangers': they reach neither the host itself nor addresses of its link, and only by IPv4,
    /// of which it is known what that is.
    pub(crate) strangers: bool,
}

/// The helper that turned out to work here.
#[derive(Debug)]
pub(crate) struct HelperFor(Helper);

impl HelperFor {
    /// The first that connects a network which is made only to try it. Blocks.
    ///
    /// # Errors
    /// Why none does, and what to do about it.
    pub(crate) fn find(program: &Path) -> Result<Self, String> {
        let mut why = Vec::new();
        for helper in Helper::installed()? {
            let helped = Helped { helper, strangers: false };
            match sandbox::rehearse(program, sandbox::Network::Helped(helped.clone())) {
                Ok(()) => return Ok(Self(helped.helper)),
                Err(error) => why.push(error.to_string()),
            }
        }
        Err(why.join("; "))
    }

    /// The network of one sandbox, and its `/etc/resolv.conf`.
    pub(crate) fn network(&self, commands: Commands) -> (Helped, String) {
        let helped = Helped { helper: self.0.clone(), strangers: commands == Commands::Strangers };
        let own = helper::own_addresses(&fs::read_to_string(ADDRESSES).unwrap_or_default());
        let servers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let names = helped.names(&servers, &own);
        (helped, names.text)
    }
}

impl Helped {
    /// Which servers are asked. Those on the host itself are asked through the helper.
    fn names(&self, servers: &str, own: &[Ipv4Addr]) -> Names {
        resolve::asked_at(servers, self.helper.names(), |server| match server {
            IpAddr::V4(server) => !server.is_loopback() && !own.contains(server),
            // One of a link would need the name of an interface, which is another one in the sandbox.
            IpAddr::V6(server) => !self.only_ipv4() && !server.is_loopback() && !server.is_unicast_link_local(),
        })
    }

    /// Whether the other version of the protocol stays out.
    pub(crate) fn only_ipv4(&self) -> bool {
        self.strangers || self.helper.kind == Kind::Slirp
    }

    /// What is not to be reached, as it is now. To be asked in the host's network.
    pub(crate) fn closed(&self) -> Vec<(Ipv4Addr, u8)> {
        if !self.strangers {
            return Vec::new();
        }
        let own = helper::own_addresses(&fs::read_to_string(ADDRESSES).unwrap_or_default());
        own.into_iter().map(|address| (address, 32)).chain([LINK_LOCAL]).collect()
    }
}

/// Closes networks off from this process's network. Whoever cannot change routes stays out of them.
pub(crate) fn close(networks: &[(Ipv4Addr, u8)]) -> std::io::Result<()> {
    let netlink = Netlink::open()?;
    networks.iter().try_for_each(|(network, prefix)| netlink.refuse(*network, *prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helped(kind: &str, strangers: bool) -> Helped {
        let helper = serde_json::from_str(&format!(r#"{{"kind":"{kind}","program":"/bin/{kind}"}}"#));
        Helped { helper: helper.expect("a helper"), strangers }
    }

    #[test]
    fn servers_of_the_host_are_asked_through_the_helper() {
        let own = [Ipv4Addr::new(192, 0, 2, 2)];
        for (servers, kind, strangers, expected) in [
            ("nameserver 10.0.0.1\nnameserver 127.0.0.53\n", "Pasta", false, "nameserver 10.0.0.1\n"),
            ("nameserver 127.0.0.53\nsearch a.b\n", "Pasta", false, "nameserver 192.0.0.8\nsearch a.b\n"),
            ("nameserver 192.0.2.2\n", "Slirp", true, "nameserver 10.0.2.3\n"),
            ("nameserver fd00::1\n", "Pasta", false, "nameserver fd00::1\n"),
            ("nameserver fd00::1\n", "Pasta", true, "nameserver 192.0.0.8\n"),
            ("nameserver fd00::1\n", "Slirp", false, "nameserver 10.0.2.3\n"),
            ("", "Slirp", false, "nameserver 10.0.2.3\n"),
        ] {
            assert_eq!(helped(kind, strangers).names(servers, &own).text, expected, "{servers} {kind} {strangers}");
        }
    }

    #[test]
    fn only_strangers_are_kept_off_the_host() {
        assert_eq!(helped("Pasta", false).closed(), []);
        assert!(helped("Pasta", true).closed().contains(&LINK_LOCAL));
    }
}
