//! The coordinator's HTTP interface: its paths, and how it says no.
//!
//! Bodies are JSON. Callers name themselves by `Authorization: Bearer TOKEN`. Only the leader answers; another
//! coordinator says [`Code::NotLeader`] and, when it knows, where the leader is.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /v1/projects/PROJECT/missing` | [`MissingRequest`](crate::MissingRequest) | [`MissingAnswer`](crate::MissingAnswer) |
//! | `/v1/projects/PROJECT/git/…` | git's smart HTTP: push to `refs/slipway/COMMIT`, fetch | git's |
//! | `PUT /v1/builds/NAME` | [`SubmitRequest`](crate::SubmitRequest) | [`BuildSummary`](crate::BuildSummary); the same when repeated |
//! | `GET /v1/builds?limit=N` | | a list of [`BuildSummary`](crate::BuildSummary), newest first |
//! | `GET /v1/builds/NAME` | | [`BuildSummary`](crate::BuildSummary) |
//! | `GET /v1/builds/NAME/events?after=ID` | | [`TimedEvent`](crate::TimedEvent)s, a line each, until the build is over |
//! | `GET /v1/builds/NAME/explain` | | why each job runs where it runs, or waits |
//! | `POST /v1/builds/NAME/cancel` | | [`BuildSummary`](crate::BuildSummary) |
//! | `POST /v1/workers/NAME/sync` | [`Report`](crate::Report) | [`Desired`](crate::Desired), held until there is news |
//! | `POST /v1/workers/NAME/logs` | [`LogLines`] | nothing; lines known already are passed over |
//! | `POST /v1/stages/find` | [`FindStages`](crate::FindStages) | [`FoundStages`](crate::FoundStages) |
//! | `POST /v1/stages/publish` | [`PublishStage`](crate::PublishStage) | [`StagePublished`](crate::StagePublished) |
//! | `POST /v1/stages/reject` | [`RejectStage`](crate::RejectStage) | [`StageRejected`](crate::StageRejected) |
//! | `POST /v1/stages/builds` | [`KeepBuild`](crate::KeepBuild) | [`BuildKept`](crate::BuildKept) |
//! | `GET /readyz` | | [`Readiness`]; 503 when it is not ready |
//! | `GET /livez`, `/metrics`, `/v1/openapi.json` | | |

use serde::{Deserialize, Serialize};

use crate::AttemptId;

/// Lines of output of an attempt.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LogLines {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The number of the first line in the attempt's output, from 0.
    pub offset: u64,
    /// The lines, without their ends; bytes that are no UTF-8 are replaced.
    pub lines: Vec<String>,
}

/// Why a call was not answered as asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The body or a parameter is wrong. 400
    Invalid,
    /// No token, or an unknown one. 401
    Unauthenticated,
    /// The token's role may not do this. 403
    Forbidden,
    /// There is no such build, project or path. 404
    NotFound,
    /// The name stands for another build. 409
    Conflict,
    /// The body is longer than is taken. 413
    TooLarge,
    /// A limit of the coordinator is reached; try later. 429
    Busy,
    /// Another coordinator leads. 503
    NotLeader,
    /// Something that the coordinator needs is away; try later. 503
    Unavailable,
    /// A fault of the coordinator. 500
    Internal,
}

impl Code {
    /// Whether the same call may succeed later, or at another coordinator.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Busy | Self::NotLeader | Self::Unavailable => true,
            Self::Invalid
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::TooLarge
            | Self::Internal => false,
        }
    }

    /// Its HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::NotLeader | Self::Unavailable => 503,
        }
    }
}

/// The body of every answer that is not a 2xx.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// What was being done, what is wrong and what to do, for people. No secrets, no inner addresses.
    pub message: String,
    /// Where the leader is, when another coordinator leads and says so.
    pub leader: Option<String>,
}

/// Whether a coordinator can be called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether it answers calls, or says which coordinator does.
    pub ready: bool,
    /// Whether it leads.
    pub leader: bool,
    /// Where the leader is, when that is another one and says so.
    pub url: Option<String>,
    /// Why it is not ready.
    pub why: Option<String>,
}
