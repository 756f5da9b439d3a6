//! The toolbox as a root file system.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use slipway_backend::script::TOOLBOX_BIN;
use slipway_oci::BlobDigest;

use crate::{Programs, ToolboxError};

/// Changes with what [`archive`] lays out.
const LAYOUT: &str = "1";
/// Directory of the archive that build containers see.
const ROOT: &str = ".werf/stapel";
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

/// Writes the same archive with the directories in `tools` beside the toolbox's.
///
/// # Errors
/// When `tools` cannot be read, or `out` not be written.
pub fn archive_with(programs: &Programs, tools: &Path, out: impl Write) -> Result<(), ToolboxError> {
    let write = || {
        let mut builder = laid_out(programs, out)?;
        builder.mode(tar::HeaderMode::Deterministic);
        builder.follow_symlinks(false);
        for entry in fs::read_dir(tools)? {
            let entry = entry?;
            // The toolbox's own directories are there already, and no engine takes one twice.
            builder.append_dir_all(Path::new(ROOT).join(entry.file_name()), entry.path())?;
        }
        builder.into_inner()?.flush()
    };
    write().map_err(ToolboxError::Pack)
}

fn lay_out(programs: &Programs) -> io::Result<Vec<u8>> {
    let room = programs.bash.len() + programs.busybox.len() + 64 * 1024;
    laid_out(programs, Vec::with_capacity(room))?.into_inner()
}

fn laid_out<W: Write>(programs: &Programs, out: W) -> io::Result<tar::Builder<W>> {
    let Programs { bash, busybox } = programs;
    let mut builder = tar::Builder::new(out);
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
    Ok(builder)
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

    #[test]
    fn tools_lie_beside_the_toolbox() {
        let tools = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(tools.path().join("more")).expect("a directory");
        std::fs::write(tools.path().join("more/tool"), "x").expect("a file");
        let programs = Programs { bash: b"bash".to_vec(), busybox: b"busybox".to_vec() };
        let mut bytes = Vec::new();
        archive_with(&programs, tools.path(), &mut bytes).expect("an archive");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().expect("entries").map(|entry| entry.expect("an entry"));
        let paths: Vec<String> = entries.map(|entry| entry.path().expect("a path").display().to_string()).collect();
        assert!(paths.contains(&".werf/stapel/more/tool".to_owned()), "{paths:?}");
        assert!(paths.contains(&".werf/stapel/embedded/bin/bash".to_owned()), "{paths:?}");
        let mut distinct: Vec<&str> = paths.iter().map(|path| path.trim_end_matches('/')).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), paths.len(), "{paths:?}");
    }
}
