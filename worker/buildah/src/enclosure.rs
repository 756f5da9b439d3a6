//! A process of the program with everything that it starts, ended together and with its owner.
//!
//! It gets a process namespace of its own, so that nothing it starts outlives it and commands see no process of the host:
//! the program's own isolation by `chroot` has none. The first process of it is a shell that waits for the program; a
//! second one reads from a pipe whose other end is ours, and ends everything when we are gone, however that comes about.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use slipway_process::random_id;
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::OwnedMutexGuard,
};

use crate::program::Program;

/// What makes the namespace, of util-linux.
const UNSHARE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
/// What it is told beside that for no network but a loopback.
const NO_NETWORK: &str = "--net";
/// The first process: `$1` is the pipe, `$2` whether the loopback is to be set up, the rest the program.
const KEEPER: &str = r#"exec 8<&0 9<"$1"; loopback=$2; shift 2
[ "$loopback" = no ] || { ip link set lo up; mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys; } 2>/dev/null
{ exec 8<&-; read -r _ <&9; kill -s KILL -- -1; } </dev/null >/dev/null 2>&1 &
watch=$!
"$@" <&8 8<&- 9<&- &
exec 8<&- 9<&-
wait $!; status=$?
kill -s KILL $watch 2>/dev/null
exit $status"#;
/// How long everything may take to end before the first process is killed too.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running program. Dropping it ends it, in the background.
pub(crate) struct Enclosed {
    program: Arc<Program>,
    child: Option<Child>,
    life: Option<File>,
    held: Option<OwnedMutexGuard<()>>,
}

/// How a program is started.
pub(crate) struct Start<'a> {
    /// Directory for its pipe, of the caller's own.
    pub(crate) place: &'a Path,
    /// Directory for its temporary files.
    pub(crate) temporary: &'a Path,
    /// Whether it is cut off from every network.
    pub(crate) cut_off: bool,
    /// What goes before the program.
    pub(crate) prefix: &'a [&'a str],
    /// Its arguments.
    pub(crate) arguments: &'a [OsString],
    /// Its input, output and error output.
    pub(crate) streams: [Stdio; 3],
    /// What is given back when it has ended.
    pub(crate) held: Option<OwnedMutexGuard<()>>,
}

/// The ends of its streams that are ours, where they are pipes.
pub(crate) struct Streams {
    pub(crate) input: Option<ChildStdin>,
    pub(crate) output: Option<ChildStdout>,
    pub(crate) error: Option<ChildStderr>,
}

impl Enclosed {
    /// Starts it.
    pub(crate) fn start(program: &Arc<Program>, start: Start<'_>) -> io::Result<(Self, Streams)> {
        let pipe = start.place.join(format!("life-{}", random_id()));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        // For reading too, so that opening waits for nobody.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let life = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&pipe)?;
        let mut words: Vec<OsString> = UNSHARE.iter().map(OsString::from).collect();
        if start.cut_off {
            words.push(NO_NETWORK.into());
        }
        words.extend(["sh", "-c", KEEPER, "sh"].map(OsString::from));
        words.extend([pipe.into(), if start.cut_off { "yes" } else { "no" }.into()]);
        words.extend(start.prefix.iter().map(OsString::from));
        words.extend(program.line(start.arguments));
        let mut command = program.process(OsStr::new(&words[0]), start.temporary);
        let [input, output, error] = start.streams;
        command.args(&words[1..]).stdin(input).stdout(output).stderr(error).kill_on_drop(false);
        let mut child = command.spawn()?;
        let streams = Streams { input: child.stdin.take(), output: child.stdout.take(), error: child.stderr.take() };
        let enclosed = Self { program: Arc::clone(program), child: Some(child), life: Some(life), held: start.held };
        Ok((enclosed, streams))
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> io::Result<ExitStatus> {
        let child = self.child.as_mut().ok_or_else(|| io::Error::other("it was not started"))?;
        let status = child.wait().await;
        self.child = None;
        status
    }
}

impl Drop for Enclosed {
    fn drop(&mut self) {
        let (life, held) = (self.life.take(), self.held.take());
        let Some(mut child) = self.child.take() else { return };
        self.program.in_background(async move {
            drop(life);
            if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
            drop(held);
        });
    }
}
