//! Records of stages, for builds that run elsewhere: look up, publish, reject, be known.

use axum::{body::Body, response::Response};
use slipway_protocol::{FindStages, KeepBuild, PublishStage, Refusal, RejectStage};

use super::{Api, Request, answer};

/// Longest request, in bytes.
const REQUEST: usize = 1 << 20;

impl Api {
    pub(super) async fn find_stages(&self, body: Body) -> Result<Response, Refusal> {
        let asked: FindStages = answer::read(body, REQUEST).await?;
        Ok(answer::json(&self.reign()?.find_stages(&asked).await?))
    }

    pub(super) async fn publish_stage(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: PublishStage = answer::read(body, REQUEST).await?;
        let (digest, attempt) = (asked.record.id.digest, asked.attempt.clone());
        let published = self.reign()?.publish_stage(asked).await?;
        tracing::debug!(caller = %request.caller.name, %digest, attempt, "a stage of another process is published");
        Ok(answer::json(&published))
    }

    pub(super) async fn reject_stage(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: RejectStage = answer::read(body, REQUEST).await?;
        tracing::info!(caller = %request.caller.name, stage = %asked.stage, "a stage is said to be lost");
        Ok(answer::json(&self.reign()?.reject_stage(&asked).await?))
    }

    pub(super) async fn keep_build(&self, body: Body) -> Result<Response, Refusal> {
        let asked: KeepBuild = answer::read(body, REQUEST).await?;
        Ok(answer::json(&self.reign()?.keep_build(&asked).await?))
    }
}
