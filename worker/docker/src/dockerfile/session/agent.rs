//! An ssh agent of this host, as commands of a build reach it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bollard::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse, ssh_server::Ssh};
use futures::{Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use slipway_backend::SshAgent;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixStream, unix::OwnedWriteHalf},
};
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// Says which agent a stream is for.
const ID: &str = "buildkit.ssh.id";
/// The id of mounts that name none.
const DEFAULT: &str = "default";

/// Connects commands to an agent.
pub(super) struct Forwarder(SshAgent);

impl Forwarder {
    /// To this agent.
    pub(super) fn new(agent: SshAgent) -> Self {
        Self(agent)
    }

    fn check(&self, id: &str) -> Result<(), Status> {
        let id = if id.is_empty() { DEFAULT } else { id };
        if self.0.ids.iter().any(|own| own == id) {
            return Ok(());
        }
        Err(Status::not_found(format!("the image has no ssh agent `{id}`: `ssh: {id}` in werf.yaml gives it one")))
    }
}

#[async_trait]
impl Ssh for Forwarder {
    type ForwardAgentStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn check_agent(&self, request: Request<CheckAgentRequest>) -> Result<Response<CheckAgentResponse>, Status> {
        self.check(&request.get_ref().id)?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        self.check(&id)?;
        let agent = UnixStream::connect(&self.0.socket).await;
        let agent = agent.map_err(|error| Status::unavailable(format!("the ssh agent does not answer: {error}")))?;
        let (answers, questions) = agent.into_split();
        let asking = Some(Box::pin(ask(request.into_inner(), questions)) as BoxFuture<'static, ()>);
        let answers = ReaderStream::new(answers).map(|read| match read {
            Ok(bytes) => Ok(BytesMessage { data: bytes.to_vec() }),
            Err(error) => Err(Status::from(error)),
        });
        Ok(Response::new(Talk { asking, answers: answers.boxed() }.boxed()))
    }
}

/// Passes on what commands ask the agent, until they have nothing more to ask.
async fn ask(mut from: Streaming<BytesMessage>, mut to: OwnedWriteHalf) {
    while let Some(Ok(message)) = from.next().await {
        if to.write_all(&message.data).await.is_err() {
            return;
        }
    }
}

/// Both directions as one stream, which ends when the agent has said all: nothing goes on behind it.
struct Talk {
    asking: Option<BoxFuture<'static, ()>>,
    answers: BoxStream<'static, Result<BytesMessage, Status>>,
}

impl Stream for Talk {
    type Item = Result<BytesMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(asking) = &mut self.asking
            && asking.as_mut().poll(context).is_ready()
        {
            // The agent sees the end of the questions.
            self.asking = None;
        }
        self.answers.poll_next_unpin(context)
    }
}
