//! The keeper of a network helper: it is the first process of a namespace of processes that the helper lives in, so that
//! the kernel ends the helper with it.
//!
//! The outer process starts it while it is still in the host's network, and tells it when the sandbox's own is there. The
//! end of the outer process, however it comes, is the end of the keeper.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    pipe::{PipeFlags, pipe_with},
    process::{Signal, set_parent_process_death_signal},
};
use slipway_process::child::command;

use super::{KEEPER, KEPT};
use crate::network::{Helper, HelperKind};

/// Longest complaint of a helper that is passed on.
const MAX_COMPLAINT: usize = 400;
/// What the keeper says when the network is up.
const UP: &str = "up";

/// A keeper, to be told when the network is there. When it is dropped, it and the helper are gone.
pub(super) struct Keeper {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Keeper {
    /// Starts it, in the network that this process is still in.
    pub(super) fn start(helper: &Helper, only_ipv4: bool) -> io::Result<Self> {
        let helper = serde_json::to_string(helper)?;
        let mut keeper = command("/proc/self/exe");
        keeper.args([KEEPER, &helper, if only_ipv4 { "4" } else { "46" }, &std::process::id().to_string()]);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = keeper.spawn()?;
        let missing = || io::Error::other("a child process has no pipes");
        let (input, output) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        Ok(Self { child, input: Some(input), output })
    }

    /// Has this process's network connected; answers when it is.
    pub(super) fn connect(&mut self) -> io::Result<()> {
        if let Some(input) = &mut self.input {
            input.write_all(b"\n")?;
        }
        let mut said = String::new();
        BufReader::new(&mut self.output).read_line(&mut said)?;
        match said.trim_end() {
            UP => Ok(()),
            "" => Err(io::Error::other("the keeper of the network ended")),
            why => Err(io::Error::other(why.to_owned())),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        // Its end takes the helper along; nobody else waits for it.
        let _ = self.child.wait();
    }
}

/// Makes the namespace, in which only children are, and starts the keeper in it.
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let started = || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        unshare(CloneFlags::CLONE_NEWPID)?;
        command("/proc/self/exe").arg(KEPT).args(arguments).status().map(drop)
    };
    match started() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever asked may be gone.
            let _ = writeln!(io::stdout(), "start the keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The keeper's own life.
pub(super) fn keep(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return ExitCode::FAILURE;
    }
    let mut input = io::stdin().lock();
    let mut word = String::new();
    // Without a word the outer process is gone already.
    if !input.read_line(&mut word).is_ok_and(|count| count > 0) {
        return ExitCode::SUCCESS;
    }
    let said = match begin(&mut arguments) {
        Ok(_) => UP.to_owned(),
        Err(error) => error.to_string().replace('\n', "; "),
    };
    let told = writeln!(io::stdout(), "{said}").and_then(|()| io::stdout().flush());
    if told.is_ok() {
        // Until the other end is closed.
        let _ = input.read_to_end(&mut Vec::new());
    }
    ExitCode::SUCCESS
}

fn begin(arguments: &mut impl Iterator<Item = OsString>) -> io::Result<Child> {
    let mut word = || arguments.next().and_then(|word| word.into_string().ok()).ok_or(io::ErrorKind::InvalidInput);
    let helper: Helper = serde_json::from_str(&word()?)?;
    let only_ipv4 = word()? == "4";
    let network = File::open(PathBuf::from("/proc").join(word()?).join("ns/net"))?;
    let name = helper.kind.name();
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("start {name}: {error}"));
    // This one end is for the helper, by number.
    let (ready, theirs) = pipe_with(PipeFlags::empty())?;
    rustix::io::fcntl_setfd(&ready, rustix::io::FdFlags::CLOEXEC)?;
    let mut complaints = File::from(memfd_create("slipway-helper", MemfdFlags::CLOEXEC)?);
    let mut command = helper.command(only_ipv4, theirs.as_raw_fd());
    command.stdin(Stdio::from(network)).stdout(Stdio::null()).stderr(Stdio::from(complaints.try_clone()?));
    let mut child = command.spawn().map_err(failed)?;
    drop(theirs);
    let up = match helper.kind {
        HelperKind::Pasta => child.wait().map_err(failed)?.success(),
        HelperKind::Slirp => is_told(ready)?,
    };
    if up {
        return Ok(child);
    }
    Err(io::Error::other(format!("{name} cannot connect the sandbox: {}", last_words(&mut complaints))))
}

/// Whether anything comes before the end.
fn is_told(ready: OwnedFd) -> io::Result<bool> {
    Ok(File::from(ready).read(&mut [0])? > 0)
}

fn last_words(complaints: &mut File) -> String {
    let mut said = Vec::new();
    if complaints.rewind().and_then(|()| complaints.read_to_end(&mut said)).is_err() {
        return "it does not say why".to_owned();
    }
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // pasta complains of a missing log of the system before each line.
    let own: Vec<&str> = lines.into_iter().filter(|line| !line.contains("to syslog")).collect();
    let text = if own.is_empty() { "it does not say why".to_owned() } else { own.join("; ") };
    text.chars().take(MAX_COMPLAINT).collect()
}
