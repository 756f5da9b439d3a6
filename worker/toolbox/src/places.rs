//! Where the programs come from.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    Programs, ToolboxError,
    carried::{self, carried},
    elf,
};

/// More than a static program takes.
const MAX_PROGRAM: u64 = 64 * 1024 * 1024;

/// Where the programs are looked for: in directories that somebody chose, in this program, on the host.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directories with files `bash` (or `bash-static`) and `busybox`; the first that has both wins over everything.
    pub directories: Vec<PathBuf>,
    /// Whether this program's own may be taken, if it carries any.
    pub carried: bool,
    /// The root below which the host's programs are looked for, at last; `/` but in tests.
    pub host: PathBuf,
}

impl Places {
    /// The usual places, after these directories.
    pub fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, carried: true, host: PathBuf::from("/") }
    }

    /// A name, fit for a file's, of what [`load`](Self::load) gives, when that is known without reading it: unpacking
    /// takes longer than running a small command.
    pub fn name(&self) -> Option<String> {
        let names = ["bash", "bash-static", "busybox"];
        let chosen = self.directories.iter().any(|directory| names.iter().any(|name| directory.join(name).exists()));
        carried::name().filter(|_| self.carried && !chosen).map(|name| format!("carried-{name}"))
    }

    /// Reads the programs. Takes a while: not for an async task.
    ///
    /// # Errors
    /// When no place has both, with what was wrong with those that were found.
    pub fn load(&self) -> Result<Programs, ToolboxError> {
        let mut refused = Vec::new();
        for directory in &self.directories {
            let bash = first(&[directory.join("bash"), directory.join("bash-static")], &mut refused);
            if let Some((bash, busybox)) = bash.zip(first(&[directory.join("busybox")], &mut refused)) {
                return Ok(Programs { bash, busybox });
            }
        }
        if self.carried
            && let Some(programs) = carried()?
        {
            return Ok(programs);
        }
        let on_host = |paths: &[&str]| paths.iter().map(|path| self.host.join(path)).collect::<Vec<_>>();
        let bash = first(&on_host(&["bin/bash-static", "usr/bin/bash-static"]), &mut refused);
        let busybox = first(&on_host(&["bin/busybox", "usr/bin/busybox", "bin/busybox-static"]), &mut refused);
        let found = bash.zip(busybox).map(|(bash, busybox)| Programs { bash, busybox });
        found.ok_or_else(|| {
            ToolboxError::Missing(if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) })
        })
    }
}

/// The first of these that is a program; why others are not is added to `refused`.
fn first(candidates: &[PathBuf], refused: &mut Vec<String>) -> Option<Vec<u8>> {
    for path in candidates {
        match read_program(path) {
            Ok(Some(bytes)) => return Some(bytes),
            Ok(None) => {}
            Err(why) => refused.push(format!("{}: {why}", path.display())),
        }
    }
    None
}

/// A program when it is there; an error when it would not run in a container of any image.
fn read_program(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_PROGRAM + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_PROGRAM {
        return Err("it is too large for a program".to_owned());
    }
    match elf::needs_interpreter(&bytes) {
        Some(false) if elf::machine(&bytes).is_some_and(|machine| machine != std::env::consts::ARCH) => {
            Err("it is for another kind of machine".to_owned())
        }
        Some(false) => Ok(Some(bytes)),
        Some(true) => Err("it is not static".to_owned()),
        None => Err("it is no 64-bit little-endian ELF program".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A static program of no use: a header without segments.
    fn program(mark: u8) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(0x40, 0);
        bytes.push(mark);
        bytes
    }

    fn write(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }

    #[test]
    fn a_host_without_programs_uses_what_the_program_carries() {
        let empty = tempfile::tempdir().expect("a directory");
        let places = Places { host: empty.path().to_owned(), ..Places::new(Vec::new()) };
        match carried().expect("it can be unpacked") {
            Some(programs) => {
                assert!(places.load().expect("the carried ones") == programs);
                assert!(places.name().is_some_and(|name| name.starts_with("carried-")));
                assert_eq!(Places { carried: false, ..places }.name(), None);
            }
            None => assert!(matches!(places.load(), Err(ToolboxError::Missing(why)) if why.is_empty())),
        }
    }

    #[test]
    fn directories_win_and_the_host_is_last() {
        let root = tempfile::tempdir().expect("a directory");
        let (host, own) = (root.path().join("host"), root.path().join("own"));
        let places = Places { directories: vec![own.clone()], carried: false, host: host.clone() };
        write(&host.join("bin/bash-static"), &program(1));
        write(&host.join("usr/bin/busybox"), &program(2));
        let programs = places.load().expect("the host's");
        assert_eq!((programs.bash, programs.busybox), (program(1), program(2)));
        write(&own.join("busybox"), &program(4));
        assert_eq!(places.load().expect("the host's: one alone is none").bash, program(1));
        write(&own.join("bash"), &program(3));
        let places = Places { carried: true, ..places };
        assert_eq!(places.name(), None);
        let programs = places.load().expect("its own");
        assert_eq!((programs.bash, programs.busybox), (program(3), program(4)));
    }

    #[test]
    fn what_would_not_run_is_refused_with_its_reason() {
        let root = tempfile::tempdir().expect("a directory");
        write(&root.path().join("bin/bash-static"), b"#!/bin/sh\n");
        fs::copy("/proc/self/exe", root.path().join("bin/busybox")).expect("this test is a dynamic program");
        let places = Places { directories: Vec::new(), carried: false, host: root.path().to_owned() };
        let Err(error) = places.load() else { panic!("neither would run") };
        let text = error.to_string();
        for part in ["carries none", "bash-static: it is no 64-bit", "busybox: it is not static", "apt-get install"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
