//! The outer process: makes the namespaces, watches over the init.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{SendFlags, send},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, setsid},
};
use slipway_process::child::command;

use super::{BROKEN, INIT};

/// Runs to the end of the init; answers its exit code, 128 and more for a signal.
pub(super) fn run(host_network: bool) -> ExitCode {
    match watch(host_network) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Standard input is the socket to the worker.
            let _ = send(io::stdin(), format!("make the namespaces: {error}").as_bytes(), SendFlags::NOSIGNAL);
            ExitCode::from(BROKEN)
        }
    }
}

fn watch(host_network: bool) -> io::Result<u8> {
    close_strangers()?;
    // Signals of the terminal are for the worker, which ends this process in its own way.
    setsid()?;
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    flags.set(CloneFlags::CLONE_NEWNET, !host_network);
    unshare(flags)?;
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
