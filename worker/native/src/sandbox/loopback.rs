//! The loopback of a new network, which is down at first.

use std::{io, os::fd::OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `RTM_NEWLINK`: change an interface.
const NEW_LINK: u16 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`: something is asked, and an answer wanted.
const ASK: u16 = 0x05;
/// Number of the loopback in every network.
const LOOPBACK: u32 = 1;
/// `IFF_UP`.
const UP: u32 = 1;
/// `NLMSG_ERROR`: the answer.
const ANSWER: u16 = 2;

/// Sets it up.
pub(super) fn up() -> io::Result<()> {
    // Without a protocol it is the one for routes and interfaces.
    let flags = SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut answer = [0_u8; 512];
    let (count, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let field = |at: usize| {
        answer.get(at..at + 4).filter(|_| count >= at + 4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    };
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    match field(16) {
        Some(0) if kind == ANSWER => Ok(()),
        Some(error) if kind == ANSWER => Err(io::Error::from_raw_os_error(-error)),
        Some(_) | None => Err(io::Error::other("the kernel answers something else")),
    }
}

/// A header (length, type, flags, number, port) and an interface (family, type, number, flags, mask of flags).
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend(32_u32.to_ne_bytes());
    bytes.extend(NEW_LINK.to_ne_bytes());
    bytes.extend(ASK.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([0; 4]);
    bytes.extend(LOOPBACK.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes.extend(UP.to_ne_bytes());
    bytes
}
