//! A shell for the user in the container of a stage, on a terminal of its own whose other end is the user's.

use std::{collections::BTreeMap, os::fd::OwnedFd, process::Stdio, sync::Arc};

use slipway_backend::{
    BackendError, Script, Secrets, Terminal,
    script::{Marker, TOOLBOX_BIN, compose},
    terminal::{follow, pair},
};
use slipway_process::random_id;

use crate::{
    enclosure::{Enclosed, Start},
    error::system,
    memory::Memory,
    mode::Mode,
    run::{Network, Run, volume},
};

const DOING: &str = "open a shell in a stage";
/// Gives the program the terminal, so that it is told when its size changes; of util-linux.
const SESSION: [&str; 3] = ["setsid", "--ctty", "--wait"];
/// The same where the program must read nothing of what is typed: it would keep it from the shell.
const UNREAD: [&str; 7] = ["setsid", "--ctty", "--wait", "sh", "-c", "exec \"$@\" </dev/null", "sh"];
/// The script that a shell begins with, in memory and in the container.
const BEGINNING: &str = "beginning";
const PLACE: &str = "/.werf/shell";

/// Opens a shell and waits for its end. When the future is dropped, it is killed.
pub(crate) async fn open(
    run: Run<'_>,
    variables: &BTreeMap<String, String>,
    terminal: Terminal,
) -> Result<(), BackendError> {
    let failed = |error| system(DOING, error);
    let mut script = Script { variables: variables.clone(), ..Script::default() };
    script.variables.extend(terminal.variables());
    let text = compose(&[], &script, &run.setup.secrets, &Marker::new(&random_id()))?;
    // The secrets in it are to be in no argument and on no disk.
    let mut beginning = Secrets::none();
    beginning.add(BEGINNING, text);
    let memory = Memory::write(&run.setup.attempt, &beginning, false)?;
    let closed = Marker::DESCRIPTOR;
    // By `chroot` the program puts pipes between; the terminal itself is there all the same. What it would pass on between
    // two, it loses at the end.
    let relayed = run.container.program().mode != Mode::Chroot;
    // What the program complains of on its own error output is none of the user's.
    let streams = if relayed { "<&1 2>&1" } else { "</dev/tty >/dev/tty 2>&1" };
    let shell = format!(". {PLACE}; exec {TOOLBOX_BIN}/bash --norc --noprofile -i {streams} {closed}>&-");
    let mount = volume(&memory.path(BEGINNING), PLACE, true)?;
    let mut arguments = run.arguments(&shell, relayed)?;
    arguments.splice(1..1, ["--volume".into(), mount]);
    let Terminal { input, output, mut size, .. } = terminal;
    let first = *size.borrow_and_update();
    let (ours, theirs) = pair(first).map_err(failed)?;
    let stream = || theirs.try_clone().map(|fd: OwnedFd| Stdio::from(fd)).map_err(failed);
    let program = run.container.program();
    let start = Start {
        place: run.container.place(),
        temporary: run.container.place(),
        cut_off: Network::parse(run.setup.network.as_deref())?.is_cut_off(&program.mode),
        prefix: if relayed { &SESSION } else { &UNREAD },
        arguments: &arguments,
        streams: [stream()?, stream()?, if relayed { stream()? } else { Stdio::null() }],
        held: Some(run.container.hold().await),
    };
    let (running, _) = Enclosed::start(program, start).map_err(failed)?;
    // Its end is seen when nobody else has the terminal.
    drop(theirs);
    follow(&program.tasks, Arc::new(ours), (input, output, size)).await;
    running.ended().await.map(drop).map_err(failed)
}
