//! A server process of one test.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Pause between two looks at a server that starts.
const PAUSE: Duration = Duration::from_millis(20);
/// Looks at a server that starts, before it is given up: 30 seconds.
const LOOKS: u32 = 1500;

/// A running process whose output goes to a file. Killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a program; what it says is added to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let opened = File::options().create(true).append(true).open(log);
        let out = opened.unwrap_or_else(|error| panic!("open {}: {error}", log.display()));
        let err = out.try_clone().expect("a file can be shared");
        let program = command.get_program().to_owned();
        let started = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = started.unwrap_or_else(|error| panic!("start {}: {error}", program.display()));
        Self { child, log: log.to_owned() }
    }

    /// Waits until `ready` answers something.
    ///
    /// # Errors
    /// All that it said, when the process ends before that.
    ///
    /// # Panics
    /// When it is not ready after 30 seconds.
    pub fn ready<T>(&mut self, mut ready: impl FnMut(&str) -> Option<T>) -> Result<T, String> {
        for _ in 0..LOOKS {
            if let Some(answer) = ready(&self.log()) {
                return Ok(answer);
            }
            if !self.is_running() {
                return Err(self.log());
            }
            thread::sleep(PAUSE);
        }
        panic!("a server is not ready after 30 seconds:\n{}", self.log());
    }

    /// All that it said.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs. A stopped one does.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Halts the process where it is, as a machine that hangs; see [`Server::go_on`].
    ///
    /// # Panics
    /// When the process is gone.
    pub fn halt(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a halted process go on.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks the process to end, and waits until it has.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        self.child.wait().expect("a child can be awaited");
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the server runs");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
