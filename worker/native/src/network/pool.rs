//! Which addresses sandboxes have: a small network for each, from a pool that the host does not use otherwise.

use std::net::Ipv4Addr;

use super::rules::CABLES;

/// Pools that may be taken, 65,536 addresses each, in this order.
const POOLS: [[u8; 2]; 6] = [[10, 209], [10, 77], [172, 29], [192, 168], [10, 143], [172, 22]];
/// Bits of a pool's prefix.
pub(crate) const POOL_BITS: u8 = 16;
/// Bits of a sandbox's prefix: an address for the host, one for the sandbox, two that nobody can have.
pub(crate) const BITS: u8 = 30;
/// Sandboxes that a pool has addresses for.
pub(crate) const ROOM: u16 = 1 << (BITS - POOL_BITS);

/// A pool of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pool([u8; 2]);

/// A network that the host has a route to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    to: u32,
    mask: u32,
    /// The interface.
    device: [u8; 16],
}

impl Pool {
    /// The first pool that no route leads to.
    pub(crate) fn free(routes: &[Route]) -> Option<Self> {
        POOLS.into_iter().map(Self).find(|pool| pool.is_free(routes))
    }

    /// Whether no route leads to it, but for those of our own cables.
    pub(crate) fn is_free(self, routes: &[Route]) -> bool {
        let strange = |route: &&Route| !route.device.starts_with(CABLES.as_bytes());
        !routes.iter().filter(strange).any(|route| self.meets(route))
    }

    /// As [`Self::cidr`] writes it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        POOLS.into_iter().map(Self).find(|pool| pool.cidr() == text.trim())
    }

    /// Address and prefix.
    pub(crate) fn cidr(self) -> String {
        format!("{}/{POOL_BITS}", self.address(0))
    }

    /// The host's address on the cable to sandbox `number`.
    pub(crate) fn host(self, number: u16) -> Ipv4Addr {
        self.address(number.saturating_mul(4).saturating_add(1))
    }

    /// The address of sandbox `number`.
    pub(crate) fn sandbox(self, number: u16) -> Ipv4Addr {
        self.address(number.saturating_mul(4).saturating_add(2))
    }

    fn address(self, offset: u16) -> Ipv4Addr {
        let [third, fourth] = offset.to_be_bytes();
        Ipv4Addr::new(self.0[0], self.0[1], third, fourth)
    }

    fn meets(self, route: &Route) -> bool {
        // The default route leads everywhere, and to nothing of the host's own.
        let mask = route.mask & (u32::MAX << (32 - u32::from(POOL_BITS)));
        route.mask != 0 && u32::from(self.address(0)) & mask == route.to & mask
    }
}

/// The routes in `/proc/net/route`; lines of other forms are passed over.
pub(crate) fn routes(table: &str) -> Vec<Route> {
    let parse = |line: &str| -> Option<Route> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The bytes are in the order of the network, printed as a number of this machine.
        let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
        let mut device = [0; 16];
        let name = fields.first()?.as_bytes();
        device.get_mut(..name.len())?.copy_from_slice(name);
        Some(Route { to: number(fields.get(1)?)?, mask: number(fields.get(7)?)?, device })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// The interface that leads out.
pub(crate) fn way_out(routes: &[Route]) -> Option<String> {
    let route = routes.iter().find(|route| route.mask == 0)?;
    let name = route.device.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a little-endian machine prints it.
    const TABLE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                         eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                         eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                         vpn\t0005D10A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nbroken\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn a_pool_meets_no_route() {
        let routes = routes(TABLE);
        assert_eq!(routes.len(), 3);
        assert_eq!(way_out(&routes).as_deref(), Some("eth0"));
        // 10.209.5.0/24 is the tunnel's.
        let pool = Pool::free(&routes).expect("a pool");
        assert_eq!(pool.cidr(), "10.77.0.0/16");
        assert_eq!(Pool::parse("10.77.0.0/16\n"), Some(pool));
        assert_eq!(Pool::free(&[]).map(Pool::cidr).as_deref(), Some("10.209.0.0/16"));
        let all = Route { to: u32::from(Ipv4Addr::new(10, 0, 0, 0)), mask: 0xff00_0000, device: [0; 16] };
        assert_eq!(Pool::free(&[all]).map(Pool::cidr).as_deref(), Some("172.29.0.0/16"));
        assert_eq!(way_out(&[]), None);
        // A cable that is not gone yet.
        let mut own = all;
        own.device[..5].copy_from_slice(b"slwo7");
        assert!(pool.is_free(&[own]) && !pool.is_free(&[own, all]));
    }

    #[test]
    fn each_sandbox_has_a_network_of_its_own() {
        let pool = Pool(POOLS[0]);
        assert_eq!((pool.host(0).to_string(), pool.sandbox(0).to_string()), ("10.209.0.1".into(), "10.209.0.2".into()));
        assert_eq!(pool.sandbox(ROOM - 1).to_string(), "10.209.255.254");
    }
}
