//! Records of stages, for builds that run elsewhere: look up, publish, reject, be known; and for cleanups that do.

use axum::{body::Body, response::Response};
use slipway_oci::Repo;
use slipway_protocol::{CleanStages, CleanStep, Code, FindStages, KeepBuild, PublishStage, Refusal, RejectStage};

use super::{
    Api, Request,
    answer::{self, refuse},
};

/// Longest request, in bytes.
const REQUEST: usize = 1 << 20;

impl Api {
    pub(super) async fn find_stages(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: FindStages = answer::read(body, REQUEST).await?;
        may_use(request, &asked.repo)?;
        Ok(answer::json(&self.reign()?.find_stages(&asked).await?))
    }

    pub(super) async fn publish_stage(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: PublishStage = answer::read(body, REQUEST).await?;
        may_use(request, &asked.record.at.repo)?;
        let (digest, attempt) = (asked.record.id.digest, asked.attempt.clone());
        let published = self.reign()?.publish_stage(asked).await?;
        tracing::debug!(caller = %request.caller.name, %digest, attempt, "a stage of another process is published");
        Ok(answer::json(&published))
    }

    pub(super) async fn reject_stage(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: RejectStage = answer::read(body, REQUEST).await?;
        may_use(request, &asked.repo)?;
        tracing::info!(caller = %request.caller.name, stage = %asked.stage, "a stage is said to be lost");
        Ok(answer::json(&self.reign()?.reject_stage(&asked).await?))
    }

    pub(super) async fn keep_build(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: KeepBuild = answer::read(body, REQUEST).await?;
        may_use(request, &asked.repo)?;
        Ok(answer::json(&self.reign()?.keep_build(&asked).await?))
    }

    pub(super) async fn clean_stages(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let asked: CleanStages = answer::read(body, REQUEST).await?;
        may_use(request, &asked.repo)?;
        let cleaned = self.reign()?.clean_stages(&asked).await?;
        let (caller, repo, named) = (&request.caller.name, &asked.repo, asked.step.stages().len());
        if named > 0 {
            tracing::info!(%caller, %repo, "a cleanup elsewhere {} {named} stages", done(&asked.step));
        }
        Ok(answer::json(&cleaned))
    }
}

/// Refuses repositories that the caller's token is not for.
fn may_use(request: &Request<'_>, repo: &Repo) -> Result<(), Refusal> {
    if request.caller.may_use(repo) {
        return Ok(());
    }
    let name = &request.caller.name;
    Err(refuse(Code::Forbidden, format!("the token of `{name}` is not for {repo}")))
}

/// What a step does to stages.
fn done(step: &CleanStep) -> &'static str {
    match step {
        CleanStep::Condemn(_) => "condemns",
        CleanStep::Spare(_) => "spares",
        CleanStep::Doom(_) => "dooms",
        CleanStep::Drop(_) => "drops the records of",
        CleanStep::Older(_) | CleanStep::Doomed => "asks about",
    }
}
