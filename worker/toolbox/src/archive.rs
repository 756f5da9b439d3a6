//! The toolbox as a root file system.

use std::io;

use slipway_backend::script::TOOLBOX_BIN;
use slipway_oci::BlobDigest;

use crate::{Programs, ToolboxError};

/// Changes with what [`archive`] lays out.
const LAYOUT: &str = "1";
/// Programs that busybox stands for.
const APPLETS: &[&str] = &[
    "awk",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dirname",
    "env",
    "find",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "id",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mv",
    "printf",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "test",
    "touch",
    "tr",
    "true",
    "uniq",
    "wc",
    "which",
    "xargs",
];
/// busybox knows `-d` alone.
const BASE64: &str = "#!/.werf/stapel/embedded/bin/bash
args=()
for arg; do [[ $arg == --decode ]] && arg=-d; args+=(\"$arg\"); done
exec /.werf/stapel/embedded/bin/busybox base64 \"${args[@]}\"
";

/// A root file system with the toolbox under `/.werf/stapel` and nothing else.
#[derive(PartialEq, Eq, Debug)]
pub struct Archive {
    /// Names its content; fit for an image's tag.
    pub version: String,
    /// A tar.
    pub bytes: Vec<u8>,
}

/// Lays the programs out. Equal programs give equal bytes.
///
/// # Errors
/// When the archive cannot be written.
pub fn archive(programs: &Programs) -> Result<Archive, ToolboxError> {
    let bytes = lay_out(programs).map_err(ToolboxError::Pack)?;
    let digest = BlobDigest::of(&bytes);
    Ok(Archive { version: format!("slipway-{LAYOUT}-{}", digest.short()), bytes })
}

fn lay_out(programs: &Programs) -> io::Result<Vec<u8>> {
    let Programs { bash, busybox } = programs;
    let mut builder = tar::Builder::new(Vec::with_capacity(bash.len() + busybox.len() + 64 * 1024));
    let header = |kind: tar::EntryType, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size as u64);
        header
    };
    let bin = TOOLBOX_BIN.trim_start_matches('/');
    let parents: Vec<&str> = bin.match_indices('/').map(|(at, _)| &bin[..at]).chain([bin]).collect();
    for parent in parents {
        builder.append_data(&mut header(tar::EntryType::Directory, 0), format!("{parent}/"), io::empty())?;
    }
    for (name, bytes) in [("bash", bash.as_slice()), ("busybox", busybox), ("base64", BASE64.as_bytes())] {
        builder.append_data(&mut header(tar::EntryType::Regular, bytes.len()), format!("{bin}/{name}"), bytes)?;
    }
    for applet in APPLETS {
        builder.append_link(&mut header(tar::EntryType::Symlink, 0), format!("{bin}/{applet}"), "busybox")?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_programs_are_one_version() {
        let of = |bash: &[u8]| {
            let programs = Programs { bash: bash.to_vec(), busybox: b"busybox".to_vec() };
            archive(&programs).expect("an archive")
        };
        assert_eq!(of(b"bash"), of(b"bash"));
        assert_ne!(of(b"bash").version, of(b"bash2").version);
    }
}
