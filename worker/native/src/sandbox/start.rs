//! The worker's side of a sandbox.

use std::{
    fs::File,
    io::{self, IoSlice, Read as _, Seek as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use slipway_process::child::{async_command, command};
use tokio::process::{Child, ChildStderr, ChildStdout};

use super::{BROKEN, CLEAN, Network, OUTER, REHEARSAL, Spec, Surroundings};

/// Longest message of a sandbox that could not be set up.
const MAX_MESSAGE: u64 = 4096;
/// Most mounts that parts are seen of in one sandbox.
pub(crate) const MOST_WHOLE: usize = 100;
/// How long the rest of a dead sandbox may hold its socket.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sandbox at work. Dropping it kills everything in it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    socket: UnixStream,
}

/// What comes out of a sandbox.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// What the commands say.
    pub(crate) out: ChildStdout,
    /// What they complain about.
    pub(crate) err: ChildStderr,
}

/// How a sandbox ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// The shell ran.
    Exit {
        /// Its exit code, 128 and more for a signal.
        code: i64,
        /// The network that was made before is as it was.
        clean: bool,
    },
    /// It could not be set up, and why.
    Broken(String),
}

/// Starts `program`, which is this program or one like it, as a sandbox, which waits for what it is to do. Answers what comes
/// out of it, too.
pub(crate) fn start(program: &Path, surroundings: &Surroundings) -> io::Result<(Running, Spoken)> {
    let mut running = start_to(program, surroundings, [Stdio::piped(), Stdio::piped()])?;
    let missing = || io::Error::other("a child process has no pipes");
    let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
    Ok((running, Spoken { out: out.ok_or_else(missing)?, err: err.ok_or_else(missing)? }))
}

/// The same, with an output and an error output of the caller's.
pub(crate) fn start_to(program: &Path, surroundings: &Surroundings, [out, err]: [Stdio; 2]) -> io::Result<Running> {
    let (ours, theirs) = UnixStream::pair()?;
    let surroundings = serde_json::to_string(surroundings)?;
    let mut command = async_command(program);
    command.args([OUTER, &surroundings]).stdin(Stdio::from(OwnedFd::from(theirs)));
    let child = command.stdout(out).stderr(err).env_clear().spawn()?;
    Ok(Running { child, socket: ours })
}

/// Makes a network as sandboxes have it, and nothing in it. Blocks.
pub(crate) fn rehearse(program: &Path, network: Network) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let surroundings = Surroundings { network, doors: Vec::new(), limits: Vec::new() };
    let mut rehearsal = command(program);
    rehearsal.args([REHEARSAL, &serde_json::to_string(&surroundings)?]).stdin(Stdio::from(OwnedFd::from(theirs)));
    let status = rehearsal.stdout(Stdio::null()).stderr(Stdio::null()).env_clear().status()?;
    // Its own end of the socket is closed with it; this one was only lent to it.
    drop(rehearsal);
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    (&ours).take(MAX_MESSAGE).read_to_string(&mut said)?;
    Err(io::Error::other(if said.is_empty() { format!("it ended with {status}") } else { said }))
}

fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn hand_over(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3 + MOST_WHOLE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other(format!("more than {MOST_WHOLE} mounts in one sandbox")));
    }
    match sendmsg(socket, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL) {
        // It could not be set up, and has ended: its last words tell why.
        Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Running {
    /// Whether it has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        // Somebody who has ended it has closed his end: then it is readable.
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&Timespec::default())) == Ok(0)
    }

    /// Says what it is to do, on a root: the first of `mounts`, which what parts are seen of follows.
    pub(crate) fn tell(&self, mounts: &[BorrowedFd<'_>], spec: &Spec, script: &[u8]) -> io::Result<()> {
        let description = in_memory("slipway-spec", &serde_json::to_vec(spec)?)?;
        let script = in_memory("slipway-script", script)?;
        let Some((root, whole)) = mounts.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let first = [*root, description.as_fd(), script.as_fd()];
        hand_over(&self.socket, &first.into_iter().chain(whole.iter().copied()).collect::<Vec<_>>())
    }

    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> io::Result<Ended> {
        let status = self.child.wait().await?;
        let code = code(status);
        let said = self.message()?;
        let (why, clean) = said.strip_suffix(CLEAN).map_or((said.as_slice(), false), |why| (why, true));
        // A command may end with this code too: then nothing else was said.
        Ok(match code == i64::from(BROKEN) && !why.is_empty() {
            true => Ended::Broken(String::from_utf8_lossy(why).into_owned()),
            false => Ended::Exit { code, clean },
        })
    }

    /// Ends everything in the sandbox, and waits until it is gone.
    pub(crate) async fn end(mut self) {
        drop(self.socket);
        // The outer process kills the init and waits for it; its own end follows.
        let _ = tokio::time::timeout(PATIENCE, self.child.wait()).await;
    }

    fn message(&mut self) -> io::Result<Vec<u8>> {
        // All other ends are closed: their processes have ended.
        self.socket.set_read_timeout(Some(PATIENCE))?;
        let mut said = Vec::new();
        (&self.socket).take(MAX_MESSAGE).read_to_end(&mut said)?;
        Ok(said)
    }
}

fn code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = || 128 + status.signal().unwrap_or(0);
    i64::from(status.code().unwrap_or_else(signal))
}
