//! What commands ask of a coordinator.

use std::time::Duration;

use http::Method;
use slipway_protocol::{BuildName, BuildSummary, MissingAnswer, MissingRequest, SubmitRequest};

use crate::{Client, ClientError, call::Call};

/// How long a submit may take: the coordinator reads the configuration and writes it down.
const SUBMIT: Duration = Duration::from_secs(60);

impl Client {
    /// Which of these commits the coordinator lacks.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn missing(&self, project: &str, request: &MissingRequest) -> Result<MissingAnswer, ClientError> {
        let call = Call::get("ask which commits the coordinator lacks", format!("v1/projects/{project}/missing"));
        self.ask(&call.with(Method::POST, request).patience(SUBMIT, SUBMIT)).await
    }

    /// Submits a build under a name of the caller's choice. Repeated, it is the same build.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn submit(&self, name: &BuildName, request: &SubmitRequest) -> Result<BuildSummary, ClientError> {
        let call = Call::get("submit the build", format!("v1/builds/{name}"));
        self.ask(&call.with(Method::PUT, request).patience(SUBMIT, 2 * SUBMIT)).await
    }

    /// The newest builds, the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn builds(&self) -> Result<Vec<BuildSummary>, ClientError> {
        self.ask(&Call::get("list builds", "v1/builds".to_owned())).await
    }

    /// One build.
    ///
    /// # Errors
    /// [`ClientError`]; [`Code::NotFound`](slipway_protocol::Code::NotFound) when there is none of this name.
    pub async fn build(&self, name: &BuildName) -> Result<BuildSummary, ClientError> {
        self.ask(&Call::get(format!("look at build {name}"), format!("v1/builds/{name}"))).await
    }

    /// Why each job of a build runs where it runs, or waits: JSON, as the coordinator says it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(&self, name: &BuildName) -> Result<serde_json::Value, ClientError> {
        self.ask(&Call::get(format!("explain build {name}"), format!("v1/builds/{name}/explain"))).await
    }

    /// Gives a build up. One that is over stays what it is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cancel(&self, name: &BuildName) -> Result<BuildSummary, ClientError> {
        let call = Call::get(format!("cancel build {name}"), format!("v1/builds/{name}/cancel"));
        self.ask(&Call { method: Method::POST, ..call }).await
    }
}
