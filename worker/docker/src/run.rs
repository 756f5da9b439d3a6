//! Running the script of a stage in its container.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard::{
    container::{AttachContainerResults, LogOutput},
    errors::Error,
    query_parameters::{AttachContainerOptions, StartContainerOptions, WaitContainerOptions},
};
use futures::{Stream, StreamExt as _};
use slipway_backend::{
    BackendError,
    output::{self, Output},
    script::{BOOTSTRAP, TOOLBOX_BIN, ended},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{container::Container, error::failed};

/// The arguments of the container's bash: as werf's, they name only the toolbox, and the script comes by the standard
/// input, so that it may be long and is in no history.
pub(crate) fn arguments() -> Vec<String> {
    let bootstrap = STANDARD.encode(BOOTSTRAP);
    vec!["-ec".to_owned(), format!("eval $(echo {bootstrap} | {TOOLBOX_BIN}/base64 --decode)")]
}

/// Starts the container, feeds it the script and follows it to its end.
pub(crate) async fn run(container: &Container, script: &[u8], mut output: Output) -> Result<(), BackendError> {
    let docker = &container.engine().docker;
    let doing = "run the commands of a stage";
    let options = AttachContainerOptions {
        stdin: true,
        stdout: true,
        stderr: true,
        stream: true,
        logs: false,
        detach_keys: None,
    };
    let attached = docker.attach_container(container.name(), Some(options)).await;
    let AttachContainerResults { output: lines, input } = attached.map_err(|error| failed(doing, error))?;
    let started = docker.start_container(container.name(), None::<StartContainerOptions>).await;
    started.map_err(|error| failed(doing, error))?;
    let ((), broken) = tokio::join!(feed(input, STANDARD.encode(script)), pump(lines, &mut output));
    let (line, tail) = output.finish().await;
    let exit = wait(container).await;
    match (exit, broken) {
        (Ok(exit), _) => ended(exit, line, tail),
        (Err(error), None) => Err(error),
        (Err(_), Some(error)) => Err(failed(doing, error)),
    }
}

pub(crate) async fn feed(mut input: impl AsyncWrite + Unpin, script: String) {
    // A shell that ended early does not read on: its exit code tells, not this.
    if input.write_all(script.as_bytes()).await.is_ok() {
        let _ = input.flush().await;
    }
    let _ = input.shutdown().await;
}

async fn pump(mut lines: impl Stream<Item = Result<LogOutput, Error>> + Unpin, output: &mut Output) -> Option<Error> {
    while let Some(part) = lines.next().await {
        match part {
            Ok(LogOutput::StdErr { message }) => output.push(output::Stream::Err, &message).await,
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                output.push(output::Stream::Out, &message).await;
            }
            Ok(LogOutput::StdIn { .. }) => {}
            Err(error) => return Some(error),
        }
    }
    None
}

async fn wait(container: &Container) -> Result<i64, BackendError> {
    let options = WaitContainerOptions { condition: "not-running".to_owned() };
    let mut answers = Box::pin(container.engine().docker.wait_container(container.name(), Some(options)));
    match answers.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => Ok(code),
        Some(Err(error)) => Err(failed("wait for the commands of a stage", error)),
        None => Err(BackendError::Engine("wait for the commands of a stage: the engine ended the answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_stay_small_and_alike() {
        assert!(arguments()[1].len() < 256);
    }
}
