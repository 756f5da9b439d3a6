//! What the commands that read a project share: flags, printer, project, configuration, selection.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::ArgMatches;
use slipway_config::{Config, Problems, Warning};
use slipway_process::Tasks;

use super::{
    World,
    program::{ARGUMENTS, IMAGES},
};
use crate::{
    failure::Failure,
    flags::{
        CommandName, Values,
        command::PROJECT,
        log::{Level, LogFlags},
        project::{HOME_DIR, ProjectFlags, SSH_KEY},
        resolve,
        service::DATA_DIR,
        variables,
    },
    home,
    output::{Printer, printer::Surroundings, redact::Redactor, trace},
    project::{Project, Reading},
    running::{self, Running, Word},
    ssh,
};

/// Who waits longer than this is told for what.
const SILENCE: Duration = Duration::from_secs(1);

/// A command under way.
pub(crate) struct Session {
    /// The world.
    pub(crate) world: World,
    /// The values of all flags.
    pub(crate) values: Values,
    /// Which project.
    pub(crate) project_flags: ProjectFlags,
    /// Says things.
    pub(crate) printer: Arc<Printer>,
    /// The current directory.
    pub(crate) here: PathBuf,
    /// Where things are kept between runs.
    pub(crate) home: PathBuf,
    /// Which command this is.
    pub(crate) command: CommandName,
    /// Names and patterns of images, as given.
    pub(crate) patterns: Vec<String>,
    /// What stands behind `--`, for another program.
    pub(crate) rest: Vec<String>,
    /// The ssh agent with the keys that flags name; it ends with the session.
    pub(crate) agent: Option<ssh::Agent>,
}

/// What every command with flags of the table has: values, a printer, the world.
pub(crate) struct Desk {
    /// Which command this is.
    pub(crate) command: CommandName,
    /// The world.
    pub(crate) world: World,
    /// The values of all flags.
    pub(crate) values: Values,
    /// Says things.
    pub(crate) printer: Arc<Printer>,
    /// The current directory.
    pub(crate) here: PathBuf,
}

impl Desk {
    /// Reads flags and variables, and says what is odd about them.
    ///
    /// # Errors
    /// When a flag or variable cannot be obeyed.
    pub(crate) fn new(name: CommandName, matches: &ArgMatches, world: World) -> Result<Self, Failure> {
        let values = resolve(name, matches, &world.environment).map_err(Failure::usage)?;
        let log = LogFlags::from_values(&values);
        let printer = Arc::new(Printer::new(&log, surroundings(&world), Arc::clone(&world.clock)));
        let server = name == CommandName::Coordinator;
        if server {
            trace::install_json(&printer, log.level, Arc::clone(&world.clock));
        } else {
            trace::install(&printer);
        }
        if name.builds() {
            // The first line of a build says where it runs: warnings come after it.
            printer.hold();
        }
        let strangers = variables::strangers(name, &world.environment);
        // In a log of objects a warning is one, too.
        let warn = |warning: &String| if server { tracing::warn!("{warning}") } else { printer.warn(warning) };
        values.warnings.iter().chain(&strangers.warnings).for_each(warn);
        values.notes.iter().filter(|_| !server).for_each(|note| printer.say(Level::Verbose, note));
        if !server && !strangers.ignored.is_empty() {
            let ignored = strangers.ignored.join(", ");
            printer.say(Level::Verbose, &format!("Variables that belong to other tools are ignored: {ignored}"));
        }
        let here = std::env::current_dir().context("find the current directory")?;
        Ok(Self { command: name, world, values, printer, here })
    }
}

impl Session {
    /// Adds to a desk what belongs to a project.
    ///
    /// # Errors
    /// When there is no place to keep things, or a flag or variable cannot be obeyed.
    pub(crate) fn new(desk: Desk, matches: &ArgMatches) -> Result<Self, Failure> {
        let Desk { command, mut world, values, printer, here } = desk;
        let agent = ssh::named(&values.list(&SSH_KEY), &here, &mut world.environment)?;
        let project_flags = ProjectFlags::from_values(&values).map_err(Failure::usage)?;
        let home = home::directory(project_flags.home_dir.as_deref(), &world.environment)?;
        let given = |id: &str| -> Vec<String> {
            matches.try_get_many::<String>(id).ok().flatten().unwrap_or_default().cloned().collect()
        };
        let (patterns, rest) = (given(IMAGES), given(ARGUMENTS));
        let session = Self { world, values, project_flags, printer, here, home, command, patterns, rest, agent };
        if LogFlags::from_values(&session.values).project_dir {
            let directory = session.project_flags.dir.as_ref().map(|dir| session.here.join(dir));
            let directory = directory.unwrap_or_else(|| session.here.clone());
            session.printer.info(&format!("Using project dir: {}", directory.display()));
        }
        Ok(session)
    }

    /// What a project is read with.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            here: self.here.clone(),
            home: self.home.clone(),
            environment: self.world.environment.clone(),
            clock: Arc::clone(&self.world.clock),
            printer: Arc::clone(&self.printer),
        }
    }

    /// Reads the project and its configuration, whose project name a flag may replace; says what it warns of.
    ///
    /// # Errors
    /// When either is wrong.
    pub(crate) async fn open(&self) -> Result<(Project, Config), Failure> {
        let (project, config) = self.peek().await?;
        let warn = |warning: &Warning| {
            let place = project.rendering.place(warning.position);
            self.printer.warn(&format!("{place}: {}", warning.message));
        };
        config.warnings.iter().for_each(warn);
        Ok((project, config))
    }

    /// The same without a word of warning: whoever comes next warns.
    ///
    /// # Errors
    /// When either is wrong.
    pub(crate) async fn peek(&self) -> Result<(Project, Config), Failure> {
        let (flags, reading) = (self.project_flags.clone(), self.reading());
        let project = self.blocking(move || Project::open(&flags, &reading)).await?;
        let rendering = &project.rendering;
        let traced = |problems: Problems| Failure::project(problems.traced(|position| rendering.origin(position)));
        let mut config = slipway_config::parse(&project.config_name, &rendering.text).map_err(traced)?;
        let allowed = project.permits.check(&config, &project.config_name, &rendering.text, &project.permits_name);
        allowed.map_err(traced)?;
        if let Some(name) = &self.project_flags.project_name {
            config.project.clone_from(name);
        }
        Ok((project, config))
    }

    /// Runs blocking work; gives up waiting for it when the user gives up.
    ///
    /// # Errors
    /// What the work answers, or that it was interrupted.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let tasks = Tasks::new();
        let done = self.world.interrupted.run_until_cancelled(tasks.blocking(work)).await;
        done.unwrap_or_else(|| Err(Failure::interrupted()))
    }
}

/// Says to those who clean this host that a command uses what is kept on it; `None` = it uses nothing. To be held until the
/// command ends.
///
/// # Errors
/// When the user gives up waiting for a purge.
pub(crate) async fn running(desk: &Desk) -> Result<Option<Running>, Failure> {
    let Ok(home) = home_of(desk) else { return Ok(None) };
    // What only looks makes nothing.
    let makes = desk.command.builds() || desk.command == CommandName::Worker;
    let looks = PROJECT.contains(&desk.command) && home.join("service").is_dir();
    if !makes && !looks {
        return Ok(None);
    }
    let (command, directory) = (desk.command.words().to_owned(), desk.here.display().to_string());
    let word = Word { process: std::process::id(), command, directory };
    let begun = match running::begin(&home, &word, false) {
        Ok(None) => {
            let (at, tasks) = (home.clone(), Tasks::new());
            let waiting = tasks.blocking(move || running::begin(&at, &word, true));
            desk.world
                .interrupted
                .run_until_cancelled(told(desk, &home, waiting))
                .await
                .ok_or_else(Failure::interrupted)?
        }
        other => other,
    };
    // A home that cannot be written is complained of by whoever writes first, and cannot be cleaned either.
    Ok(begun.unwrap_or_default())
}

/// Waits, and after a while says for what.
async fn told<T>(desk: &Desk, home: &Path, waiting: impl Future<Output = T>) -> T {
    let mut waiting = std::pin::pin!(waiting);
    match tokio::time::timeout(SILENCE, &mut waiting).await {
        Ok(done) => done,
        Err(_) => {
            desk.printer.info(&format!("Waiting for a purge of {}", home.display()));
            waiting.await
        }
    }
}

/// Where a command keeps things.
fn home_of(desk: &Desk) -> Result<PathBuf, Failure> {
    let flag = if desk.command == CommandName::Worker { DATA_DIR } else { HOME_DIR };
    home::directory(desk.values.text(&flag).as_deref(), &desk.world.environment)
}

/// A printer for what is said before flags are known.
pub(crate) fn early_printer(world: &World) -> Printer {
    Printer::new(&LogFlags::from_values(&Values::default()), surroundings(world), Arc::clone(&world.clock))
}

fn surroundings(world: &World) -> Surroundings {
    let environment = &world.environment;
    Surroundings {
        terminal: std::io::stderr().is_terminal(),
        plain: environment.non_empty("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb"),
        redactor: Redactor::new(variables::secrets(environment)),
    }
}
