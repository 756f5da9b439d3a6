//! Compression and digests of streams.

use std::io::{self, BufReader, Read, Write};

use flate2::{Compression as Level, GzBuilder, bufread::MultiGzDecoder};
use sha2::{Digest as _, Sha256};
use slipway_oci::{
    BlobDigest,
    manifest::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD},
};

use crate::LayerError;

/// Buffer in front of a decoder.
const BUFFER: usize = 128 * 1024;
/// Level of gzip: the fast one. A layer is read more often by a network than by anything that its size would hurt.
const GZIP_LEVEL: u32 = 1;
/// Level of zstd: its default.
const ZSTD_LEVEL: i32 = 3;
/// How many times as large a stream may become. Gzip itself reaches 1032.
const MAX_RATIO: u64 = 2000;
/// What every stream may become, whatever its ratio.
const FREE: u64 = 1 << 30;

/// How a layer is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, which every engine reads.
    #[default]
    Gzip,
    /// Zstandard: smaller and several times faster; Docker before 23 cannot read it.
    Zstd,
}

impl Compression {
    /// What a stream is compressed with that begins so: four bytes tell.
    pub fn of(first: &[u8]) -> Self {
        let skippable = first.len() >= 4 && first[1..4] == [0x2a, 0x4d, 0x18];
        if first.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
            Self::Zstd
        } else {
            Self::None
        }
    }

    /// The media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => OCI_LAYER,
            Self::Gzip => OCI_LAYER_GZIP,
            Self::Zstd => OCI_LAYER_ZSTD,
        }
    }
}

/// Counts and digests what passes, in either direction.
pub struct Digesting<T> {
    inner: T,
    hash: Sha256,
    count: u64,
}

impl<T> Digesting<T> {
    /// Around a reader or writer.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    /// What was wrapped, the digest of what passed, and how many bytes it was.
    pub fn finish(self) -> (T, BlobDigest, u64) {
        let text = format!("sha256:{}", hex::encode(self.hash.finalize()));
        (self.inner, text.parse().expect("a SHA-256 in hexadecimal is a digest"), self.count)
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Digesting<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The plain bytes of a stream, whatever it is compressed with: its first bytes tell.
pub struct Decoder<R: Read> {
    kind: Decoding<R>,
    plain: u64,
    /// What it may become, whatever its ratio.
    free: u64,
}

enum Decoding<R: Read> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Counted<R>>>>),
}

/// A reader that gives some bytes back first, and counts.
struct Counted<R> {
    first: Vec<u8>,
    at: usize,
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.first[self.at..];
        let count = if rest.is_empty() {
            self.inner.read(buffer)?
        } else {
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.at += count;
            count
        };
        self.count += count as u64;
        Ok(count)
    }
}

impl<R: Read> Decoder<R> {
    /// Looks at the beginning of `input`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(mut input: R) -> io::Result<Self> {
        let mut first = Vec::new();
        input.by_ref().take(4).read_to_end(&mut first)?;
        let compression = Compression::of(&first);
        let counted = Counted { first, at: 0, inner: input, count: 0 };
        let kind = match compression {
            Compression::Gzip => {
                Decoding::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, counted))))
            }
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, counted))?;
                Decoding::Zstd(Box::new(decoder))
            }
            Compression::None => Decoding::Plain(counted),
        };
        Ok(Self { kind, plain: 0, free: FREE })
    }

    /// Reads what is left, plain and compressed, and gives the input back.
    ///
    /// # Errors
    /// When reading fails, or what is left is not to be decompressed.
    pub fn finish(mut self) -> io::Result<R> {
        io::copy(&mut self, &mut io::sink())?;
        let mut input = match self.kind {
            Decoding::Plain(counted) => counted,
            Decoding::Gzip(decoder) => decoder.into_inner().into_inner(),
            Decoding::Zstd(decoder) => decoder.finish().into_inner(),
        };
        io::copy(&mut input, &mut io::sink())?;
        Ok(input.inner)
    }

    fn compressed(&self) -> u64 {
        match &self.kind {
            Decoding::Plain(counted) => counted.count,
            Decoding::Gzip(decoder) => decoder.get_ref().get_ref().count,
            Decoding::Zstd(decoder) => decoder.get_ref().get_ref().count,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.kind {
            Decoding::Plain(counted) => counted.read(buffer)?,
            Decoding::Gzip(decoder) => decoder.read(buffer)?,
            Decoding::Zstd(decoder) => decoder.read(buffer)?,
        };
        self.plain += count as u64;
        if self.plain > self.free && self.plain / MAX_RATIO > self.compressed() {
            let what =
                format!("decompress a layer: it grows to more than {MAX_RATIO} times its size: it may be an attack");
            return Err(LayerError::TooMuch(what).into());
        }
        Ok(count)
    }
}

/// Compresses pieces, each by itself: all of them behind each other are one stream to every reader.
pub struct Press {
    compression: Compression,
    /// What pieces of zstd have in common; made with the first one.
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Press {
    /// A press for pieces of one archive.
    pub fn new(compression: Compression) -> Self {
        Self { compression, zstd: None }
    }

    /// The piece, compressed, in the place of whatever is in `room`.
    ///
    /// # Errors
    /// When the compressor cannot be set up.
    pub fn press(&mut self, piece: &[u8], mut room: Vec<u8>) -> io::Result<Vec<u8>> {
        room.clear();
        match self.compression {
            Compression::None => {
                room.extend_from_slice(piece);
                Ok(room)
            }
            Compression::Gzip => {
                room.reserve(piece.len() / 2);
                let mut encoder = GzBuilder::new().mtime(0).write(room, Level::new(GZIP_LEVEL));
                encoder.write_all(piece)?;
                encoder.finish()
            }
            Compression::Zstd => {
                room.reserve(zstd::zstd_safe::compress_bound(piece.len()));
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    unmade => unmade.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
                };
                zstd.compress_to_buffer(piece, &mut room)?;
                Ok(room)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let text = b"some text ".repeat(10_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let packed = Press::new(compression).press(&text, Vec::new()).expect("memory takes it");
            assert_eq!(packed.len() < text.len() / 10, compression != Compression::None);
            let mut decoder = Decoder::new(packed.as_slice()).expect("a decoder");
            let mut plain = Vec::new();
            decoder.read_to_end(&mut plain).expect("plain bytes");
            assert_eq!(plain, text);
            assert_eq!(decoder.finish().expect("an end"), b"");
            // A stream that is cut off is an error, not a shorter file.
            let cut = &packed[..packed.len() / 2];
            let ended = Decoder::new(cut).and_then(Decoder::finish);
            assert_eq!(ended.is_err(), compression != Compression::None);
        }
    }

    #[test]
    fn several_pieces_are_one_stream() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut press = Press::new(compression);
            let pieces =
                ["one ", "two"].map(|part| press.press(part.as_bytes(), b"old".to_vec()).expect("memory takes it"));
            let mut plain = String::new();
            Decoder::new(pieces.concat().as_slice()).expect("a decoder").read_to_string(&mut plain).expect("text");
            assert_eq!(plain, "one two");
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let packed = Press::new(Compression::Zstd).press(&vec![0; 9 << 20], Vec::new()).expect("memory takes it");
        let mut decoder = Decoder::new(packed.as_slice()).expect("a decoder");
        assert_eq!(decoder.free, FREE);
        decoder.free = 8 << 20;
        let failure = decoder.finish().expect_err("a bomb");
        assert!(failure.to_string().contains("2000 times its size"), "{failure}");
    }

    #[test]
    fn digests_are_of_what_passed() {
        let mut reader = Digesting::new(b"abc".as_slice());
        io::copy(&mut reader, &mut io::sink()).expect("three bytes");
        let (_, digest, count) = reader.finish();
        assert_eq!((digest, count), (BlobDigest::of(b"abc"), 3));
    }
}
