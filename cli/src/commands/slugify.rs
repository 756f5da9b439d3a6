//! `slipway slugify`.

use anyhow::anyhow;
use clap::ArgMatches;
use slipway_storage::names;

use super::{program::IMAGES, session::Desk};
use crate::{failure::Failure, flags::bridge::FORMAT};

/// Prints a name that can be what is asked for.
pub(crate) fn run(desk: &Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let text = matches.get_one::<String>(IMAGES).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Failure::usage(anyhow!("an empty text makes no name")))?;
    let name = match desk.values.text(&FORMAT).as_deref() {
        Some("kubernetes-namespace" | "ns") => names::kubernetes_namespace(text),
        Some("helm-release" | "r") => names::helm_release(text),
        Some(_) | None => names::docker_tag_slug(text),
    };
    desk.printer.data(format!("{name}\n").as_bytes())?;
    Ok(())
}
