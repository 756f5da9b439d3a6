//! A network for one sandbox after the other: made by a process of its own, which has no threads, and held by a
//! descriptor, with which it goes.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::Ipv4Addr,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{ExitCode, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, send, sendmsg,
};
use serde::{Deserialize, Serialize};
use slipway_process::child::command;

use super::{INSIDE, Netlink, pool::BITS, set};

/// First argument of the process that makes it.
pub(crate) const ROLE: &str = "sandbox-network";
/// Where the network of a process can be held.
const OWN: &str = "/proc/self/ns/net";
/// What is sent with the network.
const MADE: &[u8] = b".";
/// Longest reason for not making one.
const MAX_MESSAGE: usize = 4096;

/// What such a network is like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The host's end of the cable.
    pub(super) name: String,
    /// Bytes in a packet.
    pub(super) mtu: u32,
    /// The address in it.
    pub(super) address: Ipv4Addr,
    /// The host's.
    pub(super) gateway: Ipv4Addr,
}

/// Makes one by `program`, which is this program or one like it. The host's end of its cable is there then, and down.
/// Blocks.
pub(super) fn make(program: &Path, wanted: &Wanted) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = {
        let mut command = command(program);
        command.args([ROLE, &serde_json::to_string(wanted)?]).env_clear();
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn()?
    };
    let made = receive(&ours);
    child.wait()?;
    made
}

/// The network, or why there is none.
fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut said = [0_u8; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut said)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors.flatten().next().ok_or_else(|| match &said[..received.bytes] {
        [] => io::Error::other("the process that makes a network ended"),
        why => io::Error::other(String::from_utf8_lossy(why).into_owned()),
    })
}

/// The process that makes one: its whole life.
pub(crate) fn run(wanted: Option<OsString>) -> ExitCode {
    let made = enter(wanted).and_then(|network| hand_over(network.as_fd()).map_err(|error| ("hand it over", error)));
    let Err((doing, error)) = made else { return ExitCode::SUCCESS };
    // Standard input is the socket to whoever asked.
    let _ = send(io::stdin(), format!("{doing}: {error}").as_bytes(), SendFlags::NOSIGNAL);
    ExitCode::FAILURE
}

fn enter(wanted: Option<OsString>) -> Result<File, (&'static str, io::Error)> {
    let at = |doing: &'static str| move |error: io::Error| (doing, error);
    let wanted = wanted.ok_or(io::ErrorKind::InvalidInput.into());
    let wanted = wanted.and_then(|wanted| Ok(serde_json::from_slice(wanted.as_encoded_bytes())?));
    let Wanted { name, mtu, address, gateway } = wanted.map_err(at("read what is wanted"))?;
    let outside = File::open(OWN).map_err(at("find the host's network"))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| ("make a network", error.into()))?;
    let netlink = Netlink::open().map_err(at("ask for the new network"))?;
    // The other end is made where it belongs: moving one costs more than all the rest.
    netlink.make_pair_to(INSIDE, mtu, (&name, outside.as_fd())).map_err(at("make a veth pair"))?;
    // Only the fourth version is translated: nothing else goes through.
    set(&format!("/proc/sys/net/ipv6/conf/{INSIDE}/disable_ipv6"), "1").map_err(at("switch IPv6 off"))?;
    let connected = netlink.up("lo").and_then(|()| {
        netlink.address(INSIDE, address, BITS)?;
        netlink.up(INSIDE)?;
        netlink.default_route(INSIDE, gateway)
    });
    connected.map_err(at("connect the network"))?;
    File::open(OWN).map_err(at("hold the network"))
}

fn hand_over(network: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [network];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(io::stdin(), &[IoSlice::new(MADE)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}
