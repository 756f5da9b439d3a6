//! `slipway version`.

use crate::{failure::Failure, output::Printer};

/// Prints the version.
pub(crate) fn run(printer: &Printer) -> Result<(), Failure> {
    printer.data(concat!("slipway ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())?;
    Ok(())
}
