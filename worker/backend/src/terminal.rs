//! The user's terminal, lent to a shell inside a stage; and that of the shell, whose other end is the user's.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use slipway_process::Tasks;
use tokio::sync::{mpsc, watch};

/// Bytes that are read of the shell's at once.
const PIECE: usize = 4096;

/// Rows and columns.
pub type Size = (u16, u16);

/// A terminal that passes bytes on as they are typed. Whoever lends it gets it back when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    /// What is typed.
    pub input: mpsc::Receiver<Vec<u8>>,
    /// What is shown.
    pub output: mpsc::Sender<Vec<u8>>,
    /// How large it is.
    pub size: watch::Receiver<Size>,
    /// `TERM`: what it understands.
    pub kind: String,
    /// What the shell's prompt begins with.
    pub prompt: String,
}

impl Terminal {
    /// Variables that a shell on it has beside those of its commands.
    pub fn variables(&self) -> [(String, String); 2] {
        [("TERM".to_owned(), self.kind.clone()), ("PS1".to_owned(), format!("[{}] \\w \\$ ", self.prompt))]
    }
}

/// A new terminal for a shell: our end, and the shell's.
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
pub type Ends = (mpsc::Receiver<Vec<u8>>, mpsc::Sender<Vec<u8>>, watch::Receiver<Size>);

/// Passes on what is typed and what is shown, until everything that had the shell's terminal, whose other end is `ours`, has
/// ended.
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
