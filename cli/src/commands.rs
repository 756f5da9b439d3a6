//! Commands: what each is called, and how it is run.

pub(crate) mod build;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod foreign;
pub(crate) mod includes;
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
    let (printer, result) = dispatch(&matches, world, Arc::new(printer)).await;
    printer.release(None);
    match result {
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
        match text.strip_prefix("error: ") {
            Some(text) => printer.error(text),
            None => printer.raw(&text),
        }
        return Exit::Usage.code();
    }
    match printer.data(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => Exit::Failed.code(),
    }
}

/// Runs a command; answers what it prints with, too, as flags may have changed that.
async fn dispatch(matches: &ArgMatches, world: World, early: Arc<Printer>) -> (Arc<Printer>, Result<(), Failure>) {
    let (name, matches) = match chosen(matches) {
        Chosen::OfProject(name, matches) => (name, matches),
        Chosen::Version => return (Arc::clone(&early), version::run(&early)),
        Chosen::Completion(matches) => return (Arc::clone(&early), completion::run(matches, &early)),
        Chosen::Nothing => {
            let failure = Failure::usage(anyhow::anyhow!("say what to do: slipway --help lists the commands"));
            return (early, Err(failure));
        }
    };
    let session = match Session::new(name, matches, world) {
        Ok(session) => session,
        Err(failure) => return (early, Err(failure)),
    };
    let printer = Arc::clone(&session.printer);
    let result = match name {
        CommandName::Build => Box::pin(build::run(session)).await,
        CommandName::Plan => plan::run(session).await,
        CommandName::ConfigRender => config::render(session).await,
        CommandName::ConfigList => config::list(session).await,
        CommandName::ConfigGraph => config::graph(session).await,
        CommandName::IncludesUpdate => includes::update(session).await,
        CommandName::IncludesList => includes::ls_files(session).await,
        CommandName::IncludesGet => includes::get_file(session).await,
    };
    (printer, result)
}

/// A command of the command line.
enum Chosen<'m> {
    OfProject(CommandName, &'m ArgMatches),
    Version,
    Completion(&'m ArgMatches),
    Nothing,
}

fn chosen(matches: &ArgMatches) -> Chosen<'_> {
    match matches.subcommand() {
        Some(("build", matches)) => Chosen::OfProject(CommandName::Build, matches),
        Some(("plan", matches)) => Chosen::OfProject(CommandName::Plan, matches),
        Some(("config", matches)) => match matches.subcommand() {
            Some(("render", matches)) => Chosen::OfProject(CommandName::ConfigRender, matches),
            Some(("list", matches)) => Chosen::OfProject(CommandName::ConfigList, matches),
            Some(("graph", matches)) => Chosen::OfProject(CommandName::ConfigGraph, matches),
            _ => Chosen::Nothing,
        },
        Some(("includes", matches)) => match matches.subcommand() {
            Some(("update", matches)) => Chosen::OfProject(CommandName::IncludesUpdate, matches),
            Some(("ls-files", matches)) => Chosen::OfProject(CommandName::IncludesList, matches),
            Some(("get-file", matches)) => Chosen::OfProject(CommandName::IncludesGet, matches),
            _ => Chosen::Nothing,
        },
        Some(("version", _)) => Chosen::Version,
        Some(("completion", matches)) => Chosen::Completion(matches),
        _ => Chosen::Nothing,
    }
}
