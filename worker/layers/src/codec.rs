//! Compression and digests of streams. Layers are plain, gzip or zstd; archives of users also bzip2 or xz.

use std::io::{self, BufReader, Read, Write};

use bzip2::bufread::MultiBzDecoder;
use flate2::{Compression as Level, GzBuilder, bufread::MultiGzDecoder};
use lzma_rust2::XzReader;
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
/// Most that decompressing xz may take, in KiB: its highest level takes half of it.
const XZ_MEMORY: u32 = 128 << 10;
/// Bytes that tell how a stream is compressed.
const TELLING: u64 = 6;

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
    /// What is decompressed, in messages.
    what: &'static str,
    kind: Decoding<R>,
    plain: u64,
    /// What it may become, whatever its ratio.
    free: u64,
}

enum Decoding<R: Read> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Counted<R>>>>),
    Bzip2(Box<MultiBzDecoder<BufReader<Counted<R>>>>),
    Xz(Box<XzReader<BufReader<Counted<R>>>>),
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

impl<R: Read> Decoding<R> {
    fn of(compression: Compression, counted: Counted<R>) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, counted)))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, counted))?;
                Self::Zstd(Box::new(decoder))
            }
            Compression::None => Self::Plain(counted),
        })
    }
}

fn beginning(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    input.take(TELLING).read_to_end(&mut first)?;
    Ok(first)
}

impl<R: Read> Decoder<R> {
    /// Looks at the beginning of `input`: a layer.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(mut input: R) -> io::Result<Self> {
        let first = beginning(&mut input)?;
        let compression = Compression::of(&first);
        let counted = Counted { first, at: 0, inner: input, count: 0 };
        let kind = Decoding::of(compression, counted)?;
        Ok(Self { what: "a layer", kind, plain: 0, free: FREE })
    }

    /// The same for what users compress, with bzip2 or xz too.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(mut input: R) -> io::Result<Self> {
        let first = beginning(&mut input)?;
        let (compression, is_bzip2) = (Compression::of(&first), first.starts_with(b"BZh"));
        let is_xz = first.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]);
        let counted = Counted { first, at: 0, inner: input, count: 0 };
        let kind = if is_bzip2 {
            Decoding::Bzip2(Box::new(MultiBzDecoder::new(BufReader::with_capacity(BUFFER, counted))))
        } else if is_xz {
            let buffered = BufReader::with_capacity(BUFFER, counted);
            Decoding::Xz(Box::new(XzReader::new_mem_limit(buffered, true, XZ_MEMORY)))
        } else {
            Decoding::of(compression, counted)?
        };
        Ok(Self { what: "a file", kind, plain: 0, free: FREE })
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
            Decoding::Bzip2(decoder) => decoder.into_inner().into_inner(),
            Decoding::Xz(decoder) => decoder.into_inner().into_inner(),
        };
        io::copy(&mut input, &mut io::sink())?;
        Ok(input.inner)
    }

    fn compressed(&self) -> u64 {
        match &self.kind {
            Decoding::Plain(counted) => counted.count,
            Decoding::Gzip(decoder) => decoder.get_ref().get_ref().count,
            Decoding::Zstd(decoder) => decoder.get_ref().get_ref().count,
            Decoding::Bzip2(decoder) => decoder.get_ref().get_ref().count,
            Decoding::Xz(decoder) => decoder.inner().get_ref().count,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.kind {
            Decoding::Plain(counted) => counted.read(buffer)?,
            Decoding::Gzip(decoder) => decoder.read(buffer)?,
            Decoding::Zstd(decoder) => decoder.read(buffer)?,
            Decoding::Bzip2(decoder) => decoder.read(buffer)?,
            Decoding::Xz(decoder) => decoder.read(buffer)?,
        };
        self.plain += count as u64;
        if self.plain > self.free && self.plain / MAX_RATIO > self.compressed() {
            let what = self.what;
            let what =
                format!("decompress {what}: it grows to more than {MAX_RATIO} times its size: it may be an attack");
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
    fn files_of_bzip2_and_xz_are_read() {
        // `printf 'one two' | bzip2`, and the same by xz.
        let bzip2 = "425a6839314159265359818432890000019180400002018480200021800c013835dc5dc914e142420610ca24";
        let xz = "fd377a585a000004e6d6b4460200210116000000742fe5a30100066f6e652074776f0000383264958b58237c00011f07162eb8731fb6f3\
                  7d010000000004595a";
        for packed in [bzip2, xz].map(|text| hex::decode(text).expect("hexadecimal")) {
            let mut plain = String::new();
            // Files that are several streams are one.
            let twice = [packed.as_slice(), &packed].concat();
            let read = Decoder::of_file(twice.as_slice()).and_then(|mut decoder| decoder.read_to_string(&mut plain));
            assert_eq!((read.expect("text"), plain.as_str()), (14, "one twoone two"));
            let mut bounded = Decoder::of_file(packed.as_slice()).expect("a decoder");
            bounded.free = 0;
            assert!(bounded.finish().is_ok());
            assert!(Decoder::of_file(&packed[..packed.len() / 2]).and_then(Decoder::finish).is_err());
            // Layers are not compressed so.
            let mut kept = Vec::new();
            Decoder::new(packed.as_slice()).and_then(|mut decoder| decoder.read_to_end(&mut kept)).expect("bytes");
            assert_eq!(kept, packed);
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
