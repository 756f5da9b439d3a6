//! Commands in a working container.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use slipway_backend::{
    BackendError, HostMount, Logs, SECRETS, Setup,
    output::{Output, Stream},
    script::{BOOTSTRAP, Marker, TOOLBOX_BIN, ended},
    scrub::Masks,
};
use slipway_layers::root::Root;
use slipway_paths::TreePath;
use slipway_rootfs::{place::real_path, toolbox::MOUNT};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::ChildStdin,
};

use crate::{
    container::Container,
    enclosure::{Enclosed, Start, Streams},
    error::{is_passing, system},
    mode::Mode,
    noise::Noise,
    program::{TRIES, again},
};

const DOING: &str = "run the commands of a stage";
/// Bytes of a stream that are read at once.
const PIECE: usize = 64 * 1024;
/// Bytes of complaints that are held until a command says something.
const HELD: usize = 64 * 1024;

/// The network of commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    /// Whatever the mode gives.
    Usual,
    /// The host's.
    Host,
    /// None but a loopback.
    None,
}

impl Network {
    /// The one that is asked for.
    pub(crate) fn parse(asked: Option<&str>) -> Result<Self, BackendError> {
        match asked {
            None | Some("default" | "bridge") => Ok(Self::Usual),
            Some("host") => Ok(Self::Host),
            Some("none") => Ok(Self::None),
            Some(other) => Err(BackendError::Refused(format!(
                "not supported yet: network `{other}` with the buildah backend: use default, host or none"
            ))),
        }
    }

    /// Whether the process is to be cut off before the program has a say: by `chroot`, it gives commands its own network.
    pub(crate) fn is_cut_off(self, mode: &Mode) -> bool {
        self == Self::None && *mode == Mode::Chroot
    }

    /// What the program is told of it.
    pub(crate) fn arguments(self, mode: &Mode) -> Vec<OsString> {
        match (mode, self) {
            (Mode::Chroot, _) | (Mode::Rootless(_), Self::Usual) => Vec::new(),
            (Mode::Rootless(_), Self::Host) => vec!["--network".into(), "host".into()],
            (Mode::Rootless(_), Self::None) => vec!["--network".into(), "none".into()],
        }
    }
}

/// What a command is kept from the host by.
pub(crate) fn isolation(mode: &Mode) -> Vec<OsString> {
    match mode {
        Mode::Chroot => vec!["--isolation".into(), "chroot".into()],
        Mode::Rootless(runtime) => {
            vec!["--isolation".into(), "rootless".into(), "--runtime".into(), runtime.program().into()]
        }
    }
}

/// What runs, and what it sees.
pub(crate) struct Run<'a> {
    pub(crate) container: &'a Container,
    pub(crate) setup: &'a Setup,
    /// Directory of the toolbox.
    pub(crate) toolbox: PathBuf,
    /// Where things are mounted.
    pub(crate) targets: Targets,
}

/// Paths in a container where things are mounted, without links: the program would follow them only in part.
pub(crate) struct Targets {
    toolbox: String,
    secrets: String,
    mounts: Vec<(HostMount, String)>,
}

impl Targets {
    /// Those of a container with these files. Blocks.
    pub(crate) fn find(root: &Root, mounts: &[HostMount]) -> io::Result<Self> {
        let real = |target: &str| -> io::Result<String> {
            let real = real_path(root, &TreePath::new(target).map_err(io::Error::other)?)?;
            let text = String::from_utf8(real.as_bytes().to_vec()).map_err(io::Error::other)?;
            Ok(format!("/{text}"))
        };
        let mut mounts =
            mounts.iter().map(|mount| Ok((mount.clone(), real(&mount.target)?))).collect::<io::Result<Vec<_>>>()?;
        // What lies in another is mounted after it.
        mounts.sort_by_key(|(_, target)| target.split('/').count());
        Ok(Self { toolbox: real(MOUNT)?, secrets: real(SECRETS)?, mounts })
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let own = [self.toolbox.as_str(), &self.secrets].into_iter();
        own.chain(self.mounts.iter().map(|(_, target)| target.as_str()))
    }
}

impl Run<'_> {
    /// The arguments for a shell of the toolbox; `terminal` = it has one.
    pub(crate) fn arguments(&self, shell: &str, terminal: bool) -> Result<Vec<OsString>, BackendError> {
        let mode = &self.container.program().mode;
        let mut words: Vec<OsString> = vec!["run".into()];
        words.extend(isolation(mode));
        words.extend(Network::parse(self.setup.network.as_deref())?.arguments(mode));
        words.extend(["--user", "0:0", "--workingdir", "/"].map(OsString::from));
        if terminal {
            words.push("--terminal".into());
        }
        words.extend(["--volume".into(), volume(&self.toolbox, &self.targets.toolbox, true)?]);
        for (mount, target) in &self.targets.mounts {
            if std::fs::symlink_metadata(&mount.source).is_err() {
                let source = mount.source.display();
                return Err(BackendError::Engine(format!(
                    "mount {source} to {target} of a container: it is not there"
                )));
            }
            words.extend(["--volume".into(), volume(&mount.source, target, mount.read_only)?]);
        }
        if !self.setup.secrets.is_empty() {
            let room = self.setup.secrets.room();
            let memory = format!("type=tmpfs,destination={},tmpfs-size={room},tmpfs-mode=755", self.targets.secrets);
            words.extend(["--mount".into(), memory.into()]);
        }
        words.extend([self.container.name(), "--", &format!("{TOOLBOX_BIN}/bash"), "-ec", shell].map(OsString::from));
        Ok(words)
    }

    /// Runs a script to its end. It is started anew when the program stumbles before the script has begun.
    pub(crate) async fn script(&self, script: &[u8], marker: &Marker, logs: Logs) -> Result<(), BackendError> {
        let arguments = self.arguments(BOOTSTRAP, false)?;
        let script = STANDARD.encode(script).into_bytes();
        for attempt in 1..=TRIES {
            let output = Output::new(logs.clone(), Some(marker.clone()), &Masks::of(&self.setup.secrets));
            let Ended { status, begun, said, output } = self.once(&arguments, &script, output).await?;
            if attempt < TRIES && !begun && !status.success() && is_passing(&said) {
                again(DOING, attempt, &said);
                continue;
            }
            let (line, tail) = output.finish().await;
            return ended(code(status), line, tail);
        }
        Err(BackendError::Engine(format!("{DOING}: it was tried too often")))
    }

    async fn once(&self, arguments: &[OsString], script: &[u8], output: Output) -> Result<Ended, BackendError> {
        let program = self.container.program();
        let network = Network::parse(self.setup.network.as_deref())?;
        let start = Start {
            place: self.container.place(),
            temporary: self.container.place(),
            cut_off: network.is_cut_off(&program.mode),
            prefix: &[],
            arguments,
            streams: [Stdio::piped(), Stdio::piped(), Stdio::piped()],
            held: Some(self.container.hold().await),
        };
        let (running, streams) = Enclosed::start(program, start).map_err(|error| system(DOING, error))?;
        follow(running, streams, script, output).await.map_err(|error| system(DOING, error))
    }
}

/// A mount as the program takes it.
pub(crate) fn volume(source: &Path, target: &str, read_only: bool) -> Result<OsString, BackendError> {
    let colon = source.as_os_str().as_encoded_bytes().contains(&b':') || target.contains(':');
    if colon {
        let source = source.display();
        return Err(BackendError::Refused(format!(
            "mount {source} to {target} of a container: buildah takes no `:` in the path of a mount"
        )));
    }
    let mut volume = source.as_os_str().to_owned();
    volume.push(format!(":{target}:{}", if read_only { "ro" } else { "rw" }));
    Ok(volume)
}

/// What became of a script.
struct Ended {
    status: ExitStatus,
    /// Whether the script had begun.
    begun: bool,
    /// What was said before it began.
    said: String,
    output: Output,
}

/// Feeds a script to a running shell and follows its output to the end.
async fn follow(running: Enclosed, streams: Streams, script: &[u8], mut output: Output) -> io::Result<Ended> {
    let Streams { input, output: Some(out), error: Some(err) } = streams else {
        return Err(io::Error::other("it was started without pipes"));
    };
    let mut pump = Pump { output: &mut output, noise: Noise::default(), held: Vec::new(), begun: false };
    let ((), pumped) = tokio::join!(feed(input, script), pump.pump(out, err));
    pumped?;
    let status = running.ended().await?;
    let (begun, held) = (pump.begun, std::mem::take(&mut pump.held));
    let said = String::from_utf8_lossy(&held).into_owned();
    let mut rest = pump.noise.push(&held);
    if status.success() || !begun {
        rest.extend(pump.noise.release());
    }
    output.push(Stream::Err, &rest).await;
    Ok(Ended { status, begun, said, output })
}

async fn feed(input: Option<ChildStdin>, script: &[u8]) {
    let Some(mut input) = input else { return };
    // A shell that ended early does not read on: its exit code tells, not this.
    if input.write_all(script).await.is_ok() {
        let _ = input.shutdown().await;
    }
}

/// Brings both streams to the output, but for what is the program's own.
struct Pump<'a> {
    output: &'a mut Output,
    noise: Noise,
    /// What was complained of before a script has begun, which begins by its marker on the other stream.
    held: Vec<u8>,
    begun: bool,
}

impl Pump<'_> {
    async fn pump(&mut self, mut out: impl AsyncRead + Unpin, mut err: impl AsyncRead + Unpin) -> io::Result<()> {
        let (mut of_out, mut of_err) = (vec![0; PIECE], vec![0; PIECE]);
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            tokio::select! {
                read = out.read(&mut of_out), if out_open => match read? {
                    0 => out_open = false,
                    count => {
                        self.begin().await;
                        self.output.push(Stream::Out, &of_out[..count]).await;
                    }
                },
                read = err.read(&mut of_err), if err_open => match read? {
                    0 => err_open = false,
                    count => self.complain(&of_err[..count]).await,
                },
            }
        }
        Ok(())
    }

    async fn begin(&mut self) {
        self.begun = true;
        let held = std::mem::take(&mut self.held);
        self.complain(&held).await;
    }

    async fn complain(&mut self, bytes: &[u8]) {
        if !self.begun && self.held.len() + bytes.len() <= HELD {
            self.held.extend_from_slice(bytes);
            return;
        }
        let held = std::mem::take(&mut self.held);
        let mut clean = self.noise.push(&held);
        clean.extend(self.noise.push(bytes));
        self.output.push(Stream::Err, &clean).await;
    }
}

/// How a process ended, as shells tell it.
fn code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt as _;
    i64::from(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_known_or_refused() {
        assert_eq!(Network::parse(None).ok(), Some(Network::Usual));
        assert_eq!(Network::parse(Some("none")).ok(), Some(Network::None));
        let refused = Network::parse(Some("container:x")).expect_err("not here").to_string();
        assert!(refused.starts_with("not supported yet: network `container:x`"), "{refused}");
    }

    #[test]
    fn mounts_are_spelled_or_refused() {
        assert_eq!(volume(Path::new("/a"), "/b", true).ok(), Some("/a:/b:ro".into()));
        assert!(volume(Path::new("/a:b"), "/b", true).is_err());
    }
}
