//! How the allocator deals with memory that is no longer used.
//!
//! It reads its settings from the environment while the program is loaded, before `main`. So who wants others becomes the
//! program once more, with the variable set.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _};

use slipway_process::{Environment, child::command};

/// After how many milliseconds unused pages go back to the system.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// The command that runs for months: what large builds took is not kept for later ones. Costs some of the speed, which
/// others pay for their seconds of life with memory.
const LASTING: &str = "coordinator";

/// Becomes the same program with the settings that suit its command, unless it has them or the user has chosen; answers why
/// it could not. To be asked before there are threads.
pub(crate) fn settle(arguments: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let mut arguments = arguments.into_iter();
    let (Some(name), Some(first)) = (arguments.next(), arguments.next()) else { return Ok(()) };
    if first != LASTING || Environment::from_process().get(PURGE_DELAY).is_some() {
        return Ok(());
    }
    let mut again = command("/proc/self/exe");
    Err(again.arg0(name).arg(first).args(arguments).env(PURGE_DELAY, "0").exec())
}
