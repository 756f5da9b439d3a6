//! Packs the static bash and busybox of the machine that builds, so that the program carries them.
//!
//! Without them the program is built all the same, and says that it carries none. `SLIPWAY_TOOLBOX_DIR` names another
//! directory with files `bash-static` and `busybox`, or, when empty, keeps the program from carrying any.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::ZlibEncoder};
use sha2::{Digest as _, Sha256};

#[path = "src/elf.rs"]
mod elf;

/// Names another directory.
const DIRECTORY: &str = "SLIPWAY_TOOLBOX_DIR";
/// What lays the programs out.
const LAYOUT: &str = "src/archive.rs";
/// Changes when packages are installed, which may bring the programs.
const INSTALLED: &str = "/var/lib/dpkg/status";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/elf.rs");
    println!("cargo:rerun-if-changed={LAYOUT}");
    println!("cargo:rerun-if-env-changed={DIRECTORY}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names it"));
    let directory = env::var_os(DIRECTORY).map_or_else(|| PathBuf::from("/bin"), PathBuf::from);
    let target = env::var_os("CARGO_CFG_TARGET_ARCH").and_then(|target| target.into_string().ok()).unwrap_or_default();
    let read = |name: &str| read(&directory.join(name), &target);
    let (bash, busybox) = (read("bash-static"), read("busybox"));
    let code = match bash.zip(busybox) {
        Some((bash, busybox)) => {
            pack(&out.join("bash.z"), &bash)?;
            pack(&out.join("busybox.z"), &busybox)?;
            format!(
                "Some(Carried {{ name: \"{}\",\n\
                 bash: Packed {{ bytes: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/bash.z\")), size: {} }},\n\
                 busybox: Packed {{ bytes: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/busybox.z\")), size: {} }} }})",
                name(&[&bash, &busybox, &fs::read(LAYOUT)?]),
                bash.len(),
                busybox.len()
            )
        }
        None => "None".to_owned(),
    };
    fs::write(out.join("carried.rs"), code)
}

/// A static program for the target; `None` when there is none. Cargo looks at it again when it changes.
fn read(path: &Path, target: &str) -> Option<Vec<u8>> {
    let watched = if path.exists() { path } else { Path::new(INSTALLED) };
    // What is watched and not there would be built again each time.
    if watched.exists() {
        println!("cargo:rerun-if-changed={}", watched.display());
    }
    let bytes = fs::read(path).ok()?;
    (elf::machine(&bytes) == Some(target) && elf::needs_interpreter(&bytes) == Some(false)).then_some(bytes)
}

/// Names what is laid out, without laying it out.
fn name(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn pack(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    fs::write(path, encoder.finish()?)
}
