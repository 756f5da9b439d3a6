//! `slipway cr login|logout`: who one is at a container registry.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use slipway_registry::{Options, login};

use super::{program::IMAGES, session::Desk};
use crate::{
    failure::Failure,
    flags::{
        bridge::{PASSWORD, PASSWORD_STDIN, USERNAME},
        storage::StorageFlags,
    },
    host::RegistryOptions,
};

/// Longest password, in bytes: some are whole key files.
const LONGEST: u64 = 64 * 1024;

/// Checks a name and a password, and keeps them.
pub(crate) async fn login(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let host = registry(matches);
    let secret = secret(&desk)?;
    let user = desk.values.text(&USERNAME);
    let options = options(&desk)?;
    let checking = login::log_in(options, host, user.as_deref(), &secret);
    let done = desk.world.interrupted.run_until_cancelled(checking).await;
    done.ok_or_else(Failure::interrupted)??;
    desk.printer.info(&format!("Logged in to {host}"));
    Ok(())
}

/// Forgets them.
pub(crate) async fn logout(desk: Desk, matches: &ArgMatches) -> Result<(), Failure> {
    let host = registry(matches);
    let config = options(&desk)?.docker_config.context("find Docker's configuration: say --docker-config DIR")?;
    let state = if login::log_out(&config, host).await? { "Logged out of" } else { "There was no login to" };
    desk.printer.info(&format!("{state} {host}"));
    Ok(())
}

fn registry(matches: &ArgMatches) -> &str {
    matches.get_one::<String>(IMAGES).map(String::as_str).unwrap_or_default()
}

fn options(desk: &Desk) -> Result<Options, Failure> {
    let flags = StorageFlags::from_values(&desk.values).map_err(Failure::usage)?;
    Ok(RegistryOptions::new(&flags, &desk.world.environment).into_client_options())
}

/// The password, wherever it is.
fn secret(desk: &Desk) -> Result<String, Failure> {
    let usage = |why: &str| Err(Failure::usage(anyhow!("{why}")));
    let given = desk.values.text(&PASSWORD);
    let secret = match (given, desk.values.switch(&PASSWORD_STDIN)) {
        (Some(_), true) => {
            return usage("--password and --password-stdin both name the password: leave one of them out");
        }
        (Some(given), false) => {
            if desk.values.spelling(&PASSWORD).starts_with("--") {
                desk.printer.warn(
                    "everybody on this host can see --password in the list of processes; --password-stdin hides it",
                );
            }
            given
        }
        (None, true) => read()?,
        (None, false) if std::io::stdin().is_terminal() => {
            return usage("say the password: pipe it in with --password-stdin, or set the variable WERF_PASSWORD");
        }
        (None, false) => return usage("say the password: --password-stdin reads it from standard input"),
    };
    if secret.is_empty() {
        return usage("the password is empty");
    }
    Ok(secret)
}

/// Standard input without its last line end.
fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text);
    read.context("read the password from standard input").map_err(Failure::usage)?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::usage(anyhow!("read the password from standard input: it has more than {LONGEST} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
