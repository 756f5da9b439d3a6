//! `slipway ci-env gitlab|github`: what a CI system says of a job, as the variables that builds read.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use slipway_process::{Environment, random_id};
use slipway_registry::login;

use super::session::Session;
use crate::{
    failure::Failure,
    flags::{
        bridge::{AS_ENV_FILE, AS_FILE, LOGIN_TO_REGISTRY, OUTPUT_FILE},
        storage::StorageFlags,
    },
    host::RegistryOptions,
};

/// Who jobs of GitLab are at its registry.
const GITLAB_USER: &str = "gitlab-ci-token";
/// GitHub's registry.
const GITHUB_REGISTRY: &str = "ghcr.io";

/// A line of what is printed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    /// What the next ones are about.
    Head(&'static str),
    /// A variable that gets this value.
    Set(&'static str, String),
    /// A variable that somebody has set already, or that there is nothing to set to.
    Left(&'static str, &'static str),
}

/// What a CI system says of a job.
struct Job {
    lines: Vec<Line>,
    /// Registry, name and password.
    login: Option<(String, String, String)>,
}

/// Prints the variables, or writes them to a file and prints its path.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let done = prepare(&session).await;
    let shown = !session.values.switch(&AS_FILE) && !session.values.switch(&AS_ENV_FILE);
    if done.is_err() && shown {
        // Whoever reads the lines with `.` learns no other way.
        session.printer.data(b"exit 1\n")?;
    }
    done
}

async fn prepare(session: &Session) -> Result<(), Failure> {
    let environment = &session.world.environment;
    let github = session.patterns.first().is_some_and(|system| system == "github");
    let config = docker_config(session)?;
    let job = if github { github_job(environment, project(session).await?) } else { gitlab_job(environment) };
    if let Some((host, user, password)) = job.login.filter(|_| session.values.switch(&LOGIN_TO_REGISTRY)) {
        let flags = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
        let mut options = RegistryOptions::new(&flags, environment).into_client_options();
        options.docker_config = Some(config.join("config.json"));
        let logging_in = login::log_in(options, &host, Some(&user), &password);
        let done = session.world.interrupted.run_until_cancelled(logging_in).await;
        done.ok_or_else(Failure::interrupted)??;
    }
    let place = Line::Set("DOCKER_CONFIG", config.display().to_string());
    let lines: Vec<Line> = [Line::Head("DOCKER CONFIG"), place].into_iter().chain(job.lines).collect();
    hand_out(session, &lines)
}

/// The project's name, when there is a configuration.
async fn project(session: &Session) -> Result<Option<String>, Failure> {
    let there = ["werf.yaml", "werf.yml"];
    let directory =
        session.project_flags.dir.as_ref().map_or_else(|| session.here.clone(), |dir| session.here.join(dir));
    if session.project_flags.config.is_none() && !there.iter().any(|name| directory.join(name).exists()) {
        return Ok(None);
    }
    let (_, config) = session.peek().await?;
    Ok(Some(config.project))
}

fn gitlab_job(environment: &Environment) -> Job {
    let of = |name: &str| environment.non_empty(name).map(str::to_owned);
    let image = of("CI_REGISTRY_IMAGE");
    let login = image.as_deref().and_then(|image| {
        let host = image.split_once('/').map_or(image, |(host, _)| host);
        Some((host.to_owned(), GITLAB_USER.to_owned(), of("CI_JOB_TOKEN")?))
    });
    let own = environment.non_empty("WERF_REPO");
    let is_gitlab =
        image.is_some() && own.is_none_or(|own| of("CI_REGISTRY").is_some_and(|host| own.starts_with(&host)));
    let noted = |key: &str, name: &str| of(name).map(|value| format!("{key}={value}"));
    let mut lines = vec![Line::Head("REPO"), kept(environment, "WERF_REPO", image)];
    if is_gitlab {
        lines.push(kept(environment, "WERF_REPO_CONTAINER_REGISTRY", Some("gitlab".to_owned())));
    }
    lines.extend([
        Line::Head("DEPLOY"),
        kept(environment, "WERF_ENV", of("CI_ENVIRONMENT_SLUG")),
        line("WERF_ADD_ANNOTATION_PROJECT_GIT", noted("project.werf.io/git", "CI_PROJECT_URL")),
        line("WERF_ADD_ANNOTATION_CI_COMMIT", noted("ci.werf.io/commit", "CI_COMMIT_SHA")),
        line("WERF_ADD_ANNOTATION_CI_GIT_TAG", noted("ci.werf.io/tag", "CI_COMMIT_TAG")),
        line("WERF_ADD_ANNOTATION_GITLAB_CI_PIPELINE_URL", noted("gitlab.ci.werf.io/pipeline-url", "CI_PIPELINE_URL")),
        line("WERF_ADD_ANNOTATION_GITLAB_CI_JOB_URL", noted("gitlab.ci.werf.io/job-url", "CI_JOB_URL")),
    ]);
    lines.extend(output(environment));
    Job { lines, login }
}

fn github_job(environment: &Environment, project: Option<String>) -> Job {
    let of = |name: &str| environment.non_empty(name).map(str::to_owned);
    let repository = of("GITHUB_REPOSITORY");
    let address = repository.as_ref().map(|repository| format!("https://github.com/{repository}"));
    let repo = repository.as_ref().zip(project);
    let repo = repo.map(|(repository, project)| format!("{GITHUB_REGISTRY}/{}/{project}", repository.to_lowercase()));
    let run = address.as_ref().zip(of("GITHUB_RUN_ID"));
    let run = run.map(|(address, run)| format!("github.ci.werf.io/workflow-run-url={address}/actions/runs/{run}"));
    let tag = of("GITHUB_REF_NAME").filter(|_| of("GITHUB_REF_TYPE").as_deref() == Some("tag"));
    let token = of("GITHUB_TOKEN");
    let mut lines = vec![
        Line::Head("REPO"),
        kept(environment, "WERF_REPO", repo),
        Line::Head("DEPLOY"),
        line("WERF_ADD_ANNOTATION_PROJECT_GIT", address.map(|address| format!("project.werf.io/git={address}"))),
        line("WERF_ADD_ANNOTATION_CI_COMMIT", of("GITHUB_SHA").map(|commit| format!("ci.werf.io/commit={commit}"))),
        line("WERF_ADD_ANNOTATION_CI_GIT_TAG", tag.map(|tag| format!("ci.werf.io/tag={tag}"))),
        line("WERF_ADD_ANNOTATION_GITHUB_ACTIONS_RUN_URL", run),
        Line::Head("CLEANUP"),
        kept(environment, "WERF_REPO_GITHUB_TOKEN", token.clone()),
    ];
    lines.extend(output(environment));
    let login = of("GITHUB_ACTOR").zip(token).map(|(user, token)| (GITHUB_REGISTRY.to_owned(), user, token));
    Job { lines, login }
}

/// How a job's log looks.
fn output(environment: &Environment) -> [Line; 4] {
    let kept = |name: &'static str, value: &str| kept(environment, name, Some(value.to_owned()));
    [
        Line::Head("OTHER"),
        kept("WERF_LOG_COLOR_MODE", "on"),
        kept("WERF_LOG_PROJECT_DIR", "1"),
        kept("WERF_LOG_TERMINAL_WIDTH", "130"),
    ]
}

fn line(name: &'static str, value: Option<String>) -> Line {
    value.map_or(Line::Left(name, "the CI system does not say"), |value| Line::Set(name, value))
}

/// The same, unless somebody has set it.
fn kept(environment: &Environment, name: &'static str, value: Option<String>) -> Line {
    if environment.non_empty(name).is_some() {
        return Line::Left(name, "it is set already");
    }
    line(name, value)
}

/// A copy of Docker's configuration of this job's own, so that a login is no other's.
fn docker_config(session: &Session) -> Result<PathBuf, Failure> {
    let flags = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
    let own = RegistryOptions::new(&flags, &session.world.environment).docker_config;
    let directory = temporary(session).join(format!("slipway-docker-config-{}", random_id()));
    let doing = || format!("make a copy of Docker's configuration in {}", directory.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).with_context(doing)?;
    if let Some(text) = own.filter(|own| own.exists()).map(fs::read).transpose().with_context(doing)? {
        write(&directory.join("config.json"), &text).with_context(doing)?;
    }
    Ok(directory)
}

fn temporary(session: &Session) -> PathBuf {
    session.project_flags.tmp_dir.as_ref().map_or_else(std::env::temp_dir, |tmp| session.here.join(tmp))
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)
}

fn hand_out(session: &Session, lines: &[Line]) -> Result<(), Failure> {
    let as_env = session.values.switch(&AS_ENV_FILE);
    let text = if as_env { env_file(lines).map_err(Failure::from)? } else { script(lines) };
    if !as_env && !session.values.switch(&AS_FILE) {
        session.printer.data(text.as_bytes())?;
        return Ok(());
    }
    let given = session.values.text(&OUTPUT_FILE).map(|path| session.here.join(path));
    let path = given.clone().unwrap_or_else(|| temporary(session).join(format!("slipway-ci-env-{}", random_id())));
    if given.is_some() {
        // Another's file keeps neither its bytes nor its mode.
        let _ = fs::remove_file(&path);
    }
    write(&path, text.as_bytes()).with_context(|| format!("write {}", path.display()))?;
    if given.is_none() {
        session.printer.data(format!("{}\n", path.display()).as_bytes())?;
    }
    Ok(())
}

/// Lines that any Unix shell reads.
fn script(lines: &[Line]) -> String {
    let one = |line: &Line| match line {
        Line::Head(about) => format!("\n### {about}\n"),
        Line::Set(name, value) => format!("export {name}={}\n", quoted(value)),
        Line::Left(name, why) => format!("# {name}: {why}\n"),
    };
    lines.iter().map(one).collect::<String>().trim_start().to_owned()
}

/// Lines `NAME=VALUE`, for what is no shell.
fn env_file(lines: &[Line]) -> anyhow::Result<String> {
    let mut text = String::new();
    for line in lines {
        match line {
            Line::Set(name, value) if value.contains(['\n', '\r']) => {
                return Err(anyhow!("write {name} to a file of lines: its value has several of them"));
            }
            Line::Set(name, value) => text.push_str(&format!("{name}={value}\n")),
            Line::Head(_) | Line::Left(..) => {}
        }
    }
    Ok(text)
}

/// A text as a shell takes it, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(job: &Job, name: &str) -> Option<String> {
        job.lines.iter().find_map(|line| match line {
            Line::Set(own, value) if *own == name => Some(value.clone()),
            _ => None,
        })
    }

    #[test]
    fn gitlab_says_where_and_who() {
        let job = gitlab_job(
            &[
                ("CI_REGISTRY", "r.example:5050"),
                ("CI_REGISTRY_IMAGE", "r.example:5050/group/shop"),
                ("CI_JOB_TOKEN", "hush"),
                ("CI_ENVIRONMENT_SLUG", "stage"),
                ("CI_COMMIT_SHA", "c0ffee"),
                ("WERF_LOG_COLOR_MODE", "off"),
            ]
            .into_iter()
            .collect(),
        );
        assert_eq!(set(&job, "WERF_REPO").as_deref(), Some("r.example:5050/group/shop"));
        assert_eq!(set(&job, "WERF_REPO_CONTAINER_REGISTRY").as_deref(), Some("gitlab"));
        assert_eq!(set(&job, "WERF_ENV").as_deref(), Some("stage"));
        assert_eq!(set(&job, "WERF_ADD_ANNOTATION_CI_COMMIT").as_deref(), Some("ci.werf.io/commit=c0ffee"));
        assert_eq!(set(&job, "WERF_ADD_ANNOTATION_CI_GIT_TAG"), None);
        assert_eq!(set(&job, "WERF_LOG_COLOR_MODE"), None, "it is set already");
        assert_eq!(job.login, Some(("r.example:5050".into(), "gitlab-ci-token".into(), "hush".into())));
        assert!(!script(&job.lines).contains("hush"));
    }

    #[test]
    fn github_says_where_and_who() {
        let variables = [
            ("GITHUB_REPOSITORY", "Owner/Shop"),
            ("GITHUB_ACTOR", "me"),
            ("GITHUB_TOKEN", "hush"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_REF_TYPE", "tag"),
            ("GITHUB_REF_NAME", "v1"),
        ];
        let job = github_job(&variables.into_iter().collect(), Some("shop".into()));
        assert_eq!(set(&job, "WERF_REPO").as_deref(), Some("ghcr.io/owner/shop/shop"));
        assert_eq!(set(&job, "WERF_ADD_ANNOTATION_CI_GIT_TAG").as_deref(), Some("ci.werf.io/tag=v1"));
        let run = "github.ci.werf.io/workflow-run-url=https://github.com/Owner/Shop/actions/runs/7";
        assert_eq!(set(&job, "WERF_ADD_ANNOTATION_GITHUB_ACTIONS_RUN_URL").as_deref(), Some(run));
        assert_eq!(job.login, Some(("ghcr.io".into(), "me".into(), "hush".into())));
        let unknown = github_job(&Environment::default(), None);
        assert!(unknown.login.is_none() && set(&unknown, "WERF_REPO").is_none());
    }

    #[test]
    fn values_stay_values_in_a_shell() {
        let lines =
            [Line::Head("X"), Line::Set("A", "it's $(x) `y` \"z\"\n".into()), Line::Left("B", "it is set already")];
        assert_eq!(script(&lines), "### X\nexport A='it'\\''s $(x) `y` \"z\"\n'\n# B: it is set already\n");
        assert!(env_file(&lines).expect_err("two lines").to_string().contains("write A"));
        assert_eq!(env_file(&[Line::Set("A", "b c".into())]).expect("lines"), "A=b c\n");
    }
}
