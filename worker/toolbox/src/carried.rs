//! The programs that this program carries.

use std::io::{self, Read as _};

use flate2::read::ZlibDecoder;

use crate::{Programs, ToolboxError};

/// A compressed program.
struct Packed {
    bytes: &'static [u8],
    /// Length of the program itself.
    size: usize,
}

/// bash and busybox, as the build found them.
struct Carried {
    /// Digest of both and of how they are laid out.
    name: &'static str,
    bash: Packed,
    busybox: Packed,
}

/// What there is.
const CARRIED: Option<Carried> = include!(concat!(env!("OUT_DIR"), "/carried.rs"));

/// What names the programs that were there when this program was built, and their layout, without unpacking them.
pub(crate) fn name() -> Option<&'static str> {
    CARRIED.map(|carried| carried.name)
}

/// The programs that were there when this program was built; `None` when they were not.
///
/// # Errors
/// When they cannot be unpacked: the program file is damaged.
pub fn carried() -> Result<Option<Programs>, ToolboxError> {
    let Some(Carried { bash, busybox, .. }) = CARRIED else { return Ok(None) };
    let unpacked = |packed: Packed| unpack(&packed).map_err(ToolboxError::Pack);
    Ok(Some(Programs { bash: unpacked(bash)?, busybox: unpacked(busybox)? }))
}

fn unpack(packed: &Packed) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(packed.size);
    ZlibDecoder::new(packed.bytes).take(packed.size as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() == packed.size { Ok(bytes) } else { Err(io::Error::other("a program has another length")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf;

    #[test]
    fn what_is_carried_is_static_and_for_this_machine() {
        let carried = carried().expect("it can be unpacked");
        let on_host = ["/bin/bash-static", "/bin/busybox"].map(std::fs::read);
        if let [Ok(bash), Ok(busybox)] = on_host
            && option_env!("SLIPWAY_TOOLBOX_DIR").is_none()
        {
            assert!(carried == Some(Programs { bash, busybox }), "the host's programs are carried");
        }
        for program in carried.iter().flat_map(|programs| [&programs.bash, &programs.busybox]) {
            assert_eq!(elf::needs_interpreter(program), Some(false));
            assert_eq!(elf::machine(program), Some(std::env::consts::ARCH));
        }
    }

    #[test]
    fn damage_is_noticed() {
        assert!(unpack(&Packed { bytes: b"no stream", size: 1 }).is_err());
        let empty: &[u8] = &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1];
        assert_eq!(unpack(&Packed { bytes: empty, size: 0 }).expect("an empty program"), b"");
        assert!(unpack(&Packed { bytes: empty, size: 7 }).is_err());
    }
}
