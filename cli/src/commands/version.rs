//! `slipway version`.

use crate::{failure::Failure, output::Printer};

/// Prints the version, and whether the program carries the programs that build containers run with.
pub(crate) fn run(printer: &Printer) -> Result<(), Failure> {
    let toolbox = match slipway_toolbox::carried() {
        Ok(Some(_)) => "carried by this program",
        Ok(None) => "not carried; made of the static bash and busybox of the host",
        Err(_) => "damaged; install this program again",
    };
    printer.data(format!("slipway {}\ntoolbox: {toolbox}\n", env!("CARGO_PKG_VERSION")).as_bytes())?;
    Ok(())
}
