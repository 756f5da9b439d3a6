//! `slipway compose config|up|down|run`: docker compose, with the names of built images as variables.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;
use slipway_config::{Config, select};

use super::{images, load, outside, session::Session};
use crate::{
    failure::Failure,
    flags::{
        CommandName,
        bridge::{COMPOSE_COMMAND_OPTIONS, COMPOSE_OPTIONS, COMPOSE_PROGRAM, STUB_TAGS, WITHOUT_IMAGES, words},
        host::DRY_RUN,
    },
    report::variable,
};

/// What an image is called that nobody needs.
const STUB: &str = "STUB:TAG";

/// The variables of images in a text.
static VARIABLES: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("WERF_(?:[A-Za-z0-9_]+_)?DOCKER_IMAGE_NAME").expect("the expression is well-formed"));

/// Builds the images that compose files use, and runs compose.
pub(crate) async fn run(mut session: Session) -> Result<(), Failure> {
    let dry_run = session.values.switch(&DRY_RUN);
    let program = program(&session).await?;
    let variables = variables(&mut session, &program).await?;
    let arguments = arguments(&session);
    if dry_run {
        let exports: String = variables.iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
        let text = format!("{exports}{} {}\n", program.join(" "), arguments.join(" "));
        session.printer.data(text.as_bytes())?;
        return Ok(());
    }
    outside::run(&session, &program, &arguments, &variables).await
}

/// What compose is run with.
fn arguments(session: &Session) -> Vec<String> {
    let mut arguments = words(&session.values, &COMPOSE_OPTIONS);
    arguments.push(command(session.command).to_owned());
    arguments.extend(words(&session.values, &COMPOSE_COMMAND_OPTIONS));
    if !session.rest.is_empty() {
        arguments.push("--".to_owned());
        arguments.extend(session.rest.iter().cloned());
    }
    arguments
}

/// The command of compose.
fn command(name: CommandName) -> &'static str {
    name.words().strip_prefix("compose ").unwrap_or_default()
}

/// Compose, as it is installed.
async fn program(session: &Session) -> Result<Vec<String>, Failure> {
    if let Some(program) = session.values.text(&COMPOSE_PROGRAM) {
        return Ok(vec![program]);
    }
    let plugin = vec!["docker".to_owned(), "compose".to_owned()];
    let version = ["version".to_owned()];
    if outside::output(session, &plugin, &version).await.is_ok() {
        return Ok(plugin);
    }
    let program = vec!["docker-compose".to_owned()];
    match outside::output(session, &program, &version).await {
        Ok(_) => Ok(program),
        Err(failure) => Err(failure.context(
            "there is neither `docker compose` nor docker-compose; install one, or name it with --docker-compose-bin-path"
                .to_owned(),
        )),
    }
}

/// The variables that name images, as compose is to see them.
async fn variables(session: &mut Session, program: &[String]) -> Result<Vec<(String, String)>, Failure> {
    if session.values.switch(&WITHOUT_IMAGES) {
        return Ok(Vec::new());
    }
    let (_, config) = session.peek().await?;
    if session.patterns.is_empty() {
        session.patterns = used(session, &config, program).await?;
        if session.patterns.is_empty() {
            return Ok(Vec::new());
        }
    }
    let given = session.values.is_given(&STUB_TAGS);
    if session.values.switch(&STUB_TAGS) || (session.command == CommandName::ComposeDown && !given) {
        let chosen = select(&config, &session.patterns).map_err(Failure::usage)?;
        let names = chosen.into_iter().flat_map(|image| &image.names);
        return Ok(names.map(|name| (variable(&name.0), STUB.to_owned())).collect());
    }
    let images = images::obtain(session, |_| Ok(())).await?;
    if let Some(keeper) = images.keeper {
        load::load(session, &images.all, keeper).await?;
    }
    Ok(images.all.into_iter().map(|image| (variable(&image.name), image.place.name())).collect())
}

/// The names of the images whose variables stand in the compose files.
async fn used(session: &Session, config: &Config, program: &[String]) -> Result<Vec<String>, Failure> {
    let options = words(&session.values, &COMPOSE_OPTIONS);
    let read: Vec<String> = options.into_iter().chain(["config", "--no-interpolate"].map(str::to_owned)).collect();
    let text = outside::output(session, program, &read).await?;
    Ok(named_in(&text, config))
}

fn named_in(text: &str, config: &Config) -> Vec<String> {
    let found: BTreeSet<&str> = VARIABLES.find_iter(text).map(|found| found.as_str()).collect();
    let all = config.images.iter().filter(|image| !image.artifact).flat_map(|image| &image.names);
    let used = all.filter(|name| found.contains(variable(&name.0).as_str()));
    used.map(|name| if name.0.is_empty() { "~".to_owned() } else { name.0.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_their_variables() {
        let text =
            "project: p\nconfigVersion: 1\n---\nimage: [back-end, api/v1]\nfrom: a\n---\nimage: other\nfrom: a\n";
        let config = slipway_config::parse("werf.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let file =
            "image: ${WERF_BACK_END_DOCKER_IMAGE_NAME:?} $WERF_API_V1_DOCKER_IMAGE_NAME $WERF_X_DOCKER_IMAGE_NAME";
        assert_eq!(named_in(file, &config), ["back-end", "api/v1"]);
        assert_eq!(named_in("image: busybox", &config), [""; 0]);
        let nameless = "project: p\nconfigVersion: 1\n---\nimage: ~\nfrom: a\n";
        let nameless = slipway_config::parse("werf.yaml", nameless).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(named_in("$WERF_DOCKER_IMAGE_NAME", &nameless), ["~"]);
    }
}
