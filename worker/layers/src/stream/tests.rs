use std::{fs, io::Read as _};

use super::*;
use crate::{
    codec::Decoder,
    entry::{Kind, Time},
    root::Root,
};

/// A directory with files that compress well and one that does not, together some pieces long.
fn tree() -> (tempfile::TempDir, Dir) {
    let home = tempfile::tempdir().expect("a directory");
    let mut seed = 1_u32;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    });
    fs::write(home.path().join("noise"), noise.take(PIECE + 7).collect::<Vec<_>>()).expect("a file");
    fs::write(home.path().join("text"), b"some text ".repeat(PIECE / 4)).expect("a file");
    let root = Root::open(home.path()).expect("a root").directory(b"").expect("a directory");
    (home, root)
}

/// By one thread that packs and compresses, or by one that packs and several that compress.
fn streamed(presses: usize, root: &Dir, compression: Compression, output: impl Write) -> Result<Streamed, LayerError> {
    let view = View::Upper { never: Vec::new() };
    match presses {
        0 => stream_by_two((root, &view), compression, output),
        presses => stream_by_many(presses, (root, &view), compression, output),
    }
}

fn made(presses: usize, compression: Compression) -> (Vec<u8>, Streamed) {
    let (_home, root) = tree();
    for name in ["noise", "text"] {
        root.set_time(name.as_bytes(), Time::default()).expect("a time");
    }
    let mut output = Vec::new();
    let streamed = streamed(presses, &root, compression, &mut output).expect("an archive");
    (output, streamed)
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let (bytes, streamed) = made(1, compression);
        for presses in [0, 3, 8] {
            assert!(made(presses, compression) == (bytes.clone(), streamed.clone()), "{presses}");
        }
        assert_eq!((streamed.digest.clone(), streamed.size), (BlobDigest::of(&bytes), bytes.len() as u64));
        let mut plain = Vec::new();
        Decoder::new(bytes.as_slice()).expect("a decoder").read_to_end(&mut plain).expect("one stream");
        assert_eq!(streamed.diff_id, BlobDigest::of(&plain));
        assert_eq!(streamed.packed.entries, 2);
        assert!(plain.len() > 3 * PIECE && (compression == Compression::None || bytes.len() < plain.len() / 2));
        // The same archive as without all this.
        let (_home, root) = tree();
        for name in ["noise", "text"] {
            root.set_time(name.as_bytes(), Time::default()).expect("a time");
        }
        let (packed, _) = pack(&root, &View::Upper { never: Vec::new() }, Vec::new()).expect("an archive");
        assert!(packed == plain);
    }
}

/// Takes some bytes, then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn whatever_fails_ends_it_and_is_told() {
    let (home, root) = tree();
    for presses in [0, 1, 4] {
        let failed = streamed(presses, &root, Compression::None, Full(PIECE)).expect_err("no room");
        assert!(failed.to_string().starts_with("write an archive"), "{failed}");
    }
    // A path that is too long for an archive.
    let mut directory = root;
    let name = "d".repeat(250);
    for _ in 0..17 {
        directory.make(name.as_bytes(), &Kind::Directory).expect("a directory");
        directory = directory.enter(name.as_bytes()).expect("a directory");
    }
    let root = Root::open(home.path()).expect("a root").directory(b"").expect("a directory");
    for presses in [0, 2] {
        let failed = streamed(presses, &root, Compression::Zstd, io::sink()).expect_err("a path that is too long");
        assert!(failed.to_string().contains("4096"), "{failed}");
    }
}
