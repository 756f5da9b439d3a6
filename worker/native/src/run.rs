//! Running the script of a stage.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
};

use slipway_backend::{
    BackendError, HostMount, Logs, SECRETS, Script, Setup, Tools,
    dockerfile::PATH,
    output::{Output, Stream},
    script::{Marker, TOOLBOX_BIN, compose, ended},
    scrub::Masks,
};
use slipway_process::random_id;
use slipway_rootfs::{
    accounts::{self, User},
    toolbox,
};
use tokio::io::AsyncReadExt as _;

use crate::{
    Shared,
    cgroup::Group,
    driver::Driver,
    error,
    network::{Cable, Commands, Helped, HelperFor},
    rootless,
    runtime::Runtime,
    sandbox::{self, Confided, Ended, Memory, Network, Running, Seen, Spec, Spoken, Surroundings},
    standby, stubs,
    workspace::Room,
};

/// The name of the machine that builds.
const HOSTNAME: &str = "slipway";
/// The script is read to its end before anything of it runs.
const BOOTSTRAP: &str = "eval \"$(</dev/stdin)\"";
const RUNNING: &str = "run the commands of a stage";
const STARTING: &str = "start the sandbox of a stage";
/// Bytes that are read of the output at once.
const CHUNK: usize = 32 * 1024;

/// Runs a script in a room to its end. When the future is dropped, everything that runs is killed.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    room: Arc<Room>,
    setup: &Setup,
    image_variables: &[String],
    script: &Script,
    logs: Logs,
) -> Result<(), BackendError> {
    let marker = Marker::new(&random_id());
    let text = compose(&[], script, &setup.secrets, &marker)?;
    let what = Launch { bootstrap: BOOTSTRAP.to_owned(), text, tools: script.tools.clone(), terminal: None };
    let (mut running, spoken) = launch(shared, room, setup, image_variables, what).await?;
    let output = Output::new(logs, Some(marker), &Masks::of(&setup.secrets));
    running.follow(spoken, output).await
}

/// What is run in a sandbox.
pub(crate) struct Launch {
    /// What the shell evaluates: it reads the script.
    pub(crate) bootstrap: String,
    /// The script.
    pub(crate) text: Vec<u8>,
    /// What is seen beside the toolbox.
    pub(crate) tools: Option<Tools>,
    /// The terminal that it is run on; `None` = its output comes by pipes.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Starts a sandbox on a room; without a terminal, what comes out of it is answered, too.
pub(crate) async fn launch(
    shared: &Arc<Shared>,
    room: Arc<Room>,
    setup: &Setup,
    image_variables: &[String],
    what: Launch,
) -> Result<(Guard, Option<Spoken>), BackendError> {
    let toolbox = shared.toolbox().await?;
    let (image_variables, setup) = (image_variables.to_vec(), setup.clone());
    let network = setup.network.clone();
    let plan = move |owned: &Shared, room: &Room| -> Result<Plan, BackendError> {
        let secrets = &setup.secrets;
        let overlays = owned.driver == Driver::Overlay;
        let (toolbox, tools) = match what.tools {
            Some(tools) if !overlays => (toolbox::joined(&owned.store, &toolbox, &tools)?, None),
            tools => (toolbox, tools.and_then(|tools| tools.root)),
        };
        let memory = Memory {
            target: SECRETS.to_owned(),
            size: u64::try_from(secrets.room()).ok(),
            mode: 0o755,
            programs: false,
        };
        Ok(Plan {
            command: vec![format!("{TOOLBOX_BIN}/bash"), "-ec".to_owned(), what.bootstrap],
            variables: variables(&image_variables, accounts::home(&room.tree.root)?),
            directory: "/".to_owned(),
            user: None,
            toolbox: Some(toolbox),
            tools,
            hosts: Vec::new(),
            mounts: setup.mounts,
            seen: Vec::new(),
            whole: Vec::new(),
            confided: Vec::new(),
            memory: (!secrets.is_empty()).then_some(memory).into_iter().collect(),
            input: what.text,
        })
    };
    let prepared = prepare(shared, network.as_deref(), what.terminal).await?;
    start(prepared, room, plan).await
}

/// What is run in a sandbox, and what it sees.
pub(crate) struct Plan {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Its whole environment.
    pub(crate) variables: BTreeMap<String, String>,
    /// Where it starts.
    pub(crate) directory: String,
    /// Whom it runs as; `None` = root.
    pub(crate) user: Option<User>,
    /// The toolbox, if it is seen.
    pub(crate) toolbox: Option<PathBuf>,
    /// What is seen beside it.
    pub(crate) tools: Option<PathBuf>,
    /// More lines of `/etc/hosts`: `ADDRESS NAME`.
    pub(crate) hosts: Vec<String>,
    /// What is seen of the host.
    pub(crate) mounts: Vec<HostMount>,
    /// Parts of images and directories.
    pub(crate) seen: Vec<Seen>,
    /// The mounts that parts are seen of.
    pub(crate) whole: Vec<OwnedFd>,
    /// Files in memory.
    pub(crate) confided: Vec<Confided>,
    /// Where memory is mounted.
    pub(crate) memory: Vec<Memory>,
    /// What it reads.
    pub(crate) input: Vec<u8>,
}

/// A sandbox that waits for what it is to do. It can be started while its room is made.
pub(crate) struct Prepared {
    guard: Guard,
    spoken: Option<Spoken>,
    /// `/etc/resolv.conf`; `None` = the host's.
    names: Option<String>,
    surroundings: Surroundings,
    /// The network mode that was asked for.
    mode: Option<String>,
}

impl Prepared {
    /// Whether it still waits: somebody may have ended it.
    pub(crate) fn is_alive(&self) -> bool {
        self.guard.running.as_ref().is_some_and(Running::is_alive)
    }

    /// Name servers may be others than when it was made.
    async fn renamed(mut self) -> std::io::Result<Self> {
        if let Some((Line { cable: Some(cable), .. }, ..)) = &mut self.guard.rest {
            self.names = Some(cable.names(&self.guard.shared.tasks).await?);
        }
        Ok(self)
    }
}

/// A sandbox in the network that is asked for: the one that waits, or a new one. Its output goes to the terminal, or comes by
/// pipes.
pub(crate) async fn prepare(
    shared: &Arc<Shared>,
    network: Option<&str>,
    terminal: Option<OwnedFd>,
) -> Result<Prepared, BackendError> {
    let waiting = if terminal.is_none() { shared.standby.take(network) } else { None };
    if let Some(waiting) = waiting
        && let Ok(prepared) = waiting.renamed().await
    {
        return Ok(prepared);
    }
    make(shared, network, terminal).await
}

/// Starts a sandbox in the network that is asked for.
pub(crate) async fn make(
    shared: &Arc<Shared>,
    network: Option<&str>,
    terminal: Option<OwnedFd>,
) -> Result<Prepared, BackendError> {
    let mode = network.map(str::to_owned);
    let line = line(shared, wanted(network)?).await?;
    let (network, names) = (line.network(), line.names.clone());
    let (owned, limits) = (Arc::clone(shared), Arc::clone(shared));
    let group = shared.tasks.blocking(move || Group::make(&limits.limits)).await;
    let group =
        group.map_err(|error| BackendError::Refused(format!("limit what the commands of a stage use: {error}")))?;
    let surroundings = Surroundings { network, doors: group.doors(), limits: shared.limits.process.clone() };
    let begin = move || {
        let started = match terminal {
            None => sandbox::start(&owned.program, &surroundings).map(|(running, spoken)| (running, Some(spoken))),
            Some(terminal) => terminal.try_clone().and_then(|other| {
                let outputs = [Stdio::from(terminal), Stdio::from(other)];
                sandbox::start_to(&owned.program, &surroundings, outputs).map(|running| (running, None))
            }),
        };
        started.map(|started| (started, surroundings))
    };
    let started = shared.tasks.blocking(begin).await;
    let ((running, spoken), surroundings) = started.map_err(|error| error::system(STARTING, error))?;
    let guard = Guard { shared: Arc::clone(shared), running: Some(running), rest: Some((line, group, None)) };
    Ok(Prepared { guard, spoken, names, surroundings, mode })
}

/// Says to a sandbox what it is to do in a room; without a terminal, what comes out of it is answered, too. The plan is made
/// where it may block.
pub(crate) async fn start(
    prepared: Prepared,
    room: Arc<Room>,
    plan: impl FnOnce(&Shared, &Room) -> Result<Plan, BackendError> + Send + 'static,
) -> Result<(Guard, Option<Spoken>), BackendError> {
    let Prepared { mut guard, spoken, names, surroundings, mode } = prepared;
    let (owned, shared) = (Arc::clone(&guard.shared), Arc::clone(&guard.shared));
    let interactive = spoken.is_none();
    if let Some((.., place)) = &mut guard.rest {
        *place = Some(Arc::clone(&room));
    }
    let tell = move || -> Result<Guard, BackendError> {
        let system = |error: io::Error| error::system(STARTING, error);
        let plan = plan(&owned, &room)?;
        let runtime = runtime(&owned, &room).map_err(system)?;
        let spec = Spec {
            command: plan.command,
            variables: plan.variables,
            hostname: HOSTNAME.to_owned(),
            directory: plan.directory,
            user: plan.user,
            toolbox: plan.toolbox,
            tools: plan.tools,
            empty: owned.store.empty()[0].clone(),
            files: host_files(&room, names.as_deref(), &plan.hosts).map_err(system)?,
            seen: plan.seen,
            confided: plan.confided,
            memory: plan.memory,
            mounts: plan.mounts,
            interactive,
            overlays: owned.driver == Driver::Overlay,
            // Whoever makes packets does not ask for routes.
            raw: !matches!(surroundings.network, Network::Helped(_)),
            limits: surroundings.limits.clone(),
            runtime,
        };
        let mounts: Vec<BorrowedFd<'_>> =
            [room.as_fd()].into_iter().chain(plan.whole.iter().map(OwnedFd::as_fd)).collect();
        if let Some(running) = &guard.running {
            running.tell(&mounts, &spec, &plan.input).map_err(system)?;
        }
        Ok(guard)
    };
    let guard = shared.tasks.blocking(tell).await?;
    if !interactive {
        standby::renew(&shared, mode);
    }
    Ok((guard, spoken))
}

/// A running sandbox; when it is given up, it is ended in the background, and only then its network and room given back.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    running: Option<Running>,
    /// The room once it has one.
    rest: Option<(Line, Group, Option<Arc<Room>>)>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some((line, group, room)) = self.rest.take() else { return };
        let (tasks, running) = (self.shared.tasks.clone(), self.running.take());
        // Whoever waits for the end of a run takes the room then.
        let room = room.filter(|_| running.is_some());
        self.shared.tasks.spawn(async move {
            if let Some(running) = running {
                running.end().await;
            }
            tasks.blocking(move || drop((line, group, room))).await;
        });
    }
}

impl Guard {
    /// Gives the network back, for the next stage to have it at once.
    fn network_ended(&mut self, clean: bool) {
        let cable = self.rest.as_mut().and_then(|(line, ..)| line.cable.take());
        if let Some(cable) = cable.filter(|_| clean) {
            self.shared.networks.give_back(cable);
        }
    }

    /// Passes everything on that is said; answers the exit code, the line that the script was at, and the last lines.
    pub(crate) async fn said(
        &mut self,
        spoken: Option<Spoken>,
        mut output: Output,
    ) -> Result<(i64, Option<u32>, Vec<String>), BackendError> {
        let pumped = match spoken {
            Some(spoken) => pump(spoken, &mut output).await,
            None => Ok(()),
        };
        let (line, tail) = output.finish().await;
        let code = self.ended().await?;
        pumped.map_err(|error| error::system(RUNNING, error))?;
        Ok((code, line, tail))
    }

    async fn follow(&mut self, spoken: Option<Spoken>, output: Output) -> Result<(), BackendError> {
        let (code, line, tail) = self.said(spoken, output).await?;
        match &self.shared.runtime {
            // Where nothing of the script ran, it is the runtime that complains.
            Some(runtime) if line.is_none() && code != 0 => Err(BackendError::Engine(format!(
                "start the sandbox of a stage with {runtime}: it ended with exit code {code}: {}",
                tail.join("; ")
            ))),
            Some(_) | None => ended(code, line, tail),
        }
    }

    /// Waits for the end; answers the exit code of the shell.
    pub(crate) async fn ended(&mut self) -> Result<i64, BackendError> {
        let Some(running) = &mut self.running else { return Ok(0) };
        let ended = running.wait().await.map_err(|error| error::system(RUNNING, error))?;
        self.running = None;
        match ended {
            Ended::Broken(why) => Err(BackendError::Engine(format!("set up the sandbox of a stage: {why}"))),
            Ended::Exit { code, clean } => {
                self.network_ended(clean);
                Ok(code)
            }
        }
    }
}

/// Both streams to their ends: all that held them has ended then.
async fn pump(spoken: Spoken, output: &mut Output) -> io::Result<()> {
    let Spoken { out: mut normal, err: mut errors } = spoken;
    let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            count = normal.read(&mut out), if out_open => match count? {
                0 => out_open = false,
                count => output.push(Stream::Out, &out[..count]).await,
            },
            count = errors.read(&mut err), if err_open => match count? {
                0 => err_open = false,
                count => output.push(Stream::Err, &err[..count]).await,
            },
        }
    }
    Ok(())
}

/// The runtime to hand a room over to, with an empty directory in it.
fn runtime(shared: &Shared, room: &Room) -> io::Result<Option<(Runtime, PathBuf)>> {
    let Some(runtime) = &shared.runtime else { return Ok(None) };
    // A shell may follow the commands.
    let directory = room.work.path().join(format!("bundle-{}", random_id()));
    fs::create_dir(&directory)?;
    Ok(Some((runtime.clone(), directory)))
}

/// The image's variables over what every container has.
fn variables(image: &[String], home: String) -> BTreeMap<String, String> {
    let usual = [("PATH", PATH.to_owned()), ("HOSTNAME", HOSTNAME.to_owned()), ("HOME", home)];
    let mut all: BTreeMap<String, String> = usual.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let own = image.iter().filter_map(|entry| entry.split_once('='));
    all.extend(own.filter(|(name, _)| !name.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())));
    all.retain(|name, value| !name.contains('\0') && !value.contains('\0'));
    all
}

/// The network that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Default,
    Host,
    None,
}

fn wanted(mode: Option<&str>) -> Result<Wanted, BackendError> {
    match mode {
        Some("none") => Ok(Wanted::None),
        Some("host") => Ok(Wanted::Host),
        None | Some("default") => Ok(Wanted::Default),
        Some(other) => Err(BackendError::Refused(format!(
            "not supported yet: the network mode `{other}` with the native backend; it knows none, host and default"
        ))),
    }
}

/// The network that a sandbox gets.
#[derive(Debug, Default)]
struct Line {
    cable: Option<Cable>,
    helped: Option<Helped>,
    /// Nothing, not even the host's.
    none: bool,
    /// `/etc/resolv.conf`; `None` = the host's.
    names: Option<String>,
}

impl Line {
    fn network(&self) -> Network {
        if let Some(helped) = &self.helped {
            return Network::Helped(helped.clone());
        }
        match &self.cable {
            Some(cable) => Network::Ready(cable.path()),
            None if self.none => Network::None,
            None => Network::Host,
        }
    }
}

/// The network for what is asked; where sandboxes can have none of their own, the user's commands see the host's, and
/// that is said once.
async fn line(shared: &Arc<Shared>, wanted: Wanted) -> Result<Line, BackendError> {
    let strangers = shared.networks.commands() == Commands::Strangers;
    match wanted {
        Wanted::None => return Ok(Line { none: true, ..Line::default() }),
        Wanted::Host if strangers => {
            let why =
                "the network mode `host` is refused: this worker keeps commands off its network; use default or none";
            return Err(BackendError::Refused(why.to_owned()));
        }
        Wanted::Host => return Ok(Line::default()),
        Wanted::Default if shared.no_network.get().is_some() => return Ok(Line::default()),
        Wanted::Default => {}
    }
    let made = if rootless::is_inside() { helped(shared).await } else { cabled(shared).await };
    match made {
        Ok(line) => {
            if strangers {
                let owned = Arc::clone(shared);
                // The next command need not wait for its own.
                let tasks = shared.tasks.clone();
                shared.tasks.spawn(async move { tasks.blocking(move || owned.networks.prepare()).await });
            }
            Ok(line)
        }
        Err(error) if strangers => Err(error::system("make a network for the commands of a stage", error)),
        Err(error) => {
            if shared.no_network.set(()).is_ok() {
                tracing::warn!("commands see this host's network, for they cannot have one of their own: {error}");
            }
            Ok(Line::default())
        }
    }
}

async fn helped(shared: &Arc<Shared>) -> io::Result<Line> {
    let find = || async {
        let program = shared.program.clone();
        shared.tasks.blocking(move || HelperFor::find(&program)).await
    };
    let helper = shared.helper.get_or_init(find).await.as_ref().map_err(|why| io::Error::other(why.clone()))?;
    let (helped, names) = helper.network(shared.networks.commands());
    Ok(Line { helped: Some(helped), names: Some(names), ..Line::default() })
}

async fn cabled(shared: &Arc<Shared>) -> io::Result<Line> {
    let owned = Arc::clone(shared);
    let cable = shared.tasks.blocking(move || owned.networks.cable()).await?;
    connected(shared, cable).await
}

async fn connected(shared: &Shared, mut cable: Cable) -> io::Result<Line> {
    let names = cable.names(&shared.tasks).await?;
    Ok(Line { cable: Some(cable), names: Some(names), ..Line::default() })
}

/// What the commands see of the host: its name servers, unless others are given, and names of their own.
fn host_files(room: &Room, names: Option<&str>, more: &[String]) -> io::Result<Vec<(String, PathBuf)>> {
    let directory = room.work.path().join("etc");
    // A shell may follow the commands.
    fs::create_dir_all(&directory)?;
    let servers = match names {
        Some(text) => text.as_bytes().to_vec(),
        None => fs::read("/etc/resolv.conf").unwrap_or_default(),
    };
    let hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    let hosts =
        format!("{hosts}127.0.1.1\t{HOSTNAME}\n{}", more.iter().map(|line| format!("{line}\n")).collect::<String>());
    let hostname = format!("{HOSTNAME}\n");
    let mut files = Vec::new();
    for (path, content) in stubs::FILES.into_iter().zip([hostname.as_bytes(), hosts.as_bytes(), servers.as_slice()]) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let file = directory.join(name);
        fs::write(&file, content)?;
        files.push((path.to_owned(), file));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_image_win() {
        let found = variables(&["PATH=/mine".to_owned(), "A=b=c".to_owned(), "broken".to_owned()], "/root".to_owned());
        let listed: Vec<String> = found.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(listed, ["A=b=c", "HOME=/root", "HOSTNAME=slipway", "PATH=/mine"]);
    }
}
