//! A sandbox and nothing else: what the tests of this crate start in place of the whole program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let sandbox = slipway_native::sandbox::enter(std::env::args_os());
    let sandbox = sandbox.or_else(|| slipway_native::rootless::enter(std::env::args_os()));
    sandbox.or_else(|| slipway_native::check::enter(std::env::args_os())).unwrap_or(ExitCode::FAILURE)
}
