//! `slipway completion`.

use clap::ArgMatches;
use clap_complete::Shell;

use crate::{commands::program, failure::Failure, output::Printer};

/// Prints the completion script of a shell.
pub(crate) fn run(matches: &ArgMatches, printer: &Printer) -> Result<(), Failure> {
    let chosen = ["shell", "shell-flag"].into_iter().find_map(|id| matches.get_one::<Shell>(id).copied());
    let mut script = Vec::new();
    clap_complete::generate(chosen.unwrap_or(Shell::Bash), &mut program::program(), "slipway", &mut script);
    printer.data(&script)?;
    Ok(())
}
