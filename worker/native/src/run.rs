//! Running the script of a stage.

use std::{collections::BTreeMap, fs, io, os::fd::AsFd as _, path::PathBuf, sync::Arc};

use slipway_backend::{
    BackendError, Logs, Script, Setup,
    output::{Output, Stream},
    script::{Marker, TOOLBOX_BIN, compose},
};
use slipway_process::random_id;
use tokio::io::AsyncReadExt as _;

use crate::{
    Shared, accounts, error,
    sandbox::{self, Ended, Network, Running, Spec},
    stubs,
    workspace::Room,
};

/// Where programs are looked for when the image does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The name of the machine that builds.
const HOSTNAME: &str = "slipway";
/// The script is read to its end before anything of it runs.
const BOOTSTRAP: &str = "eval \"$(</dev/stdin)\"";
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
    let text = compose(&[], script, &marker)?;
    let network = network(setup.network.as_deref())?;
    let toolbox = shared.toolbox().await?;
    let (owned, image_variables) = (Arc::clone(shared), image_variables.to_vec());
    let held = Arc::clone(&room);
    let start = move || -> Result<Running, BackendError> {
        let doing = "start the sandbox of a stage";
        let system = |error: io::Error| error::system(doing, error);
        let spec = Spec {
            command: vec![format!("{TOOLBOX_BIN}/bash"), "-ec".to_owned(), BOOTSTRAP.to_owned()],
            variables: variables(&image_variables, accounts::home(&held.root)?),
            network,
            hostname: HOSTNAME.to_owned(),
            toolbox,
            empty: owned.store.empty()[0].clone(),
            files: host_files(&held).map_err(system)?,
        };
        sandbox::start(&owned.program, held.root.as_fd(), &spec, &text).map_err(system)
    };
    let running = shared.tasks.blocking(start).await?;
    let mut running = Guard { shared: Arc::clone(shared), running: Some(running), room: Some(room) };
    running.follow(Output::new(logs, Some(marker))).await
}

/// A running sandbox; when it is given up, it is ended in the background, and only then its room given back.
struct Guard {
    shared: Arc<Shared>,
    running: Option<Running>,
    room: Option<Arc<Room>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (Some(running), Some(room)) = (self.running.take(), self.room.take()) else { return };
        let tasks = self.shared.tasks.clone();
        self.shared.tasks.spawn(async move {
            running.end().await;
            tasks.blocking(move || drop(room)).await;
        });
    }
}

impl Guard {
    async fn follow(&mut self, mut output: Output) -> Result<(), BackendError> {
        let doing = "run the commands of a stage";
        let Some(running) = &mut self.running else { return Ok(()) };
        let pumped = pump(running, &mut output).await;
        let ended = running.wait().await.map_err(|error| error::system(doing, error))?;
        let (line, tail) = output.finish().await;
        pumped.map_err(|error| error::system(doing, error))?;
        self.running = None;
        match ended {
            Ended::Broken(why) => Err(BackendError::Engine(format!("set up the sandbox of a stage: {why}"))),
            Ended::Exit(code) => ended_with(code, line, tail),
        }
    }
}

/// Both streams to their ends: all that held them has ended then.
async fn pump(running: &mut Running, output: &mut Output) -> io::Result<()> {
    let (mut out, mut err) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            count = running.out.read(&mut out), if out_open => match count? {
                0 => out_open = false,
                count => output.push(Stream::Out, &out[..count]).await,
            },
            count = running.err.read(&mut err), if err_open => match count? {
                0 => err_open = false,
                count => output.push(Stream::Err, &err[..count]).await,
            },
        }
    }
    Ok(())
}

fn ended_with(exit: i64, line: Option<u32>, tail: Vec<String>) -> Result<(), BackendError> {
    match (exit, line) {
        (0, _) => Ok(()),
        (_, None) => Err(BackendError::Engine(format!(
            "the build shell ended with exit code {exit} before it ran a command: {}",
            tail.join("; ")
        ))),
        (exit, line) => Err(BackendError::Command { exit, line, tail }),
    }
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
fn network(mode: Option<&str>) -> Result<Network, BackendError> {
    match mode {
        Some("none") => Ok(Network::None),
        None | Some("default" | "host") => Ok(Network::Host),
        Some(other) => Err(BackendError::Refused(format!(
            "not supported yet: the network mode `{other}` with the native backend; it knows none, host and default"
        ))),
    }
}

/// What the commands see of the host: its name servers, and names of their own.
fn host_files(room: &Room) -> io::Result<Vec<(String, PathBuf)>> {
    let directory = room.work.path().join("etc");
    fs::create_dir(&directory)?;
    let servers = fs::read("/etc/resolv.conf").unwrap_or_default();
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{HOSTNAME}\n");
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
    fn an_end_is_told_by_what_ran() {
        assert!(ended_with(0, None, Vec::new()).is_ok());
        assert!(matches!(ended_with(127, None, Vec::new()), Err(BackendError::Engine(_))));
        assert!(matches!(
            ended_with(2, Some(7), Vec::new()),
            Err(BackendError::Command { exit: 2, line: Some(7), .. })
        ));
    }

    #[test]
    fn variables_of_the_image_win() {
        let found = variables(&["PATH=/mine".to_owned(), "A=b=c".to_owned(), "broken".to_owned()], "/root".to_owned());
        let listed: Vec<String> = found.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(listed, ["A=b=c", "HOME=/root", "HOSTNAME=slipway", "PATH=/mine"]);
    }
}
