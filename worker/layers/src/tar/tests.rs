mod fuzz;

use std::{
    fs,
    io::{Read as _, Write as _},
    process::Stdio,
};

use super::*;
use crate::{
    LayerError,
    entry::{Entry, Kind, Time},
};

/// All entries of an archive with their content.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, LayerError> {
    let mut reader = TarReader::new(bytes, Limits::default());
    let mut found = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).map_err(|error| LayerError::io("read", error))?;
        found.push((entry, content));
    }
    Ok(found)
}

fn written(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, *content).expect("memory takes it");
    }
    writer.finish().expect("an end")
}

#[test]
fn what_is_written_is_read() {
    let long = [b"d/".repeat(200), b"\xff".to_vec()].concat();
    let entries = vec![
        (Entry { mode: 0o2755, uid: 5_000_000, gid: 7, ..Entry::directory("d/") }, b"".as_slice()),
        (Entry { mtime: Time { seconds: -5, nanos: 0 }, mode: 0o4711, ..Entry::file(long.clone(), 3) }, b"abc"),
        (Entry { mtime: Time { seconds: 1 << 40, nanos: 0 }, ..Entry::file("empty", 0) }, b""),
        (Entry { kind: Kind::Symlink(long.clone()), mode: 0o777, ..Entry::file("s", 0) }, b""),
        (Entry { kind: Kind::HardLink(long), ..Entry::file("h", 0) }, b""),
        (Entry { kind: Kind::Char(4000, 1_000_000), ..Entry::file("c", 0) }, b""),
        (Entry { kind: Kind::Block(8, 1), ..Entry::file("b", 0) }, b""),
        (Entry { kind: Kind::Fifo, ..Entry::file("p", 0) }, b""),
        (Entry { xattrs: vec![(b"user.a=b".to_vec(), b"1\n\0=2".to_vec())], ..Entry::file("x", 1) }, b"x"),
    ];
    // A name with `=` cannot be told from its value in pax; engines have the same limit.
    let mut entries = entries;
    entries[8].0.xattrs[0].0 = b"user.a".to_vec();
    let bytes = written(&entries);
    let found = read(&bytes).expect("our own archive");
    let expected: Vec<(Entry, Vec<u8>)> =
        entries.into_iter().map(|(entry, content)| (entry, content.to_vec())).collect();
    assert_eq!(found, expected);
    // Another reader sees the same names and sizes.
    let mut other = ::tar::Archive::new(bytes.as_slice());
    let names = other.entries().expect("an archive").map(|entry| {
        let entry = entry.expect("an entry");
        (entry.path_bytes().into_owned(), entry.size())
    });
    let own = expected.iter().map(|(entry, content)| (entry.path.clone(), content.len() as u64));
    assert_eq!(names.collect::<Vec<_>>(), own.collect::<Vec<_>>());
}

#[test]
fn archives_of_gnu_tar_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("in")).expect("a directory");
    let long = "n".repeat(150);
    fs::write(at("in").join(&long), "long").expect("a file");
    let mut sparse = fs::File::create(at("in/sparse")).expect("a file");
    sparse.set_len(3_000_000).expect("a hole");
    for offset in [0_u64, 1_000_000, 2_000_000, 2_500_000, 2_800_000, 2_999_000] {
        use std::os::unix::fs::FileExt as _;
        sparse.write_all_at(b"data", offset).expect("a piece");
    }
    sparse.flush().expect("on disk");
    let plain = fs::read(at("in/sparse")).expect("content");
    for form in [
        "--format=gnu",
        "--format=pax --sparse-version=0.0",
        "--format=pax --sparse-version=0.1",
        "--format=pax --sparse-version=1.0",
    ] {
        let Some(bytes) = gnu_tar(&at("in"), form) else { return };
        let found = read(&bytes).unwrap_or_else(|error| panic!("{form}: {error}"));
        let names: Vec<_> = found.iter().map(|(entry, _)| entry.path.clone()).collect();
        assert_eq!(names, [b"./".to_vec(), format!("./{long}").into_bytes(), b"./sparse".to_vec()], "{form}");
        let (entry, content) = &found[2];
        let Kind::File { size, spans: Some(spans) } = &entry.kind else { panic!("{form}: {entry:?}") };
        assert_eq!(*size, 3_000_000);
        let mut filled = vec![0; plain.len()];
        let mut from = 0;
        for (offset, length) in spans {
            let (at, length) = (usize::try_from(*offset).expect("small"), usize::try_from(*length).expect("small"));
            filled[at..at + length].copy_from_slice(&content[from..from + length]);
            from += length;
        }
        assert!(filled == plain && from < 1_000_000, "{form}");
    }
}

/// An archive by the machine's GNU tar; `None`, said aloud, when there is none.
fn gnu_tar(directory: &std::path::Path, form: &str) -> Option<Vec<u8>> {
    let mut command = slipway_process::child::command("tar");
    command.args(["--sparse", "--sort=name", "-C"]).arg(directory).args(form.split(' ')).args(["-cf", "-", "."]);
    match command.stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => Some(output.stdout),
        Ok(_) | Err(_) => {
            eprintln!("skipped: no GNU tar on this machine");
            None
        }
    }
}

/// Sets bytes of a header and mends its checksum.
fn patched(mut archive: Vec<u8>, block: usize, at: usize, with: &[u8]) -> Vec<u8> {
    let header = &mut archive[block * BLOCK..(block + 1) * BLOCK];
    header[at..at + with.len()].copy_from_slice(with);
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive
}

/// An archive of one file with pax records in front of it.
fn with_records(kind: ::tar::EntryType, records: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(records.len() as u64);
    header.set_cksum();
    builder.append(&header, records.as_bytes()).expect("memory takes it");
    builder.append(&header_of("f", content.len() as u64), content).expect("memory takes it");
    builder.into_inner().expect("an end")
}

/// A pax record.
fn line(key: &str, value: &str) -> String {
    let mut body = Vec::new();
    pax::append(&mut body, key.as_bytes(), value.as_bytes());
    String::from_utf8(body).expect("utf-8")
}

fn header_of(name: &str, size: u64) -> ::tar::Header {
    let mut header = ::tar::Header::new_ustar();
    header.set_path(name).expect("a short name");
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}

/// Headers that tell different sizes hide files from one reader that another unpacks.
#[test]
fn sizes_that_disagree_are_refused() {
    let record = |value: &str| with_records(::tar::EntryType::XHeader, &line("size", value), b"content");
    assert_eq!(read(&record("7")).expect("they agree")[0].1, b"content");
    for value in ["0", "512", "-7", "+7", "7 ", "0x7", "99999999999", "99999999999999999999999"] {
        let failure = read(&record(value)).expect_err(value);
        assert!(matches!(failure, LayerError::Bad(_)), "{failure}");
    }
}

#[test]
fn what_programs_read_differently_is_refused() {
    let file = written(&[(Entry::file("f", 7), b"content")]);
    let global = |text: &str| with_records(::tar::EntryType::XGlobalHeader, text, b"content");
    assert_eq!(read(&global(&line("comment", "abc"))).expect("a comment").len(), 1);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a global header sets `size`", global(&line("size", "7"))),
        ("a global header sets `path`", global(&line("path", "x"))),
        ("is no file, but has 7 bytes", patched(file.clone(), 0, 156, b"1")),
        ("is no file, but has 7 bytes", patched(file.clone(), 0, 156, b"5")),
        ("checksum is wrong", [b"x", &file[1..]].concat()),
        ("is no number", patched(file.clone(), 0, 124, b"0000000000z\0")),
        ("is no number", patched(file.clone(), 0, 124, b"-0000000007\0")),
        ("a negative size", patched(file.clone(), 0, 124, &[0xff; 12])),
        ("of a kind that cannot", patched(file.clone(), 0, 156, b"V")),
        ("in the middle of a file", file[..BLOCK + 3].to_vec()),
        ("in the middle of a header", file[..100].to_vec()),
        (
            "between a header and its file",
            with_records(::tar::EntryType::XHeader, &line("size", "7"), b"")[..2 * BLOCK].to_vec(),
        ),
        ("behind its end mark", [vec![0; BLOCK], file.clone()].concat()),
        ("a pax header is malformed", with_records(::tar::EntryType::XHeader, "8 size=7\n", b"content")),
        ("has the value", with_records(::tar::EntryType::XHeader, &line("path", "a\0b"), b"content")),
        (
            "an owner that no system knows",
            with_records(::tar::EntryType::XHeader, &line("uid", "4294967296"), b"content"),
        ),
    ];
    for (part, bytes) in cases {
        let failure = read(&bytes).expect_err(part).to_string();
        assert!(failure.contains(part), "{part}: {failure}");
    }
}

#[test]
fn limits_hold() {
    let many = written(&[(Entry::file("a", 3), b"abc"), (Entry::file("bcd", 3), b"abc")]);
    for limits in [
        Limits { entries: 1, ..Limits::default() },
        Limits { name: 2, ..Limits::default() },
        Limits { bytes: 5, ..Limits::default() },
    ] {
        let mut reader = TarReader::new(many.as_slice(), limits);
        reader.next().expect("the first one").expect("an entry");
        assert!(matches!(reader.next(), Err(LayerError::TooMuch(_))), "{limits:?}");
    }
}

/// Bytes at random, and archives with bytes changed at random: an error or entries, never a panic.
#[test]
fn damaged_archives_do_no_harm() {
    let good = written(&[(Entry::directory("d/"), b"".as_slice()), (Entry::file(vec![b'n'; 300], 700), &[b'x'; 700])]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..20_000_u32 {
        let mut bytes = good.clone();
        for _ in 0..=(random() % 4) {
            let at = usize::try_from(random() % bytes.len() as u64).expect("small");
            bytes[at] = u8::try_from(random() % 256).expect("a byte");
        }
        if round % 2 == 0 {
            // Behind a checksum that holds.
            let block = usize::try_from(random() % (bytes.len() / BLOCK) as u64).expect("small");
            bytes = patched(bytes, block, 0, b"");
        }
        drop(read(&bytes));
    }
}
