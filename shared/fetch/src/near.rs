//! Addresses that only programs of this host should speak to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where metadata of clouds is served, where it is not on the link: of Alibaba, Azure and Oracle.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// The same of Amazon and Google, over IPv6.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Which addresses may be spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Addresses {
    /// Not those of this host itself, of its link, and of metadata.
    #[default]
    Far,
    /// All.
    All,
}

impl Addresses {
    /// Whether `address` may be spoken to.
    pub fn allow(self, address: IpAddr) -> bool {
        self.rule()(address)
    }

    pub(crate) fn rule(self) -> fn(IpAddr) -> bool {
        match self {
            Self::Far => |address| !is_near(address),
            Self::All => |_| true,
        }
    }
}

/// Whether an address is one of this host, of its link, of many at once, or of a cloud's metadata.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_near_v4(v4),
        IpAddr::V6(v6) => is_near_v6(v6),
    }
}

fn is_near_v4(v4: Ipv4Addr) -> bool {
    let own = v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0;
    own || v4.is_multicast() || v4.is_broadcast() || METADATA.contains(&v4)
}

fn is_near_v6(v6: Ipv6Addr) -> bool {
    let inner = [v6.to_ipv4(), translated(v6)];
    let own = v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast();
    own || METADATA_V6.contains(&v6) || inner.into_iter().flatten().any(is_near_v4)
}

/// The address of version 4 that gateways make of one of version 6: NAT64 (`64:ff9b::/96`) and 6to4 (`2002::/16`).
fn translated(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_addresses_are_known_in_all_their_forms() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "255.255.255.255",
            "224.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            let address = text.parse().expect(text);
            assert!(!Addresses::Far.allow(address) && Addresses::All.allow(address), "{text}");
        }
        for text in ["10.0.0.1", "192.168.1.1", "93.184.216.34", "2606:2800::1", "fd12::1", "64:ff9b::5db8:d822"] {
            assert!(Addresses::Far.allow(text.parse().expect(text)), "{text}");
        }
    }
}
