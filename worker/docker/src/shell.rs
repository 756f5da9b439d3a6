//! A shell for the user in a container of its own, on the state of a stage.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::{
    container::LogOutput,
    errors::Error,
    exec::{StartExecOptions, StartExecResults},
    models::{ContainerCreateBody, ExecConfig},
    query_parameters::{ResizeExecOptions, StartContainerOptions},
};
use futures::{Stream, StreamExt as _};
use slipway_backend::{
    BackendError, LocalImage, Script, Setup, Terminal,
    script::{BOOTSTRAP, Marker, TOOLBOX_BIN, compose},
    terminal::Size,
};
use slipway_process::random_id;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{
    container::{self, Container},
    engine::Engine,
    error::failed,
    images,
    run::feed,
};

const DOING: &str = "open a shell in a stage";
/// What the container itself runs: it waits for an input that never comes.
const WAIT: &str = "read";

/// A state that only a shell needs; dropping it removes it, in the background.
struct State {
    engine: Engine,
    container: Option<Container>,
    image: LocalImage,
}

impl Drop for State {
    fn drop(&mut self) {
        let (engine, container, image) = (self.engine.clone(), self.container.take(), self.image.clone());
        self.engine.in_background(async move {
            if let Some(container) = container {
                container::remove(&engine, container.name()).await;
            }
            if let Err(error) = images::remove(&engine, &image).await {
                tracing::warn!("{error}");
            }
        });
    }
}

/// Opens a shell in a container of `body` on `image` and waits for its end; both are removed then.
pub(crate) async fn open(
    engine: &Engine,
    setup: &Setup,
    (image, body): (LocalImage, ContainerCreateBody),
    (variables, terminal): (&BTreeMap<String, String>, Terminal),
) -> Result<(), BackendError> {
    let attempt = format!("{}-shell-{}", setup.attempt, &random_id()[..8]);
    let body = ContainerCreateBody { image: Some(image.id.to_string()), ..body };
    let mut state = State { engine: engine.clone(), container: None, image };
    let waiting = ContainerCreateBody { cmd: Some(vec!["-c".to_owned(), WAIT.to_owned()]), ..body };
    let body = ContainerCreateBody { stdin_once: Some(false), ..waiting };
    let container = state.container.insert(Container::create(engine, &attempt, body).await?);
    let started = engine.docker.start_container(container.name(), None::<StartContainerOptions>).await;
    started.map_err(|error| failed(DOING, error))?;
    if !setup.secrets.is_empty() {
        write_secrets(container, setup).await?;
    }
    run(container, variables, terminal).await
}

/// By the input of a process of its own: the shell's is the terminal.
async fn write_secrets(container: &Container, setup: &Setup) -> Result<(), BackendError> {
    let marker = Marker::new(&random_id());
    let script = compose(&[], &Script::default(), &setup.secrets, &marker)?;
    let command = [format!("{TOOLBOX_BIN}/bash"), "-ec".to_owned(), BOOTSTRAP.to_owned()];
    let config = ExecConfig { attach_stdin: Some(true), attach_stdout: Some(true), ..of(&command) };
    let (_, mut output, input) = start(container, config, false).await?;
    feed(input, STANDARD.encode(script)).await;
    while output.next().await.is_some() {}
    Ok(())
}

async fn run(
    container: &Container,
    variables: &BTreeMap<String, String>,
    terminal: Terminal,
) -> Result<(), BackendError> {
    let own = terminal.variables();
    let all = variables.iter().chain(own.iter().map(|(name, value)| (name, value)));
    let env = all.map(|(name, value)| format!("{name}={value}")).collect();
    let command = [format!("{TOOLBOX_BIN}/bash"), "--norc".to_owned(), "--noprofile".to_owned(), "-i".to_owned()];
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(true),
        env: Some(env),
        ..of(&command)
    };
    let (id, mut output, mut input) = start(container, config, true).await?;
    let Terminal { input: mut typed, output: shown, mut size, .. } = terminal;
    let first = *size.borrow_and_update();
    resize(container, &id, first).await;
    let (mut typing, mut resizing) = (true, true);
    loop {
        tokio::select! {
            part = output.next() => match part {
                Some(Ok(part)) => if shown.send(part.into_bytes().to_vec()).await.is_err() { return Ok(()) },
                Some(Err(error)) => return Err(failed(DOING, error)),
                None => return Ok(()),
            },
            piece = typed.recv(), if typing => match piece {
                // A shell that has just ended reads no more.
                Some(piece) => typing = input.write_all(&piece).await.is_ok() && input.flush().await.is_ok(),
                None => {
                    let _ = input.shutdown().await;
                    typing = false;
                }
            },
            changed = size.changed(), if resizing => {
                resizing = changed.is_ok();
                let now = *size.borrow_and_update();
                resize(container, &id, now).await;
            }
        }
    }
}

fn of(command: &[String]) -> ExecConfig {
    ExecConfig {
        cmd: Some(command.to_vec()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        ..ExecConfig::default()
    }
}

type Lines = std::pin::Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = std::pin::Pin<Box<dyn AsyncWrite + Send>>;

async fn start(container: &Container, config: ExecConfig, tty: bool) -> Result<(String, Lines, Input), BackendError> {
    let docker = &container.engine().docker;
    let created = docker.create_exec(container.name(), config).await.map_err(|error| failed(DOING, error))?;
    let options = StartExecOptions { detach: false, tty, output_capacity: None };
    match docker.start_exec(&created.id, Some(options)).await.map_err(|error| failed(DOING, error))? {
        StartExecResults::Attached { output, input } => Ok((created.id, output, input)),
        StartExecResults::Detached => Err(BackendError::Engine(format!("{DOING}: the engine gave it no terminal"))),
    }
}

/// Some sizes are none, and a shell that has ended has none: it goes on as it is.
async fn resize(container: &Container, id: &str, (rows, columns): Size) {
    let options = ResizeExecOptions { h: i32::from(rows), w: i32::from(columns) };
    if let Err(error) = container.engine().docker.resize_exec(id, options).await {
        tracing::debug!("resize a shell: {error}");
    }
}
