//! A directory as a compressed archive, in one pass: its steps run beside each other, and hand over pieces of one size.
//!
//! One thread reads, packs and digests; some compress, each a piece of its own; whoever calls digests and writes what
//! they made, in order. Where two processors are all there is, one thread packs and compresses each piece while it is
//! near, and whoever calls does the rest. A piece is a gzip member or a zstd frame, and an archive is all of them behind
//! each other, which every reader takes for one stream: its bytes do not depend on how many threads there were.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read as _, Write},
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
    pack::{Packed, View, pack, pack_by},
    root::Dir,
};

/// Bytes of a piece before it is compressed.
pub const PIECE: usize = 1 << 20;
/// Threads that compress, at most: pieces in memory are twice as many.
const MAX_PRESSES: usize = 8;
/// Compressed pieces that may wait for whoever writes them, where one thread makes them.
const WAITING: usize = 4;

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
    match presses() {
        1 => stream_by_two((directory, view), compression, output),
        presses => stream_by_many(presses, (directory, view), compression, output),
    }
}

/// How many threads compress a layer on this machine.
pub fn presses() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).clamp(1, MAX_PRESSES)
}

/// The same with so many threads that compress.
fn stream_by_many(
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

/// The same with one thread beside the caller's.
fn stream_by_two(
    (directory, view): (&Dir, &View),
    compression: Compression,
    output: impl Write,
) -> Result<Streamed, LayerError> {
    let (made, pieces) = sync_channel::<Made>(WAITING);
    let (spare, spares) = channel();
    thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let making = Making { press: Press::new(compression), next: Made::default(), made, spares };
            let (making, packed) = pack_by(directory, view, making, Making::take)?;
            making.end().map_err(|error| LayerError::io("compress an archive", error))?;
            Ok::<_, LayerError>(packed)
        });
        let written = digest_and_write(pieces, spare, output);
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // As above.
        let (diff_id, digest, size) = written.map_err(|error| LayerError::io("write an archive", error))?;
        Ok(Streamed { diff_id, packed: packed?, digest, size })
    })
}

/// A piece in both forms.
#[derive(Default)]
struct Made {
    /// As long as a piece may be, or empty.
    room: Vec<u8>,
    /// How much of it is the piece.
    filled: usize,
    pressed: Vec<u8>,
}

impl Made {
    fn piece(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    /// What may be filled.
    fn rest(&mut self) -> &mut [u8] {
        self.room.resize(PIECE, 0);
        &mut self.room[self.filled..]
    }
}

/// Digests pieces, writes their compressed forms, and gives their memory back.
fn digest_and_write(
    pieces: Receiver<Made>,
    spare: Sender<Made>,
    output: impl Write,
) -> io::Result<(BlobDigest, BlobDigest, u64)> {
    let (mut plain, mut output) = (Digesting::new(io::sink()), Digesting::new(output));
    for made in pieces {
        plain.write_all(made.piece())?;
        output.write_all(&made.pressed)?;
        // Whoever packs may have ended.
        let _ = spare.send(made);
    }
    output.flush()?;
    let (_, digest, size) = output.finish();
    Ok((plain.finish().1, digest, size))
}

/// Cuts an archive into pieces and compresses them.
struct Making {
    press: Press,
    next: Made,
    made: SyncSender<Made>,
    /// Memory of pieces that were written.
    spares: Receiver<Made>,
}

impl Making {
    fn hand(&mut self) -> io::Result<()> {
        let spare = self.spares.try_recv().unwrap_or_default();
        let mut full = std::mem::replace(&mut self.next, spare);
        self.next.filled = 0;
        let pressed = std::mem::take(&mut full.pressed);
        full.pressed = self.press.press(full.piece(), pressed)?;
        self.made.send(full).map_err(|_| nobody())
    }

    fn filled(&mut self, count: usize) -> io::Result<()> {
        self.next.filled += count;
        if self.next.filled == PIECE { self.hand() } else { Ok(()) }
    }

    /// Reads a file into pieces, with nothing in between.
    fn take(&mut self, file: File, size: u64) -> io::Result<u64> {
        let (mut file, mut taken) = (file.take(size), 0);
        loop {
            match file.read(self.next.rest()) {
                Ok(0) => return Ok(taken),
                Ok(count) => {
                    taken += count as u64;
                    self.filled(count)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn end(mut self) -> io::Result<()> {
        if self.next.filled == 0 { Ok(()) } else { self.hand() }
    }
}

impl Write for Making {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rest = self.next.rest();
        let count = bytes.len().min(rest.len());
        rest[..count].copy_from_slice(&bytes[..count]);
        self.filled(count)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn nobody() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive any more")
}

/// Compresses pieces until there are no more.
fn press(waiting: &Mutex<Receiver<Job>>, compression: Compression) {
    let mut press = Press::new(compression);
    loop {
        // The lock is held while waiting: the next piece is for whoever has it.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { piece, done }) = next else { return };
        // Nobody waits for it when writing has failed.
        let _ = done.send(press.press(&piece, Vec::new()));
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
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let (done, awaited) = channel();
        self.order.send(awaited).map_err(|_| nobody())?;
        self.jobs.send(Job { piece, done }).map_err(|_| nobody())
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
