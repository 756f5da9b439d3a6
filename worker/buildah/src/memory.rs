//! Secrets as files in memory, and agents, for the program takes both by their paths alone.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::statfs;
use slipway_backend::{BackendError, Secrets, SshAgent};

use crate::error::system;

/// Where memory is a directory, on every Linux.
const MEMORY: &str = "/dev/shm";
/// How the kernel calls a file system in memory.
const TMPFS: i64 = 0x0102_1994;

/// Files in memory, gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Memory {
    place: PathBuf,
    ids: Vec<String>,
}

/// The directory in memory of an attempt, where it exists or may be made.
pub(crate) fn memory_of(attempt: &str) -> PathBuf {
    Path::new(MEMORY).join(format!("slipway-{attempt}"))
}

impl Memory {
    /// Writes secrets. Without any there is no directory, unless it `is_needed`.
    pub(crate) fn write(attempt: &str, secrets: &Secrets, is_needed: bool) -> Result<Self, BackendError> {
        let mut made = Self { place: memory_of(attempt), ids: Vec::new() };
        if secrets.is_empty() && !is_needed {
            return Ok(made);
        }
        let doing = "put secrets into memory";
        let mut write = || -> io::Result<()> {
            if statfs(MEMORY)?.f_type != TMPFS {
                return Err(io::Error::other(format!("{MEMORY} is no memory here: mount a tmpfs on it")));
            }
            fs::DirBuilder::new().mode(0o700).create(&made.place)?;
            for (id, content) in secrets.files() {
                made.ids.push(id.to_owned());
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(made.place.join(id))?;
                file.write_all(content)?;
            }
            Ok(())
        };
        write().map_err(|error| system(doing, error))?;
        Ok(made)
    }

    /// The directory.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Where the secret of an id is.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.place.join(id)
    }

    /// What the build of a Dockerfile is told of them.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = OsString> {
        self.ids.iter().map(|id| {
            let mut argument = OsString::from(format!("id={id},src="));
            argument.push(self.path(id));
            argument
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What stays goes with the next sweep.
        let _ = fs::remove_dir_all(&self.place);
    }
}

/// What the program is told of an agent: each id by which mounts may name it.
pub(crate) fn agent(agent: &SshAgent) -> impl Iterator<Item = OsString> {
    agent.ids.iter().map(|id| {
        let mut argument = OsString::from(format!("{id}="));
        argument.push(&agent.socket);
        argument
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_files_in_memory_as_long_as_they_are_needed() {
        let mut secrets = Secrets::none();
        secrets.add("token", b"open".to_vec());
        let attempt = slipway_process::random_id();
        let memory = Memory::write(&attempt, &secrets, false).expect("memory");
        let place = memory_of(&attempt);
        assert_eq!(fs::read(place.join("token")).expect("a secret"), b"open");
        let said: Vec<OsString> = memory.arguments().collect();
        assert_eq!(said, [OsString::from(format!("id=token,src={}/token", place.display()))]);
        drop(memory);
        assert!(!place.exists());
        assert!(!Memory::write(&attempt, &Secrets::none(), false).expect("nothing").place.exists());
    }
}
