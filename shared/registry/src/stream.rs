//! A blob on its way up in one request, to registries that take no chunks.

use bytes::Bytes;
use futures::stream;
use reqwest::{Body, Response};
use slipway_process::Tasks;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::{
    Client, RegistryError,
    call::{Call, STORING},
    retry::Trouble,
};

/// Pieces that wait to be sent.
const WAITING: usize = 2;

/// The request. It ends when this is finished or dropped.
pub(crate) struct Stream {
    call: Call,
    feed: mpsc::Sender<std::io::Result<Bytes>>,
    answer: JoinHandle<Option<Result<Response, Trouble>>>,
}

impl Stream {
    /// Begins the request.
    pub(crate) fn begin(client: &Client, call: Call) -> Self {
        let (feed, pieces) = mpsc::channel(WAITING);
        let pieces =
            stream::unfold(pieces, |mut pieces: mpsc::Receiver<_>| async move { Some((pieces.recv().await?, pieces)) });
        let (transport, sent, body) = (client.shared_transport(), call.clone(), Body::wrap_stream(pieces));
        let answer = Tasks::new().spawn(async move { transport.stream(&sent, body).await });
        Self { call, feed, answer }
    }

    /// Sends a piece.
    ///
    /// # Errors
    /// When the registry takes no more.
    pub(crate) async fn send(&mut self, piece: Bytes) -> Result<(), RegistryError> {
        match timeout(STORING, self.feed.send(Ok(piece))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(match (&mut self.answer).await.ok().flatten() {
                Some(Err(Trouble::Final(error) | Trouble::Passing { error, .. })) => error,
                Some(Ok(_)) | None => self.broken("the registry answered before it had the whole blob"),
            }),
            Err(_) => Err(self.broken(&format!("nothing was taken for {} s", STORING.as_secs()))),
        }
    }

    /// Ends the request; answers what the registry says.
    ///
    /// # Errors
    /// When it was not taken: the whole blob is to be sent again.
    pub(crate) async fn finish(self) -> Result<Response, RegistryError> {
        let Self { call, feed, answer } = self;
        drop(feed);
        let broken = |why: &str| RegistryError::Unavailable(call.say(format_args!("{why}; upload the blob again")));
        match timeout(STORING, answer).await {
            Ok(answer) => match answer.ok().flatten() {
                Some(Ok(response)) => Ok(response),
                Some(Err(Trouble::Final(error) | Trouble::Passing { error, .. })) => Err(error),
                None => Err(broken("the request ended early")),
            },
            Err(_) => Err(broken(&format!("no answer within {} s", STORING.as_secs()))),
        }
    }

    fn broken(&self, why: &str) -> RegistryError {
        RegistryError::Unavailable(self.call.say(format_args!("{why}; upload the blob again")))
    }
}
