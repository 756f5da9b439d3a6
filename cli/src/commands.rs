//! Commands: what each is called, and how it is run.

pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod ci_env;
pub(crate) mod cleanup;
pub(crate) mod completion;
pub(crate) mod compose;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod cr;
pub(crate) mod export;
pub(crate) mod foreign;
pub(crate) mod helm;
pub(crate) mod host;
pub(crate) mod images;
pub(crate) mod includes;
mod load;
pub(crate) mod managed;
mod outside;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod run;
pub(crate) mod selection;
pub(crate) mod session;
pub(crate) mod slugify;
pub(crate) mod stages;
pub(crate) mod trace;
pub(crate) mod version;
pub(crate) mod worker;

use std::{ffi::OsString, sync::Arc};

use clap::ArgMatches;
use slipway_process::{Clock, Environment};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Exit, Failure},
    flags::CommandName,
    output::Printer,
};
use session::{Desk, Session};

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
        Chosen::WithFlags(name, matches) => (name, matches),
        Chosen::Version => return (Arc::clone(&early), version::run(&early)),
        Chosen::Completion(matches) => return (Arc::clone(&early), completion::run(matches, &early)),
        Chosen::Nothing => {
            let failure = Failure::usage(anyhow::anyhow!("say what to do: slipway --help lists the commands"));
            return (early, Err(failure));
        }
    };
    let desk = match Desk::new(name, matches, world) {
        Ok(desk) => desk,
        Err(failure) => return (early, Err(failure)),
    };
    let (printer, clock) = (Arc::clone(&desk.printer), Arc::clone(&desk.world.clock));
    let (after, interrupted) = (host::auto::After::new(&desk), desk.world.interrupted.clone());
    let result = match session::running(&desk).await {
        Ok(running) => {
            let result = Box::pin(run_one(name, matches, desk)).await;
            drop(running);
            result
        }
        Err(failure) => Err(failure),
    };
    if let Some(after) = after.filter(|_| !interrupted.is_cancelled()) {
        after.go(clock.as_ref());
    }
    (printer, result)
}

async fn run_one(name: CommandName, matches: &ArgMatches, desk: Desk) -> Result<(), Failure> {
    match name {
        CommandName::Build => Box::pin(build::run(Session::new(desk, matches)?)).await,
        CommandName::Export => Box::pin(export::run(Session::new(desk, matches)?)).await,
        CommandName::StageImage => Box::pin(images::name(Session::new(desk, matches)?)).await,
        CommandName::Run => Box::pin(run::run(Session::new(desk, matches)?)).await,
        CommandName::ComposeConfig | CommandName::ComposeUp | CommandName::ComposeDown | CommandName::ComposeRun => {
            Box::pin(compose::run(Session::new(desk, matches)?)).await
        }
        CommandName::HelmValues => Box::pin(helm::values(Session::new(desk, matches)?)).await,
        CommandName::CiEnv => ci_env::run(Session::new(desk, matches)?).await,
        CommandName::CrLogin => cr::login(desk, matches).await,
        CommandName::CrLogout => cr::logout(desk, matches).await,
        CommandName::Slugify => slugify::run(&desk, matches),
        CommandName::Plan => plan::run(Session::new(desk, matches)?).await,
        CommandName::ConfigRender => config::render(Session::new(desk, matches)?).await,
        CommandName::ConfigList => config::list(Session::new(desk, matches)?).await,
        CommandName::ConfigGraph => config::graph(Session::new(desk, matches)?).await,
        CommandName::IncludesUpdate => includes::update(Session::new(desk, matches)?).await,
        CommandName::IncludesList => includes::ls_files(Session::new(desk, matches)?).await,
        CommandName::IncludesGet => includes::get_file(Session::new(desk, matches)?).await,
        CommandName::Coordinator => Box::pin(coordinator::run(desk)).await,
        CommandName::Worker => Box::pin(worker::run(desk)).await,
        CommandName::Attach => Box::pin(builds::attach(desk, matches)).await,
        CommandName::Cancel => builds::cancel(desk, matches).await,
        CommandName::Logs => builds::logs(desk, matches).await,
        CommandName::Explain => builds::explain(desk, matches).await,
        CommandName::BuildsList => builds::list(desk).await,
        CommandName::BuildsShow => builds::show(desk, matches).await,
        CommandName::StagesCopy => Box::pin(stages::copy(Session::new(desk, matches)?)).await,
        CommandName::StagesList => stages::list(desk, matches).await,
        CommandName::StagesShow => stages::show(desk, matches).await,
        CommandName::StagesAttach => Box::pin(stages::attach(desk)).await,
        CommandName::StagesImport => Box::pin(stages::import(desk)).await,
        CommandName::StagesWinners => Box::pin(stages::winners(desk, matches)).await,
        CommandName::StagesVerify => Box::pin(stages::verify(desk, matches)).await,
        CommandName::StagesReject => Box::pin(stages::reject(desk, matches)).await,
        CommandName::Cleanup => Box::pin(cleanup::run(Session::new(desk, matches)?)).await,
        CommandName::Purge => Box::pin(cleanup::purge::run(Session::new(desk, matches)?)).await,
        CommandName::ManagedImagesList => managed::list(Session::new(desk, matches)?).await,
        CommandName::ManagedImagesAdd => managed::add(Session::new(desk, matches)?).await,
        CommandName::ManagedImagesRemove => managed::remove(Session::new(desk, matches)?).await,
        CommandName::HostCheck => Box::pin(host::check(desk)).await,
        CommandName::HostUsage => host::usage(desk).await,
        CommandName::HostCleanup => Box::pin(host::cleanup::run(desk)).await,
        CommandName::HostPurge => Box::pin(host::purge::run(desk)).await,
    }
}

/// A command of the command line.
enum Chosen<'m> {
    WithFlags(CommandName, &'m ArgMatches),
    Version,
    Completion(&'m ArgMatches),
    Nothing,
}

fn chosen(matches: &ArgMatches) -> Chosen<'_> {
    match matches.subcommand() {
        Some(("version", _)) => Chosen::Version,
        Some(("completion", matches)) => Chosen::Completion(matches),
        Some((word, matches)) => {
            let (words, matches) = match matches.subcommand() {
                Some((second, matches)) => (format!("{word} {second}"), matches),
                None => (word.to_owned(), matches),
            };
            CommandName::called(&words).map_or(Chosen::Nothing, |name| Chosen::WithFlags(name, matches))
        }
        None => Chosen::Nothing,
    }
}
