//! What the engine does to the world: publishing, and keeping records.

mod custom_tags;
mod indexes;
mod publish;
mod record;
mod reject;
mod undelivered;
mod whole;

use slipway_protocol::{Failure, Outcome};
use slipway_stages::{
    Answer, BuildEvent, Question,
    build::{JobEnd, StageFailure},
};

pub(crate) use custom_tags::custom_tags;
pub(crate) use indexes::indexed;
pub(crate) use publish::{Published, Rising, publish};
pub(crate) use record::record;
pub(crate) use reject::reject;
pub(crate) use undelivered::{Undelivered, undelivered};

use crate::scheduler::End;

/// How a job's end looks to the build that wanted it; `stands` says whether its stage, if it has one, is visible to others.
pub(crate) fn job_end(end: &End, stands: bool) -> JobEnd {
    match end {
        End::Settled(Outcome::Committed(record), effort) => {
            JobEnd::Stored { record: record.clone(), stands, adopted: false, effort: *effort }
        }
        End::Settled(Outcome::Superseded(record), effort) => {
            JobEnd::Stored { record: record.clone(), stands, adopted: true, effort: *effort }
        }
        End::Settled(Outcome::Dropped, _) => failed("the job was dropped"),
        End::Summed(_) | End::Delivered => failed("the job ended without a stage"),
        End::Failed(failure) => match &failure.lost {
            Some(at) => JobEnd::Lost(at.clone(), stage_failure(failure)),
            None => JobEnd::Failed(stage_failure(failure)),
        },
    }
}

/// What a checksum job's end means to the build that asked the question.
pub(crate) fn summed(question: Question, end: &End) -> BuildEvent {
    let answer = match end {
        End::Summed(sum) => Ok(Answer::Imported(*sum)),
        End::Failed(Failure { lost: Some(at), why, .. }) => {
            return BuildEvent::SourceLost(question, at.clone(), why.clone());
        }
        End::Failed(failure) => Err(failure.why.clone()),
        End::Settled(..) | End::Delivered => Err("the job ended without a checksum".to_owned()),
    };
    BuildEvent::Answered(question, answer)
}

fn stage_failure(failure: &Failure) -> StageFailure {
    StageFailure { why: failure.why.clone(), exit: failure.exit, line: failure.line, tail: failure.tail.clone() }
}

fn failed(why: &str) -> JobEnd {
    JobEnd::Failed(StageFailure::of(why.to_owned()))
}
