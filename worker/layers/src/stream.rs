//! A directory as a compressed archive, in one pass: its steps run beside each other, and hand over pieces of one size.
//!
//! One thread reads, packs and digests; some compress, each a piece of its own; whoever calls digests and writes what
//! they made, in order. A piece is a gzip member or a zstd frame, and an archive is all of them behind each other, which
//! every reader takes for one stream: its bytes do not depend on how many threads there were.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use slipway_oci::BlobDigest;

use crate::{
    LayerError,
    codec::{Compression, Digesting, Press},
    pack::{Packed, View, pack},
    root::Dir,
};

/// Bytes of a piece before it is compressed.
pub const PIECE: usize = 1 << 20;
/// Threads that compress, at most: pieces in memory are twice as many.
const MAX_PRESSES: usize = 8;

/// What became of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// Digest of the archive before it was compressed.
    pub diff_id: BlobDigest,
    /// What is in it.
    pub packed: Packed,
    /// Digest of what was written.
    pub digest: BlobDigest,
    /// Bytes of what was written.
    pub size: u64,
}

/// A piece on its way, and where its compressed form is awaited.
struct Job {
    piece: Vec<u8>,
    done: Sender<io::Result<Vec<u8>>>,
}

/// Packs, digests, compresses and writes a directory, all at the same time. One processor is left to the other steps.
///
/// # Errors
/// [`LayerError`] when a file cannot be read or `output` not be written.
pub fn stream(
    directory: &Dir,
    view: &View,
    compression: Compression,
    output: impl Write,
) -> Result<Streamed, LayerError> {
    stream_by(presses(), (directory, view), compression, output)
}

/// How many threads compress a layer on this machine.
pub fn presses() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).clamp(1, MAX_PRESSES)
}

/// The same with so many threads that compress.
fn stream_by(
    presses: usize,
    (directory, view): (&Dir, &View),
    compression: Compression,
    output: impl Write,
) -> Result<Streamed, LayerError> {
    let io = |error: io::Error| LayerError::io("compress an archive", error);
    let (jobs, waiting) = sync_channel::<Job>(presses);
    let (order, ordered) = sync_channel::<Receiver<io::Result<Vec<u8>>>>(2 * presses);
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let cutting = Cutting { jobs, order, piece: Vec::with_capacity(PIECE) };
            let (digesting, packed) = pack(directory, view, Digesting::new(cutting))?;
            let (cutting, diff_id, _) = digesting.finish();
            cutting.end().map_err(io)?;
            Ok::<_, LayerError>((diff_id, packed))
        });
        for _ in 0..presses {
            scope.spawn(|| press(&waiting, compression));
        }
        let written = write(ordered, output);
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Whoever packs is stopped by an output that fails: that is what is to be told.
        let (digest, size) = written.map_err(|error| LayerError::io("write an archive", error))?;
        let (diff_id, packed) = packed?;
        Ok(Streamed { diff_id, packed, digest, size })
    })
}

/// Compresses pieces until there are no more.
fn press(waiting: &Mutex<Receiver<Job>>, compression: Compression) {
    let mut press = Press::new(compression);
    loop {
        // The lock is held while waiting: the next piece is for whoever has it.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { piece, done }) = next else { return };
        // Nobody waits for it when writing has failed.
        let _ = done.send(press.press(piece));
    }
}

/// Writes what was compressed, in the order in which it was packed.
fn write(ordered: Receiver<Receiver<io::Result<Vec<u8>>>>, output: impl Write) -> io::Result<(BlobDigest, u64)> {
    let mut output = Digesting::new(output);
    for next in ordered {
        // Without an answer the thread that packs has failed, and says why.
        let Ok(pressed) = next.recv() else { break };
        output.write_all(&pressed?)?;
    }
    output.flush()?;
    let (_, digest, size) = output.finish();
    Ok((digest, size))
}

/// Cuts an archive into pieces.
struct Cutting {
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<io::Result<Vec<u8>>>>,
    piece: Vec<u8>,
}

impl Cutting {
    fn hand(&mut self) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive any more");
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let (done, awaited) = channel();
        self.order.send(awaited).map_err(|_| gone())?;
        self.jobs.send(Job { piece, done }).map_err(|_| gone())
    }

    fn end(mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.hand() }
    }
}

impl Write for Cutting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.hand()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
