//! The user's terminal, byte by byte: for shells inside stages.

use std::{
    io::{self, IsTerminal as _},
    os::unix::net::UnixStream,
    sync::Arc,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    stdio,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use slipway_backend::{Terminal, terminal::Size};
use slipway_process::Tasks;
use tokio::{
    io::AsyncWriteExt as _,
    signal::unix::{SignalKind, signal},
    sync::{OwnedMutexGuard, mpsc, watch},
};

use crate::output::Printer;

/// Pieces that may wait on either way.
const WAITING: usize = 64;
/// Bytes that are read at once.
const PIECE: usize = 4096;
/// What a terminal is that does not say how large it is.
const USUAL: Size = (24, 80);

/// Whether there is one to lend.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Lends the terminal: until what is lent is dropped, nothing else is shown, and nobody else has a turn. `kind` = `TERM`.
///
/// # Errors
/// When there is no terminal.
pub(crate) fn lend(
    printer: &Arc<Printer>,
    tasks: &Tasks,
    (kind, prompt): (String, &str),
    turn: OwnedMutexGuard<()>,
) -> io::Result<Terminal> {
    let (typed, input) = mpsc::channel(WAITING);
    let (output, mut shown) = mpsc::channel::<Vec<u8>>(WAITING);
    let (sizes, size) = watch::channel(look().unwrap_or(USUAL));
    let (ended, watched) = UnixStream::pair()?;
    let mut changes = signal(SignalKind::window_change())?;
    let raw = Raw::set()?;
    let (held, blocking) = (Arc::clone(printer), tasks.clone());
    held.lend();
    tasks.spawn(async move { blocking.blocking(move || read(&typed, &watched)).await });
    tasks.spawn(async move {
        loop {
            tokio::select! {
                piece = shown.recv() => match piece {
                    Some(piece) => {
                        let mut screen = tokio::io::stderr();
                        if screen.write_all(&piece).await.is_err() || screen.flush().await.is_err() {
                            break;
                        }
                    }
                    None => break,
                },
                Some(()) = changes.recv() => drop(look().map(|size| sizes.send_replace(size))),
            }
        }
        drop((ended, raw));
        held.take_back();
        drop(turn);
    });
    Ok(Terminal { input, output, size, kind, prompt: prompt.to_owned() })
}

fn look() -> Option<Size> {
    let size = tcgetwinsize(stdio::stderr()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Passes on what is typed, until nobody reads it or the other end of `watched` is closed. Blocks.
fn read(typed: &mpsc::Sender<Vec<u8>>, watched: &UnixStream) {
    loop {
        let (keys, end) = (stdio::stdin(), watched);
        let mut waiting = [PollFd::new(&keys, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        // Keys that come after the end are for whoever reads next.
        if !waiting[1].revents().is_empty() {
            return;
        }
        let mut piece = vec![0; PIECE];
        match rustix::io::read(keys, &mut piece) {
            Ok(0) => return,
            Ok(count) => {
                piece.truncate(count);
                if typed.blocking_send(piece).is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The terminal passes everything on; as before when this is dropped.
struct Raw(Termios);

impl Raw {
    fn set() -> io::Result<Self> {
        let before = tcgetattr(stdio::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(stdio::stdin(), OptionalActions::Now, &self.0);
    }
}
