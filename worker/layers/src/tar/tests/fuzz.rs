//! The reader against those of GNU tar and libarchive: what ours takes, they read as the same. `scripts/fuzz tar SECONDS`.

use std::{
    fs,
    io::{Read as _, Write as _},
    process::Stdio,
    time::Duration,
};

use slipway_process::{Clock as _, Environment, SystemClock, child::command};

use crate::{
    entry::{Entry, Kind, Time},
    tar::{BLOCK, Limits, TarReader, TarWriter},
};

/// The names in an archive, and the content of its files one after the other.
type Told = (Vec<Vec<u8>>, Vec<u8>);

/// Numbers that look random; the same seed makes the same ones.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.roll(from.len())]
    }
}

/// What ours says; `None` when it refuses the archive, which is always right.
fn ours(bytes: &[u8]) -> Option<Told> {
    let limits = Limits { bytes: 1 << 20, entries: 1000, name: 4096 };
    let mut reader = TarReader::new(bytes, limits);
    let mut told = Told::default();
    while let Some(entry) = reader.next().ok()? {
        // Another name of a file has no content of its own.
        told.1.extend(whole(&mut reader, &entry).ok()?);
        told.0.push(entry.path);
    }
    Some(told)
}

/// The content of an entry, its holes filled.
fn whole(reader: &mut TarReader<&[u8]>, entry: &Entry) -> std::io::Result<Vec<u8>> {
    let mut stored = Vec::new();
    reader.read_to_end(&mut stored)?;
    let Kind::File { size, spans: Some(spans) } = &entry.kind else { return Ok(stored) };
    let mut content = vec![0; *size as usize];
    let mut rest = stored.as_slice();
    for (offset, length) in spans {
        let (now, later) = rest.split_at(*length as usize);
        content[*offset as usize..][..now.len()].copy_from_slice(now);
        rest = later;
    }
    Ok(content)
}

/// Runs a program on an archive; answers its output when it ends well.
fn run(program: &str, arguments: &[&str], archive: &std::path::Path) -> Option<Vec<u8>> {
    let input = fs::File::open(archive).expect("the archive is there");
    let mut started = command(program);
    started.args(arguments).env("LC_ALL", "C").stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = started.output().expect("it starts");
    output.status.success().then_some(output.stdout)
}

/// Differences between ours and another reader: the names in their order, and the content of all files one after the other.
fn against(program: &str, (paths, content): &Told, archive: &std::path::Path) -> Option<String> {
    let quoting = if program == "tar" { &["--quoting-style=escape"][..] } else { &[] };
    // What the other refuses is none of ours.
    let listed = run(program, &[&["-t"], quoting, &["-f", "-"]].concat(), archive)?;
    let mut names = listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for path in paths.iter().filter(|path| !path.is_empty()) {
        let name = plain(names.next().unwrap_or_default());
        if trimmed(&name) != trimmed(path) {
            return Some(format!("{program}: `{}`, ours `{}`", name.escape_ascii(), path.escape_ascii()));
        }
    }
    if let Some(name) = names.next() {
        return Some(format!("{program} sees one more: {}", name.escape_ascii()));
    }
    let found = run(program, &["-x", "-O", "-f", "-"], archive)?;
    (found != *content).then(|| format!("{program} gives {} bytes of content, ours {}", found.len(), content.len()))
}

/// A name without what stands for "here" in front and slashes behind.
fn trimmed(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.collect::<Vec<_>>().join(&b'/')
}

/// A name as both list it, its escapes replaced.
fn plain(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        let Some((next, beyond)) = more.split_first().filter(|_| *byte == b'\\') else {
            text.push(*byte);
            continue;
        };
        let digits = more.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(number) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            text.push(number);
            rest = &more[3..];
            continue;
        }
        let letters = b"abfnrtv".iter().zip(b"\x07\x08\x0c\n\r\t\x0b");
        text.push(letters.filter(|(letter, _)| *letter == next).map(|(_, byte)| *byte).next().unwrap_or(*next));
        rest = beyond;
    }
    text
}

/// Archives to begin with: our own, and GNU tar's in all of its forms.
fn seeds(directory: &std::path::Path) -> Vec<Vec<u8>> {
    let mut own = TarWriter::new(Vec::new());
    let long = [b"d/".repeat(120), b"end".to_vec()].concat();
    let entries = [
        (Entry::directory("d"), b"".as_slice()),
        (Entry { mtime: Time { seconds: 7, nanos: 5 }, ..Entry::file(long.clone(), 3) }, b"abc"),
        (Entry::file("d/b", 600), &[b'x'; 600]),
        (Entry { kind: Kind::Symlink(long), ..Entry::file("s", 0) }, b""),
        (Entry { kind: Kind::HardLink(b"d/b".to_vec()), ..Entry::file("h", 0) }, b""),
        (Entry { kind: Kind::Fifo, ..Entry::file("p", 0) }, b""),
        (Entry { xattrs: vec![(b"user.a".to_vec(), b"1".to_vec())], uid: 9_000_000, ..Entry::file("x", 1) }, b"x"),
    ];
    for (entry, content) in &entries {
        own.append(entry, *content).expect("memory takes it");
    }
    let mut seeds = vec![own.finish().expect("an end")];
    let input = directory.join("in");
    fs::create_dir_all(input.join("d")).expect("a directory");
    fs::write(input.join("d").join("n".repeat(120)), b"long").expect("a file");
    fs::write(input.join("plain"), vec![b'y'; 1000]).expect("a file");
    std::os::unix::fs::symlink("m".repeat(110), input.join("link")).expect("a link");
    let mut sparse = fs::File::create(input.join("sparse")).expect("a file");
    sparse.write_all(b"data").expect("a piece");
    sparse.set_len(300_000).expect("a hole");
    for form in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=oldgnu"],
        &["--format=pax", "--xattrs"],
    ] {
        let output = command("tar").arg("-C").arg(&input).args(form).args(["-c", "."]).output().expect("tar runs");
        seeds.push(output.stdout);
    }
    seeds
}

/// Fields of a header: where, and how long.
const FIELDS: [(usize, usize); 12] = [
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (156, 1),
    (157, 100),
    (257, 8),
    (329, 8),
    (337, 8),
    (345, 155),
];
/// What is put into them.
const WORDS: [&[u8]; 22] = [
    b"",
    b"0",
    b"1",
    b"5",
    b"7",
    b"x",
    b"g",
    b"L",
    b"K",
    b"S",
    b"\0",
    b" ",
    b"00000000010\0",
    b"00000002000 ",
    b"-1",
    b"\x80\0\0\0\0\0\0\0\0\0\x02\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"ustar\0",
    b"ustar  \0",
    b"../up",
    b"/abs",
    b"a\0b",
];
/// Records of pax.
const RECORDS: [&str; 14] = [
    "path=other",
    "path=",
    "size=3",
    "size=600",
    "size=0",
    "size=-1",
    "linkpath=to",
    "uid=5",
    "mtime=1.5",
    "GNU.sparse.size=9",
    "GNU.sparse.name=n",
    "GNU.sparse.major=1",
    "hdrcharset=BINARY",
    "path=a\0b",
];

fn change(archive: &mut Vec<u8>, dice: &mut Dice) {
    let blocks = archive.len() / BLOCK;
    let at = dice.roll(blocks) * BLOCK;
    match dice.roll(10) {
        0 => {
            let from = dice.roll(blocks) * BLOCK;
            let block = archive[from..from + BLOCK].to_vec();
            archive.splice(at..at, block);
        }
        1 => drop(archive.drain(at..at + BLOCK)),
        2 => archive.truncate(at + dice.roll(BLOCK)),
        3 => {
            let byte = dice.roll(archive.len());
            archive[byte] = dice.roll(256) as u8;
        }
        4 | 5 => {
            let record = *dice.pick(&RECORDS);
            // Two digits, the space and the line end.
            let text = format!("{:02} {record}\n", record.len() + 4);
            let mut header = vec![0; BLOCK];
            header[..3].copy_from_slice(b"pax");
            header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
            header[156] = if dice.roll(8) == 0 { b'g' } else { b'x' };
            header[257..265].copy_from_slice(b"ustar\x0000");
            seal(&mut header);
            header.extend(text.as_bytes());
            header.resize(2 * BLOCK, 0);
            archive.splice(at..at, header);
        }
        _ => {
            let (field, length) = *dice.pick(&FIELDS);
            let word = *dice.pick(&WORDS);
            let target = &mut archive[at + field..at + field + length];
            if dice.roll(2) == 0 {
                target.fill(0);
            }
            let count = word.len().min(length);
            target[..count].copy_from_slice(&word[..count]);
            seal(&mut archive[at..at + BLOCK]);
        }
    }
}

/// Makes a header's sum right.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
#[ignore = "runs as long as it is told to: scripts/fuzz tar SECONDS"]
fn tar() {
    let environment = Environment::from_process();
    let number = |name: &str| environment.non_empty(name).and_then(|text| text.parse::<u64>().ok());
    let seconds = number("SLIPWAY_TEST_FUZZ_SECONDS").unwrap_or(1);
    let seed = number("SLIPWAY_TEST_FUZZ_SEED").unwrap_or(1);
    let directory = tempfile::tempdir().expect("a directory");
    let there = |program: &str| command(program).arg("--version").output().is_ok_and(|run| run.status.success());
    let programs =
        [("tar", "GNU tar"), ("bsdtar", "bsdtar, of libarchive")].into_iter().filter_map(|(program, name)| {
            if there(program) {
                return Some(program);
            }
            eprintln!("skipped: {name} is not installed");
            None
        });
    let programs: Vec<&str> = programs.collect();
    let seeds = seeds(directory.path());
    let place = directory.path().join("archive");
    let (mut round, mut taken) = (0_u64, 0_u64);
    let clock = SystemClock::new(None);
    let end = clock.monotonic() + Duration::from_secs(seconds);
    while clock.monotonic() < end {
        let mut dice = Dice(seed.wrapping_add(round).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        round += 1;
        let mut archive = dice.pick(&seeds).clone();
        for _ in 0..=dice.roll(3) {
            if archive.len() >= BLOCK {
                change(&mut archive, &mut dice);
            }
        }
        let Some(told) = ours(&archive) else { continue };
        taken += 1;
        fs::write(&place, &archive).expect("the archive is written");
        let differs = programs.iter().find_map(|program| against(program, &told, &place));
        if let Some(why) = differs {
            let kept = std::env::temp_dir().join(format!("slipway-fuzz-{seed}-{round}.tar"));
            fs::write(&kept, &archive).expect("the archive is kept");
            panic!("seed {seed}, round {round}: {why}; the archive is {}", kept.display());
        }
    }
    eprintln!("{round} archives, {taken} taken and read alike, seed {seed}");
    assert!(round < 100 || taken > 0, "nothing was taken");
}
