//! Figures of a layer's way into an archive: `scripts/bench-native` runs this.
//!
//! Arguments: a directory, `gzip` or `zstd`, and how many rounds. Each round runs every step alone, from memory and into
//! nothing, and then all of them at once. The last line is the memory that they took together, at its highest.

#![expect(clippy::print_stdout, reason = "a benchmark ends where something unexpected happens, and prints")]

use std::{io, path::Path, thread, time::Duration};

use slipway_layers::{
    codec::{Compression, Digesting, Press},
    pack::{View, pack},
    root::{Dir, Root},
    stream::{PIECE, presses, stream},
};
use slipway_process::{Clock as _, SystemClock};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("a directory");
    let compression = match arguments.next().as_deref() {
        Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        other => panic!("gzip or zstd, not {other:?}"),
    };
    let rounds: usize = arguments.next().map_or(5, |text| text.parse().expect("a number"));
    let root = Root::open(Path::new(&directory)).and_then(|root| root.directory(b"")).expect("it can be opened");
    // First, before anything else takes memory.
    let before = peak();
    let whole = |root: &Dir| stream(root, &View::Tree, compression, io::sink()).expect("an archive");
    let streamed = whole(&root);
    let memory = peak() - before;
    let (plain, _) = pack(&root, &View::Tree, Vec::new()).expect("an archive");
    let packed = stream_into_memory(&root, compression);
    assert_eq!(packed.len() as u64, streamed.size);
    let clock = SystemClock::new(None);
    let timed = |work: &dyn Fn()| {
        let start = clock.monotonic();
        work();
        clock.monotonic() - start
    };
    let mut taken: [Vec<Duration>; 5] = Default::default();
    for _ in 0..rounds {
        let steps: [&dyn Fn(); 5] = [
            &|| {
                pack(&root, &View::Tree, io::sink()).expect("an archive");
            },
            &|| digest(&plain),
            &|| compress(&plain, compression),
            &|| digest(&packed),
            &|| {
                whole(&root);
            },
        ];
        for (step, taken) in steps.into_iter().zip(&mut taken) {
            taken.push(timed(step));
        }
    }
    let [pack, digest, compress, packed_digest, all] = taken.map(|mut taken| {
        taken.sort();
        taken[taken.len() / 2]
    });
    let slowest = [pack, digest, compress, packed_digest].into_iter().max().unwrap_or_default();
    for (name, taken) in [
        ("read and pack", pack),
        ("digest", digest),
        ("compress", compress),
        ("digest packed", packed_digest),
        ("all", all),
    ] {
        println!("{name:<14} {:>7} ms", taken.as_millis());
    }
    println!("all / slowest  {:>7.2}", all.as_secs_f64() / slowest.as_secs_f64());
    println!("bytes          {} to {}", plain.len(), packed.len());
    println!("memory         {:>7} MiB", memory / 1024);
}

fn stream_into_memory(root: &Dir, compression: Compression) -> Vec<u8> {
    let mut packed = Vec::new();
    stream(root, &View::Tree, compression, &mut packed).expect("an archive");
    packed
}

fn digest(bytes: &[u8]) {
    let mut digesting = Digesting::new(io::sink());
    io::copy(&mut &*bytes, &mut digesting).expect("nothing fails");
    assert_eq!(digesting.finish().2, bytes.len() as u64);
}

/// All pieces, by as many threads as a stream has for it.
fn compress(plain: &[u8], compression: Compression) {
    let pieces: Vec<&[u8]> = plain.chunks(PIECE).collect();
    let share = pieces.len().div_ceil(presses());
    thread::scope(|scope| {
        for pieces in pieces.chunks(share.max(1)) {
            scope.spawn(move || {
                let (mut press, mut pressed) = (Press::new(compression), Vec::new());
                for piece in pieces {
                    pressed = press.press(piece, pressed).expect("memory takes it");
                }
            });
        }
    });
}

/// KiB of memory that this process has had at its highest.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a highest value");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
