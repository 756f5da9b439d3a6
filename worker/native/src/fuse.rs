//! Overlays by the program fuse-overlayfs, where the kernel makes none: held by a descriptor as the kernel's are, with the
//! program gone when the last of it is.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use rustix::{
    fs::{MemfdFlags, memfd_create, statat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
        fsopen,
    },
};
use slipway_process::{Environment, child::command};

use crate::overlay::Writable;

/// The program.
const PROGRAM: &str = "fuse-overlayfs";
/// What connects the kernel with it.
const DEVICE: &str = "/dev/fuse";
/// Longest complaint that is passed on.
const MAX_COMPLAINT: usize = 400;

/// The program behind a mount. It ends when the last descriptor of the mount is closed.
#[derive(Debug)]
pub(crate) struct Fuse {
    child: Child,
    complaints: File,
}

impl Fuse {
    /// Where the program is.
    ///
    /// # Errors
    /// When it is not installed, or may not be used.
    pub(crate) fn find() -> Result<PathBuf, String> {
        let path = Environment::from_process().get("PATH").unwrap_or("/usr/bin:/bin").to_owned();
        let found =
            path.split(':').map(|directory| Path::new(directory).join(PROGRAM)).find(|program| program.is_file());
        let found = found.ok_or_else(|| format!("{PROGRAM} is not installed: apt-get install {PROGRAM}"))?;
        match File::options().read(true).write(true).open(DEVICE) {
            Ok(_) => Ok(found),
            Err(error) => Err(format!("open {DEVICE}: {error}; set it up with: modprobe fuse && chmod 666 {DEVICE}")),
        }
    }

    /// Mounts directories over each other, the topmost first.
    pub(crate) fn mount(
        program: &Path,
        lowers: &[PathBuf],
        writable: Option<Writable<'_>>,
        attributes: MountAttrFlags,
    ) -> io::Result<(OwnedFd, Self)> {
        let device = File::options().read(true).write(true).open(DEVICE)?;
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let number = device.as_raw_fd().to_string();
        for (key, value) in [("fd", number.as_str()), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")] {
            fsconfig_set_string(context.as_fd(), key, value)?;
        }
        fsconfig_set_flag(context.as_fd(), "default_permissions")?;
        fsconfig_set_flag(context.as_fd(), "allow_other")?;
        fsconfig_set_string(context.as_fd(), "source", PROGRAM)?;
        fsconfig_create(context.as_fd())?;
        let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        let complaints = File::from(memfd_create("slipway-fuse", MemfdFlags::CLOEXEC)?);
        let mut program = command(program);
        program.args(["-f", "-o"]).arg(options(lowers, writable)?);
        // The connection is its standard input; signals of the terminal are not for it.
        program.arg("/dev/fd/0").stdin(Stdio::from(device)).stdout(Stdio::null()).process_group(0);
        let child = program.stderr(Stdio::from(complaints.try_clone()?)).spawn()?;
        drop(program);
        let mut fuse = Self { child, complaints };
        // The first question waits until the program is up.
        match statat(&mount, "", rustix::fs::AtFlags::EMPTY_PATH).map(drop) {
            Ok(()) => Ok((mount, fuse)),
            Err(error) => {
                drop(mount);
                Err(io::Error::new(io::Error::from(error).kind(), fuse.last_words(error)))
            }
        }
    }

    /// Waits for the end of the program: what was changed is in its place then. The mount must be gone.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }

    fn last_words(&mut self, error: rustix::io::Errno) -> String {
        let _ = self.child.wait();
        let mut said = Vec::new();
        let read = self.complaints.rewind().and_then(|()| self.complaints.read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        match read {
            Ok(_) if !said.is_empty() => format!("{PROGRAM}: {}", said.chars().take(MAX_COMPLAINT).collect::<String>()),
            Ok(_) | Err(_) => format!("{PROGRAM} ends: {error}"),
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // Of a mount that is gone, it ends by itself.
        let _ = self.child.wait();
    }
}

fn options(lowers: &[PathBuf], writable: Option<Writable<'_>>) -> io::Result<std::ffi::OsString> {
    let mut text = b"lowerdir=".to_vec();
    for (index, lower) in lowers.iter().enumerate() {
        if index > 0 {
            text.push(b':');
        }
        text.extend(plain(lower)?);
    }
    if let Some(Writable { upper, work }) = writable {
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            text.extend(format!(",{key}=").into_bytes());
            text.extend(plain(path)?);
        }
    }
    Ok(std::ffi::OsStr::from_bytes(&text).to_owned())
}

/// Lists and options have no way to write these.
fn plain(path: &Path) -> io::Result<&[u8]> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| b":,\\".contains(byte)) {
        let why = format!("{PROGRAM} takes no `:`, `,` or `\\` in {}: choose another --home-dir", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_cannot_be_told_are_refused() {
        let (upper, work) = (PathBuf::from("/w/upper"), PathBuf::from("/w/work"));
        let writable = Writable { upper: &upper, work: &work };
        let text = options(&["/a".into(), "/b".into()], Some(writable)).expect("options");
        assert_eq!(text, "lowerdir=/a:/b,upperdir=/w/upper,workdir=/w/work");
        let why = options(&["/a:b".into()], None).expect_err("refused").to_string();
        assert!(why.contains("/a:b"), "{why}");
    }
}
