//! Whether it runs, whether it serves, and how it goes.

use axum::{body::Body, response::Response};
use http::StatusCode;
use slipway_protocol::Readiness;

use super::{Api, Standing, answer};
use crate::metrics::Gauges;

/// The process runs.
pub(super) fn live() -> Response {
    answer::typed("text/plain; charset=utf-8", Body::from("ok\n"))
}

impl Api {
    /// Whether calls can be answered here, or are sent to where they can be.
    pub(super) fn ready(&self) -> Response {
        let readiness = match &*self.standing.borrow() {
            Standing::Leading(reign) => Readiness { ready: !reign.is_over(), leader: true, url: None, why: None },
            Standing::Led(url) => Readiness { ready: true, leader: false, url: url.clone(), why: None },
            Standing::Away(why) => Readiness { ready: false, leader: false, url: None, why: Some(why.clone()) },
        };
        let mut answer = answer::json(&readiness);
        if !readiness.ready {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        answer
    }

    pub(super) async fn measurements(&self) -> Response {
        let mut gauges = Gauges { store: self.store.counts(), ..Gauges::default() };
        let standing = self.standing.borrow().clone();
        if let Standing::Leading(reign) = standing {
            gauges.leader = !reign.is_over();
            gauges.open_builds = reign.open_builds();
            gauges.engine = reign.snapshot().await;
        }
        answer::typed("text/plain; version=0.0.4; charset=utf-8", Body::from(self.metrics.text(&gauges)))
    }
}
