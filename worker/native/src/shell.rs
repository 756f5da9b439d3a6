//! A shell for the user in the room of a stage, on a terminal of its own whose other end is the user's.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use slipway_backend::{
    BackendError, Script, Setup, Terminal,
    script::{Marker, TOOLBOX_BIN, compose},
    terminal::Size,
};
use slipway_process::{Tasks, random_id};
use tokio::sync::mpsc;

use crate::{
    Shared, error,
    run::{Launch, launch},
    runtime::Kind,
    workspace::Room,
};

/// Bytes that are read of the terminal at once.
const PIECE: usize = 4096;
const DOING: &str = "open a shell in a stage";

/// Opens a shell and waits for its end. When the future is dropped, it is killed.
pub(crate) async fn shell(
    shared: &Arc<Shared>,
    room: Arc<Room>,
    setup: &Setup,
    image_variables: &[String],
    (variables, terminal): (&BTreeMap<String, String>, Terminal),
) -> Result<(), BackendError> {
    if shared.runtime.as_ref().is_some_and(|runtime| runtime.kind() == Kind::Runsc) {
        let why = "gVisor gives no terminal to what it runs so: leave --native-runtime away to look into a stage";
        return Err(BackendError::Refused(format!("not supported yet: {DOING} by runsc: {why}")));
    }
    let mut script = Script { variables: variables.clone(), ..Script::default() };
    script.variables.extend(terminal.variables());
    let text = compose(&[], &script, &setup.secrets, &Marker::new(&random_id()))?;
    let Terminal { input, output, mut size, .. } = terminal;
    let first = *size.borrow_and_update();
    let (ours, theirs) = pair(first).map_err(|error| error::system(DOING, error))?;
    // A runtime leads a session that has no terminal: whoever opens one in it makes it its own.
    let terminal = if shared.runtime.is_some() { "<>/dev/console >&0 2>&0" } else { "<&1" };
    let bootstrap = format!(
        "eval \"$(</dev/stdin)\"; exec {TOOLBOX_BIN}/bash --norc --noprofile -i {terminal} {}>&-",
        Marker::DESCRIPTOR
    );
    let what = Launch { bootstrap, text, tools: None, terminal: Some(theirs) };
    let (mut running, _) = launch(shared, room, setup, image_variables, what).await?;
    follow(&shared.tasks, Arc::new(ours), (input, output, size)).await;
    running.ended().await.map(drop)
}

/// A new terminal: our end, and that of the shell.
///
/// # Errors
/// When the system has no more.
pub fn pair(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(&ours, flags)?;
    resize(&ours, size);
    Ok((ours, theirs))
}

/// Some sizes are none: it stays as it is.
fn resize(terminal: &OwnedFd, (rows, columns): Size) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    if let Err(error) = tcsetwinsize(terminal, size) {
        tracing::debug!("resize a shell: {error}");
    }
}

/// What a user's terminal is: what is typed, what is shown, how large it is.
pub type Ends = (mpsc::Receiver<Vec<u8>>, mpsc::Sender<Vec<u8>>, tokio::sync::watch::Receiver<Size>);

/// Passes on what is typed and what is shown, until everything that had the terminal has ended.
pub async fn follow(tasks: &Tasks, ours: Arc<OwnedFd>, (mut input, output, mut size): Ends) {
    let (source, owned) = (Arc::clone(&ours), tasks.clone());
    let mut reading = tasks.spawn(async move { owned.blocking(move || read(&source, &output)).await });
    let (mut typing, mut resizing) = (true, true);
    loop {
        tokio::select! {
            _ = &mut reading => return,
            piece = input.recv(), if typing => match piece {
                Some(piece) => {
                    let target = Arc::clone(&ours);
                    typing = tasks.blocking(move || write(&target, &piece)).await.is_ok();
                }
                None => typing = false,
            },
            changed = size.changed(), if resizing => {
                resizing = changed.is_ok();
                let now = *size.borrow_and_update();
                resize(&ours, now);
            }
        }
    }
}

/// Blocks. An error is the end: nobody has the other end any more.
fn read(terminal: &OwnedFd, output: &mpsc::Sender<Vec<u8>>) {
    loop {
        let mut piece = vec![0; PIECE];
        match rustix::io::read(terminal.as_fd(), &mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                if output.blocking_send(piece).is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Blocks.
fn write(terminal: &OwnedFd, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        let count = rustix::io::write(terminal.as_fd(), piece)?;
        piece = &piece[count..];
    }
    Ok(())
}
