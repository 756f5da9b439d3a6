//! Whether this host runs programs of other platforms: asked of the kernel itself, by the smallest programs there are.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Stdio,
};

use slipway_oci::Platform;
use slipway_process::{child::command, random_id};

/// A machine: what its programs are made of, and how they end at once and well.
struct Machine {
    /// As platforms call it.
    arch: &'static str,
    /// ELF's number of it.
    number: u16,
    /// Whether its words have 64 bits.
    wide: bool,
    /// Whether numbers begin with their highest byte.
    big: bool,
    /// `exit(0)`
    code: &'static [u8],
}

const MACHINES: [Machine; 7] = [
    Machine { arch: "amd64", number: 62, wide: true, big: false, code: &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05] },
    Machine { arch: "386", number: 3, wide: false, big: false, code: &[0x31, 0xdb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80] },
    Machine {
        arch: "arm64",
        number: 183,
        wide: true,
        big: false,
        code: &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4],
    },
    Machine {
        arch: "arm",
        number: 40,
        wide: false,
        big: false,
        code: &[0, 0, 0xa0, 0xe3, 1, 0x70, 0xa0, 0xe3, 0, 0, 0, 0xef],
    },
    Machine {
        arch: "riscv64",
        number: 243,
        wide: true,
        big: false,
        code: &[0x13, 5, 0, 0, 0x93, 8, 0xd0, 5, 0x73, 0, 0, 0],
    },
    Machine {
        arch: "ppc64le",
        number: 21,
        wide: true,
        big: false,
        code: &[1, 0, 0, 0x38, 0, 0, 0x60, 0x38, 2, 0, 0, 0x44],
    },
    Machine { arch: "s390x", number: 22, wide: true, big: true, code: &[0xa7, 0x29, 0, 0, 0x0a, 1] },
];

/// What is missing to run programs of a platform here: the name by which binfmt_misc would know an interpreter of them. `None` when
/// nothing is, or that cannot be found out. Blocks. `room` is where programs may be tried.
pub fn missing(platform: &Platform, room: &Path) -> Option<&'static str> {
    let machine = MACHINES.iter().find(|machine| machine.arch == platform.arch)?;
    (runs(machine, room) == Some(false)).then(|| platform.binfmt().unwrap_or("its kind"))
}

/// Why programs of a platform cannot be run here, and what to do; `None` as with [`missing`]. Blocks.
pub fn refusal(platform: &Platform, room: &Path) -> Option<String> {
    let binfmt = missing(platform, room)?;
    Some(format!(
        "it is of {platform}, and this host cannot run programs of {platform}: register an interpreter as {binfmt} in \
         binfmt_misc (Debian's package qemu-user-static does)"
    ))
}

/// The platforms, besides its own, whose programs this host runs. Blocks. `room` is where programs may be tried.
pub fn emulated(room: &Path) -> Vec<Platform> {
    let host = Platform::host();
    let others = MACHINES.iter().filter(|machine| machine.arch != host.arch);
    let running = others.filter(|machine| runs(machine, room) == Some(true));
    running.map(|machine| Platform { arch: machine.arch.to_owned(), ..host.clone() }).collect()
}

/// Whether a program of a machine runs here; `None` when that cannot be found out.
fn runs(machine: &Machine, room: &Path) -> Option<bool> {
    let path = room.join(format!("trial-{}", random_id()));
    fs::create_dir_all(room).ok()?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path);
    let written = written.and_then(|mut file| file.write_all(&program(machine)));
    let mut trial = command(&path);
    let ended = written.and_then(|()| trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
    // What stays lies among temporary files.
    let _ = fs::remove_file(&path);
    match ended {
        Ok(status) => status.success().then_some(true),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => Some(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

/// The smallest program of a machine: one that ends.
fn program(machine: &Machine) -> Vec<u8> {
    let base: u64 = 0x10000;
    let (head, segment) = if machine.wide { (64_u64, 56_u64) } else { (52, 32) };
    let entry = base + head + segment;
    let size = head + segment + machine.code.len() as u64;
    let mut elf = Elf { bytes: Vec::new(), machine };
    elf.bytes.extend([0x7f, b'E', b'L', b'F', if machine.wide { 2 } else { 1 }, if machine.big { 2 } else { 1 }, 1]);
    elf.bytes.extend([0; 9]);
    elf.half(2).half(machine.number).word(1).address(entry).address(head).address(0);
    // The flags of arm and of ppc64le say which of several conventions a program keeps.
    elf.word(match machine.arch {
        "arm" => 0x0500_0000,
        "ppc64le" => 2,
        _ => 0,
    });
    let (head, segment) = (head as u16, segment as u16);
    elf.half(head).half(segment).half(1).half(0).half(0).half(0);
    let read_and_run = 5;
    elf.word(1);
    if machine.wide {
        elf.word(read_and_run).address(0).address(base).address(base).address(size).address(size).address(0x1000);
    } else {
        elf.address(0).address(base).address(base).address(size).address(size).word(read_and_run).address(0x1000);
    }
    elf.bytes.extend(machine.code);
    elf.bytes
}

/// Writes numbers as a machine reads them.
struct Elf<'m> {
    bytes: Vec<u8>,
    machine: &'m Machine,
}

impl Elf<'_> {
    fn half(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(if self.machine.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    fn word(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(if self.machine.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    fn address(&mut self, value: u64) -> &mut Self {
        if !self.machine.wide {
            return self.word(value as u32);
        }
        self.bytes.extend(if self.machine.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_programs_run_and_none_hangs() {
        let room = tempfile::tempdir().expect("a directory");
        for machine in &MACHINES {
            let ran = runs(machine, room.path());
            if machine.arch == Platform::host().arch {
                assert_ne!(ran, Some(false), "{}", machine.arch);
            }
        }
        assert_eq!(fs::read_dir(room.path()).expect("a listing").count(), 0);
    }

    #[test]
    fn programs_are_of_their_machines() {
        for machine in &MACHINES {
            let bytes = program(machine);
            let number = [bytes[18], bytes[19]];
            let number = if machine.big { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
            assert_eq!(number, machine.number);
            let size = if machine.wide { 120 } else { 84 };
            assert_eq!(bytes.len(), size + machine.code.len(), "{}", machine.arch);
        }
    }
}
