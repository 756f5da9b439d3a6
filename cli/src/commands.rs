//! Commands: what each is called, and how it is run.

pub(crate) mod build;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod foreign;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod selection;
pub(crate) mod session;
pub(crate) mod version;

use std::{ffi::OsString, sync::Arc};

use clap::ArgMatches;
use slipway_process::{Clock, Environment};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Exit, Failure},
    flags::CommandName,
    output::Printer,
};
use session::Session;

/// What every command is given of the world.
pub(crate) struct World {
    /// The environment.
    pub(crate) environment: Environment,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Cancelled when the user gives up.
    pub(crate) interrupted: CancellationToken,
}

/// Runs the command that the arguments (the program's name first) ask for; answers the exit code.
pub(crate) async fn run(arguments: Vec<OsString>, world: World) -> u8 {
    let printer = session::early_printer(&world);
    if let Some(answer) = foreign::answer(&arguments) {
        printer.error(&answer);
        return Exit::Usage.code();
    }
    let matches = match program::program().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&printer, &error),
    };
    let interrupted = world.interrupted.clone();
    match dispatch(&matches, world, &printer).await {
        Ok(()) => 0,
        // What breaks while everything is being torn down is no news.
        Err(_) if interrupted.is_cancelled() => {
            printer.error("interrupted");
            Exit::Interrupted.code()
        }
        Err(failure) => {
            printer.error(&failure.text());
            failure.exit.code()
        }
    }
}

/// Help and versions are data; everything else says what is wrong with the command line.
fn usage(printer: &Printer, error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        printer.raw(&text);
        return Exit::Usage.code();
    }
    match printer.data(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => Exit::Failed.code(),
    }
}

async fn dispatch(matches: &ArgMatches, world: World, printer: &Printer) -> Result<(), Failure> {
    let session = |name: CommandName, matches: &ArgMatches| Session::new(name, matches, world);
    match matches.subcommand() {
        Some(("build", matches)) => build::run(session(CommandName::Build, matches)?).await,
        Some(("plan", matches)) => plan::run(session(CommandName::Plan, matches)?).await,
        Some(("config", matches)) => match matches.subcommand() {
            Some(("render", matches)) => config::render(session(CommandName::ConfigRender, matches)?).await,
            Some(("list", matches)) => config::list(session(CommandName::ConfigList, matches)?).await,
            Some(("graph", matches)) => config::graph(session(CommandName::ConfigGraph, matches)?).await,
            _ => Err(Failure::usage(anyhow::anyhow!("config: say render, list or graph"))),
        },
        Some(("version", _)) => version::run(printer),
        Some(("completion", matches)) => completion::run(matches, printer),
        _ => Err(Failure::usage(anyhow::anyhow!("say what to do: slipway --help lists the commands"))),
    }
}
