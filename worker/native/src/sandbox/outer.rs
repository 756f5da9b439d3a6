//! The outer process: makes the namespaces, watches over the init.

use std::{
    ffi::OsString,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, Stdio},
};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{SendFlags, send},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid},
};
use slipway_process::child::command;

use super::{BROKEN, CLEAN, INIT, Network, Surroundings, keeper::Keeper};
use crate::{limits::ProcessLimit, network};

/// What is entered: to be kept until the init has ended.
struct Entered {
    /// Where the sockets of a network that was made before are looked at.
    sockets: Option<Vec<fs::File>>,
    /// What connects the network.
    _keeper: Option<Keeper>,
}

/// Runs to the end of the init; answers its exit code, 128 and more for a signal. A rehearsal needs no init.
pub(super) fn run(surroundings: Option<OsString>, rehearsal: bool) -> ExitCode {
    let entered = enter(surroundings).map_err(|(doing, error)| format!("{doing}: {error}"));
    let watched = entered.and_then(|entered| {
        let code = if rehearsal { Ok(0) } else { watch() };
        Ok((entered, code.map_err(|error| format!("start the init: {error}"))?))
    });
    match watched {
        Ok((Entered { sockets, _keeper }, code)) => {
            if sockets.is_some_and(network::is_clean) {
                let _ = send(io::stdin(), CLEAN, SendFlags::NOSIGNAL);
            }
            ExitCode::from(code)
        }
        Err(why) => {
            // Standard input is the socket to the worker.
            let _ = send(io::stdin(), why.as_bytes(), SendFlags::NOSIGNAL);
            ExitCode::from(BROKEN)
        }
    }
}

/// Enters the new namespaces, all but the one of processes, in which only children are.
fn enter(surroundings: Option<OsString>) -> Result<Entered, (&'static str, io::Error)> {
    let at = |doing: &'static str| move |error: io::Error| (doing, error);
    close_strangers().map_err(at("close what was left open"))?;
    // Signals of the terminal are for the worker, which ends this process in its own way.
    setsid().map_err(|error| ("leave the worker's session", error.into()))?;
    let found = surroundings.ok_or(io::ErrorKind::InvalidInput.into());
    let found = found.and_then(|found| Ok(serde_json::from_slice(found.as_encoded_bytes())?));
    let Surroundings { network, doors, limits } = found.map_err(at("read what surrounds the sandbox"))?;
    // What is outside is seen from here only: the helper, which is no part of the commands' group, and what it must not reach.
    let mut helped = match &network {
        Network::Helped(helped) => {
            let keeper = Keeper::start(&helped.helper, helped.only_ipv4()).map_err(at("start the network's keeper"))?;
            Some((keeper, helped.closed()))
        }
        Network::Ready(_) | Network::None | Network::Host => None,
    };
    // Before the namespace of groups is made, whose root they are.
    doors.iter().try_for_each(|door| fs::write(door, "0")).map_err(at("enter the control group"))?;
    limits.iter().try_for_each(ProcessLimit::set).map_err(at("set a limit of processes"))?;
    let sockets = match &network {
        Network::Ready(path) => {
            let made = fs::File::open(path).map_err(at("open the network"))?;
            setns(made, CloneFlags::CLONE_NEWNET).map_err(|error| ("enter the network", error.into()))?;
            Some(network::sockets().map_err(at("look at the network"))?)
        }
        Network::None | Network::Host | Network::Helped(_) => None,
    };
    unshare(namespaces(&network)).map_err(|error| ("make the namespaces", error.into()))?;
    if network == Network::None {
        network::loopback().map_err(at("start the loopback"))?;
    }
    if let Some((keeper, closed)) = &mut helped {
        network::loopback().map_err(at("start the loopback"))?;
        keeper.connect().map_err(at("connect the network"))?;
        network::close(closed).map_err(at("keep the host out of the network"))?;
    }
    Ok(Entered { sockets, _keeper: helped.map(|(keeper, _)| keeper) })
}

fn namespaces(network: &Network) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    flags.set(CloneFlags::CLONE_NEWNET, matches!(network, Network::None | Network::Helped(_)));
    flags
}

/// Starts the init and waits for its end.
fn watch() -> io::Result<u8> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut init = command("/proc/self/exe").arg(INIT).stdin(Stdio::from(socket.try_clone()?)).spawn()?;
    let pidfd = pidfd_open(Pid::from_child(&init), PidfdFlags::empty())?;
    while !ended(&pidfd, &socket)? {}
    let status = init.wait()?;
    let signal = || status.signal().map_or(i32::from(BROKEN), |signal| 128 + signal);
    Ok(u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(BROKEN))
}

/// Waits until the init ends, or kills it when the worker is gone.
fn ended(pidfd: &OwnedFd, socket: &OwnedFd) -> io::Result<bool> {
    // Only the end of the socket is of interest, not what is in it: that is for the init.
    let mut watched = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(socket, PollFlags::RDHUP)];
    match poll(&mut watched, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    if watched[0].revents().is_empty() && !watched[1].revents().is_empty() {
        pidfd_send_signal(pidfd, Signal::KILL)?;
        return Ok(true);
    }
    Ok(!watched[0].revents().is_empty())
}

/// Closes what whoever started the worker has left open: it is nothing to a command of a build.
fn close_strangers() -> io::Result<()> {
    let open = fs::read_dir("/proc/self/fd")?.filter_map(|found| found.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for descriptor in open.collect::<Vec<_>>() {
        if descriptor > 2 {
            // The listing's own is among them, and closed already.
            let _ = nix::unistd::close(descriptor);
        }
    }
    Ok(())
}
