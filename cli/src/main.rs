//! The `slipway` program: reads what the user wants, runs it, says how it went.
//!
//! Reading order: this file (start and end of the process), [`commands`] (what can be done), [`flags`] (how it is
//! said), [`project`], [`giterminism`] and [`templates`] (what is read), [`choose`], [`synchronization`], [`embedded`] and [`cluster`] (who
//! builds), [`host`] (on what), [`report`], [`export`] and
//! [`output`] (what is told), [`failure`] (exit codes).

mod archives;
mod buildah;
mod capacity;
mod choose;
mod cluster;
mod commands;
mod custom_tags;
mod embedded;
mod emulation;
mod engine;
mod export;
mod failure;
mod flags;
mod follow;
mod giterminism;
mod history;
mod home;
mod host;
mod includes;
mod introspect;
mod memory;
mod outcome;
mod output;
mod parts;
mod project;
mod report;
mod secrets;
mod ssh;
mod synchronization;
mod templates;
mod terminal;
mod upstreams;

use std::{process::ExitCode, sync::Arc, time::Duration};

use slipway_process::{Environment, SystemClock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{commands::World, failure::Exit};

/// A coordinator holds tens of thousands of small records of many ages on many threads: with the system's allocator half of
/// its memory was gaps between them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long blocking work may hold up the end of the process.
const LINGER: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    // Before anything else: sandboxes are made by processes without threads.
    let sandbox = slipway_native::sandbox::enter(std::env::args_os());
    let sandbox = sandbox.or_else(|| slipway_native::rootless::enter(std::env::args_os()));
    if let Some(code) = sandbox.or_else(|| slipway_native::check::enter(std::env::args_os())) {
        return code;
    }
    // It takes more memory then, and works.
    drop(memory::settle(std::env::args_os()));
    // Another provider can only be there when the same one was installed twice.
    drop(rustls::crypto::ring::default_provider().install_default());
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::from(Exit::Failed.code());
    };
    if let Some(code) = runtime.block_on(commands::host::trial::enter(std::env::args_os())) {
        return code;
    }
    let code = runtime.block_on(run());
    runtime.shutdown_timeout(LINGER);
    ExitCode::from(code)
}

/// Runs the command. The first signal asks it to end; the second ends it.
async fn run() -> u8 {
    let (Ok(interrupts), Ok(terminations)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return Exit::Failed.code();
    };
    let environment = Environment::from_process();
    let clock = Arc::new(SystemClock::new(frozen(&environment)));
    let interrupted = CancellationToken::new();
    let world = World { environment, clock, interrupted: interrupted.clone() };
    let command = Box::pin(commands::run(std::env::args_os().collect(), world));
    tokio::select! {
        code = command => code,
        () = twice(interrupts, terminations, interrupted) => Exit::Interrupted.code(),
    }
}

async fn twice(mut interrupts: Signal, mut terminations: Signal, interrupted: CancellationToken) {
    for _ in 0..2 {
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
        }
        interrupted.cancel();
    }
}

/// A moment to stop the clock at, for tests of timestamps; debug builds only.
fn frozen(environment: &Environment) -> Option<u64> {
    let moment = environment.get("SLIPWAY_TEST_CLOCK").filter(|_| cfg!(debug_assertions));
    moment.and_then(|millis| millis.parse().ok())
}
