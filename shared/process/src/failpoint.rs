//! Named points at which a test may kill the process, in debug builds only.

/// Kills the process (as `SIGKILL` does: nothing is cleaned up) when `SLIPWAY_FAILPOINT` names this point. Does
/// nothing in release builds.
///
/// `SLIPWAY_FAILPOINT=name` kills at the first passage, `name:3` at the third.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "release builds have no failpoints"))]
pub fn failpoint(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    static ARMED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    #[expect(clippy::disallowed_methods, reason = "a failpoint is set from outside, in debug builds only")]
    fn armed() -> Option<&'static (String, u32)> {
        let read = || {
            let value = std::env::var("SLIPWAY_FAILPOINT").ok()?;
            let (name, passage) = value.split_once(':').unwrap_or((&value, "1"));
            Some((name.to_owned(), passage.parse().unwrap_or(1)))
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn pass(name: &str) {
        let Some((wanted, passage)) = armed() else { return };
        if name == wanted && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *passage {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
            // The signal may take a moment; nothing after this point may happen.
            loop {
                std::thread::park();
            }
        }
    }
}
