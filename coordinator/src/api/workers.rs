//! Workers: they report and are told, and hand over output.

use axum::{body::Body, response::Response};
use slipway_protocol::{Code, CoordinatorLink as _, LogLines, Refusal, Report};

use super::{Api, Request, answer, answer::refuse, not_leader};
use crate::reign::Reign;

/// Longest line of output that is kept whole, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

impl Api {
    /// A worker's state goes up, and its desired state comes down when there is news.
    pub(super) async fn sync(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let link = reign.peers().link(request.name)?;
        let report: Report = answer::read(body, self.limits.report).await?;
        if report.worker != request.name {
            let why = format!("the report is of worker `{}`, the path says `{}`", report.worker, request.name);
            return Err(refuse(Code::Invalid, why));
        }
        if report.attempts.len() > self.limits.attempts {
            let (held, limit) = (report.attempts.len(), self.limits.attempts);
            return Err(refuse(
                Code::TooLarge,
                format!("the report has {held} attempts, and at most {limit} are taken"),
            ));
        }
        let synced = tokio::select! {
            synced = link.sync(report) => synced,
            () = reign.over() => return Err(not_leader(None)),
        };
        synced.map(|desired| answer::json(&desired)).map_err(|_| unheard(&reign))
    }

    /// Lines of output; those that are known already are passed over.
    pub(super) async fn logs(&self, request: &Request<'_>, body: Body) -> Result<Response, Refusal> {
        let reign = self.reign()?;
        let link = reign.peers().link(request.name)?;
        let LogLines { attempt, offset, lines } = answer::read(body, self.limits.logs).await?;
        let lines = lines.into_iter().map(cut).collect();
        let handed = tokio::select! {
            handed = link.lines(&attempt, offset, lines) => handed,
            () = reign.over() => return Err(not_leader(None)),
        };
        handed.map(|()| answer::nothing()).map_err(|why| {
            if reign.is_over() {
                not_leader(None)
            } else {
                refuse(Code::Unavailable, format!("{why}; hand the lines over again"))
            }
        })
    }
}

/// The engine did not answer a worker.
fn unheard(reign: &Reign) -> Refusal {
    if reign.is_over() {
        return not_leader(None);
    }
    refuse(Code::Busy, "a later call of the same worker has taken this one's place")
}

/// A line, cut where it is too long, with a mark.
fn cut(line: String) -> Vec<u8> {
    let mut line = line;
    if line.len() > LONGEST_LINE {
        let end = (0..=LONGEST_LINE).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push_str(" … (cut)");
    }
    line.into_bytes()
}
