//! Following a build: its events, whatever happens to connections and coordinators.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::Response;
use slipway_protocol::{BuildEvent, BuildName, TimedEvent};
use url::Url;

use crate::{
    Client, ClientError,
    call::{Call, Trouble},
    connection::cause,
    known::Known,
};

/// How long a coordinator may take to begin telling.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a coordinator may tell nothing before it is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest event, in bytes.
const LONGEST: usize = 64 << 20;

/// What a follower is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// Something happened in the build.
    Event(BuildEvent),
    /// The connection was lost; why. Asking again finds another one, to whichever coordinator leads then. That one may
    /// lack what only this client has.
    Lost(String),
}

/// The events of one build, each told once.
pub struct Events {
    client: Client,
    build: BuildName,
    /// How long coordinators may be away before the follower gives up.
    patience: Duration,
    known: Known,
    stream: Option<Stream>,
}

struct Stream {
    at: Url,
    response: Response,
    /// What has come and is no whole line yet.
    rest: BytesMut,
    /// How much of `rest` was looked through.
    looked: usize,
}

impl Client {
    /// The events of a build from its beginning. They go on as long as coordinators are not away for longer than
    /// `patience` at a stretch.
    pub fn events(&self, build: BuildName, patience: Duration) -> Events {
        Events { client: self.clone(), build, patience, known: Known::default(), stream: None }
    }
}

impl Events {
    /// Waits for the next event. After [`BuildEvent::Finished`] there is none. A caller that gives up waiting loses
    /// nothing.
    ///
    /// # Errors
    /// When the build is not there, or when no coordinator answers for as long as the follower waits.
    pub async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            if self.stream.is_none() {
                self.stream = Some(self.connect().await?);
            }
            let stream = self.stream.as_mut().expect("it was opened");
            match stream.line(&self.client).await {
                Ok(line) => {
                    let timed: TimedEvent = serde_json::from_slice(&line).map_err(|error| ClientError::Malformed {
                        doing: format!("follow build {}", self.build),
                        why: error.to_string(),
                    })?;
                    if let Some(event) = self.known.take(timed) {
                        return Ok(Told::Event(event));
                    }
                }
                Err(why) => {
                    let at = stream.at.clone();
                    self.stream = None;
                    self.client.note(&at, &Trouble::Away(why.clone()));
                    return Ok(Told::Lost(why));
                }
            }
        }
    }

    async fn connect(&self) -> Result<Stream, ClientError> {
        let after = self.known.last().map(|last| format!("?after={last}")).unwrap_or_default();
        let call = Call::get(format!("follow build {}", self.build), format!("v1/builds/{}/events{after}", self.build));
        let (at, response) = self.client.open(&call.patience(ANSWER, self.patience)).await?;
        Ok(Stream { at, response, rest: BytesMut::new(), looked: 0 })
    }
}

impl Stream {
    /// The next line; an error when the stream is broken off or its coordinator does not live any more.
    async fn line(&mut self, client: &Client) -> Result<BytesMut, String> {
        loop {
            if let Some(end) = self.rest[self.looked..].iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(self.looked + end + 1);
                self.looked = 0;
                // An empty line is a sign of life.
                if line.len() > 1 {
                    return Ok(line);
                }
                continue;
            }
            self.looked = self.rest.len();
            if self.looked > LONGEST {
                return Err(format!("an event has more than {LONGEST} bytes"));
            }
            match tokio::time::timeout(SILENCE, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.rest.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Err(format!("{} stopped telling", self.at)),
                Ok(Err(error)) => return Err(format!("{}: {}", self.at, cause(&error))),
                Err(_) if client.is_alive(&self.at).await => {}
                Err(_) => return Err(format!("{} does not answer", self.at)),
            }
        }
    }
}
