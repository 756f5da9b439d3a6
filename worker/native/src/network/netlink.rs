//! Interfaces, addresses and routes, by messages to the kernel.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, recv, send, socket_with,
};

/// Kinds of messages: `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_NEWADDR`, `RTM_NEWROUTE`.
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// `NLM_F_REQUEST | NLM_F_ACK`: something is asked, and an answer wanted.
const ASK: u16 = 0x05;
/// `NLM_F_CREATE | NLM_F_EXCL`: it must not be there yet.
const CREATE: u16 = 0x0600;
/// `NLMSG_ERROR`: the answer.
const ANSWER: u16 = 2;
/// Attributes of links: `IFLA_IFNAME`, `IFLA_MTU`, `IFLA_LINKINFO`, `IFLA_NET_NS_FD`.
const NAME: u16 = 3;
const MTU: u16 = 4;
const INFO: u16 = 18;
const NAMESPACE: u16 = 28;
/// Inside of `INFO`: `IFLA_INFO_KIND`, `IFLA_INFO_DATA`; inside of that `VETH_INFO_PEER`.
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const PEER: u16 = 1;
/// Attributes of addresses (`IFA_ADDRESS`, `IFA_LOCAL`) and routes (`RTA_OIF`, `RTA_GATEWAY`).
const FAR: u16 = 1;
const LOCAL: u16 = 2;
const BY: u16 = 4;
const GATEWAY: u16 = 5;
/// `RTA_DST`.
const TO: u16 = 1;
/// `RTN_UNREACHABLE`: whoever sends there is told so.
const UNREACHABLE: u8 = 7;
/// `IFF_UP`.
const UP: u32 = 1;
/// `AF_INET`.
const IPV4: u8 = 2;

/// A way to ask about one network: that of the thread which opens it, wherever that thread goes later.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        // Without a protocol it is the one for routes and interfaces.
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?))
    }

    /// The number of an interface.
    pub(crate) fn number(&self, name: &str) -> io::Result<u32> {
        // Any socket of the network will do.
        Ok(name_to_index(self.socket(), name)?)
    }

    /// Makes a pair of interfaces that are one cable.
    pub(crate) fn make_pair(&self, name: &str, peer: &str, mtu: u32) -> io::Result<()> {
        self.pair(name, mtu, (peer, None))
    }

    /// The same with the second one in another network.
    pub(crate) fn make_pair_to(&self, name: &str, mtu: u32, (peer, network): (&str, BorrowedFd<'_>)) -> io::Result<()> {
        self.pair(name, mtu, (peer, Some(network)))
    }

    fn pair(&self, name: &str, mtu: u32, (peer, network): (&str, Option<BorrowedFd<'_>>)) -> io::Result<()> {
        let mut other = link(0, 0, 0);
        attribute(&mut other, NAME, &text(peer));
        attribute(&mut other, MTU, &mtu.to_ne_bytes());
        if let Some(network) = network {
            attribute(&mut other, NAMESPACE, &network.as_raw_fd().to_ne_bytes());
        }
        let mut data = Vec::new();
        attribute(&mut data, PEER, &other);
        let mut info = Vec::new();
        attribute(&mut info, INFO_KIND, b"veth");
        attribute(&mut info, INFO_DATA, &data);
        let mut body = link(0, 0, 0);
        attribute(&mut body, NAME, &text(name));
        attribute(&mut body, MTU, &mtu.to_ne_bytes());
        attribute(&mut body, INFO, &info);
        self.ask(NEW_LINK, CREATE, &body)
    }

    /// Removes an interface; its other end goes with it.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.ask(DELETE_LINK, 0, &link(self.number(name)?, 0, 0))
    }

    /// Sets an interface up.
    pub(crate) fn up(&self, name: &str) -> io::Result<()> {
        self.ask(NEW_LINK, 0, &link(self.number(name)?, UP, UP))
    }

    /// Gives an interface an address with the length of its prefix.
    pub(crate) fn address(&self, name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut body = vec![IPV4, prefix, 0, 0];
        body.extend(self.number(name)?.to_ne_bytes());
        attribute(&mut body, LOCAL, &address.octets());
        attribute(&mut body, FAR, &address.octets());
        self.ask(NEW_ADDRESS, CREATE, &body)
    }

    /// Sends all that goes elsewhere to a gateway.
    pub(crate) fn default_route(&self, name: &str, gateway: Ipv4Addr) -> io::Result<()> {
        // Family; lengths of prefixes; service; main table; set at start; anywhere; to a host behind a gateway; flags.
        let mut body = vec![IPV4, 0, 0, 0, 254, 3, 0, 1];
        body.extend([0; 4]);
        attribute(&mut body, GATEWAY, &gateway.octets());
        attribute(&mut body, BY, &self.number(name)?.to_ne_bytes());
        self.ask(NEW_ROUTE, CREATE, &body)
    }

    /// Refuses all that goes to a network.
    pub(crate) fn refuse(&self, network: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let mut body = vec![IPV4, prefix, 0, 0, 254, 3, 0, UNREACHABLE];
        body.extend([0; 4]);
        attribute(&mut body, TO, &network.octets());
        self.ask(NEW_ROUTE, CREATE, &body)
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        send(&self.0, &message(kind, flags, body), SendFlags::empty())?;
        let mut answer = [0_u8; 4096];
        let (count, _) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        let Some([length @ .., _, _, _, _]) = answer.get(..20).filter(|_| count >= 20) else {
            return Err(io::Error::other("the kernel's answer is too short"));
        };
        let kind = u16::from_ne_bytes([length[4], length[5]]);
        let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
        match error {
            0 if kind == ANSWER => Ok(()),
            error if kind == ANSWER => Err(io::Error::from_raw_os_error(-error)),
            _ => Err(io::Error::other("the kernel answers something else")),
        }
    }
}

/// Length, kind, flags, number and port, and the body.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((ASK | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// An interface: family, type, number, flags, mask of flags.
fn link(number: u32, flags: u32, mask: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for value in [number, flags, mask] {
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}

pub(super) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn text(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_kernel_reads_them() {
        let mut body = link(7, UP, UP);
        attribute(&mut body, NAME, &text("ab"));
        let bytes = message(NEW_LINK, CREATE, &body);
        assert_eq!(bytes.len(), 16 + 16 + 8);
        assert_eq!(
            bytes[..8],
            [40_u32.to_ne_bytes().as_slice(), &16_u16.to_ne_bytes(), &0x0605_u16.to_ne_bytes()].concat()
        );
        assert_eq!(bytes[20..24], 7_u32.to_ne_bytes());
        assert_eq!(bytes[32..], [7_u16.to_ne_bytes().as_slice(), &3_u16.to_ne_bytes(), b"ab\0\0"].concat());
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let netlink = Netlink::open().expect("a socket");
        assert!(netlink.number("lo").is_ok());
        assert!(netlink.remove("slw-none").is_err());
        assert!(netlink.ask(NEW_LINK, 0, &link(1 << 30, UP, UP)).is_err());
    }
}
