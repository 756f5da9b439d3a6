//! What a worker tells of itself, on an address of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

/// Numbers of a worker.
#[derive(Debug)]
pub struct Status {
    slots: u16,
    running: AtomicU64,
    held: AtomicU64,
    silence: AtomicU64,
}

impl Status {
    pub(crate) fn new(slots: u16) -> Self {
        Self { slots, running: AtomicU64::new(0), held: AtomicU64::new(0), silence: AtomicU64::new(0) }
    }

    /// How many attempts run, and how many it holds in all.
    pub(crate) fn holds(&self, running: usize, held: usize) {
        self.running.store(running as u64, Ordering::Relaxed);
        self.held.store(held as u64, Ordering::Relaxed);
    }

    /// How long no coordinator has been heard.
    pub(crate) fn silent_for(&self, silence: Duration) {
        self.silence.store(silence.as_secs(), Ordering::Relaxed);
    }

    /// In the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let gauges = [
            ("slipway_worker_slots", "Jobs that run at once at most.", u64::from(self.slots)),
            ("slipway_jobs_running", "Jobs that run.", self.running.load(Ordering::Relaxed)),
            (
                "slipway_worker_attempts_held",
                "Jobs that run, and results that wait to be published.",
                self.held.load(Ordering::Relaxed),
            ),
            (
                "slipway_worker_coordinator_silent_seconds",
                "How long no coordinator has been heard.",
                self.silence.load(Ordering::Relaxed),
            ),
        ];
        let lines =
            gauges.map(|(name, help, value)| format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        lines.concat()
    }
}

/// Answers `/livez` and `/metrics` as long as it is polled.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, status: Arc<Status>) -> std::io::Result<()> {
    let metrics =
        move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], status.metrics()).into_response() };
    let routes = Router::new().route("/livez", get(|| async { "ok\n" })).route("/metrics", get(metrics));
    axum::serve(listener, routes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        let status = Status::new(4);
        status.holds(2, 3);
        status.silent_for(Duration::from_millis(7900));
        let text = status.metrics();
        for line in [
            "slipway_worker_slots 4",
            "slipway_jobs_running 2",
            "slipway_worker_attempts_held 3",
            "slipway_worker_coordinator_silent_seconds 7",
            "# TYPE slipway_jobs_running gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
