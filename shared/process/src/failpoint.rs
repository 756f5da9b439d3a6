//! Named points at which a test may kill or stop the process, in debug builds only.

/// Kills the process (as `SIGKILL` does: nothing is cleaned up) when `SLIPWAY_FAILPOINT` names this point. Does
/// nothing in release builds.
///
/// `SLIPWAY_FAILPOINT=name` kills at the first passage, `name:3` at the third. With `name@FILE` (`name:3@FILE`) the thread makes
/// the file instead, and goes on when somebody has removed it.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "release builds have no failpoints"))]
pub fn failpoint(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        path::PathBuf,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    /// Between two looks at whether the file is gone.
    const PAUSE: Duration = Duration::from_millis(10);

    /// A point, which passage of it, and the file with which to stop there.
    type Armed = (String, u32, Option<PathBuf>);

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    #[expect(clippy::disallowed_methods, reason = "a failpoint is set from outside, in debug builds only")]
    fn armed() -> Option<&'static Armed> {
        let read = || {
            let value = std::env::var("SLIPWAY_FAILPOINT").ok()?;
            let (point, file) = match value.split_once('@') {
                Some((point, file)) => (point, Some(PathBuf::from(file))),
                None => (value.as_str(), None),
            };
            let (name, passage) = point.split_once(':').unwrap_or((point, "1"));
            Some((name.to_owned(), passage.parse().unwrap_or(1), file))
        };
        ARMED.get_or_init(read).as_ref()
    }

    pub(super) fn pass(name: &str) {
        let Some((wanted, passage, file)) = armed() else { return };
        if name == wanted && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *passage {
            if let Some(file) = file {
                let made = std::fs::write(file, name);
                while made.is_ok() && file.exists() {
                    std::thread::sleep(PAUSE);
                }
                return;
            }
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
            // The signal may take a moment; nothing after this point may happen.
            loop {
                std::thread::park();
            }
        }
    }
}
