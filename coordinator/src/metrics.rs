//! Measurements, as Prometheus reads them. Labels come from this program only: their values are few.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use slipway_kv::Counts;
use slipway_protocol::BuildState;

use crate::{engine::EngineSnapshot, scheduler::Waited};

/// What is counted, over all terms of this process.
#[derive(Default)]
pub(crate) struct Metrics {
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    terms: AtomicU64,
    terms_lost: AtomicU64,
    fences_refused: Arc<AtomicU64>,
    /// By call and status. A lock for one addition.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

/// What is measured at the moment it is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Gauges {
    /// Whether this coordinator leads.
    pub(crate) leader: bool,
    /// Builds that are not over.
    pub(crate) open_builds: usize,
    /// Jobs and workers.
    pub(crate) engine: EngineSnapshot,
    /// What the store was asked.
    pub(crate) store: Counts,
}

impl Metrics {
    /// A build has ended.
    pub(crate) fn build_ended(&self, state: BuildState) {
        let counter = match state {
            BuildState::Running => return,
            BuildState::Succeeded => &self.succeeded,
            BuildState::Failed => &self.failed,
            BuildState::Cancelled => &self.cancelled,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// This coordinator has begun to lead.
    pub(crate) fn term_began(&self) {
        self.terms.fetch_add(1, Ordering::Relaxed);
    }

    /// It has lost its lease.
    pub(crate) fn term_lost(&self) {
        self.terms_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts writes that the store refused because of the fence of a leader or of an attempt.
    pub(crate) fn fences_refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.fences_refused)
    }

    /// A call was answered.
    pub(crate) fn answered(&self, call: String, status: u16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((call, status)).or_default() += 1;
    }

    /// Everything, as text.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let mut page = Page::default();
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        page.one("slipway_leader", "gauge", "Whether this coordinator leads.", u64::from(gauges.leader));
        page.one("slipway_builds_open", "gauge", "Builds that are not over.", gauges.open_builds as u64);
        page.engine(&gauges.engine, read(&self.terms_lost));
        page.head("slipway_builds_total", "counter", "Builds that ended, by how.");
        for (result, number) in
            [("succeeded", &self.succeeded), ("failed", &self.failed), ("cancelled", &self.cancelled)]
        {
            page.labelled("slipway_builds_total", &format!("result=\"{result}\""), read(number));
        }
        page.one("slipway_terms_total", "counter", "Times that this coordinator has begun to lead.", read(&self.terms));
        let store = gauges.store;
        page.one("slipway_etcd_txns_total", "counter", "Calls that wrote to the store.", store.txns);
        page.one("slipway_etcd_reads_total", "counter", "Calls that read from the store.", store.ranges);
        let refused = "Writes that the store refused because the fence of a leader or of an attempt had fallen.";
        page.one("slipway_fences_refused_total", "counter", refused, read(&self.fences_refused));
        let refused = "Writes that the store refused because their conditions did not hold, whatever these were.";
        page.one("slipway_etcd_refused_total", "counter", refused, store.refused);
        page.one("slipway_etcd_unknown_total", "counter", "Writes whose outcome was not told.", store.unknown);
        page.head("slipway_http_requests_total", "counter", "Calls that were answered, by call and status.");
        for ((call, status), number) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("call=\"{call}\",status=\"{status}\"");
            page.labelled("slipway_http_requests_total", &labels, *number);
        }
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string succeeds.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Jobs and workers of this term; leases are those of workers and those of leaders.
    fn engine(&mut self, engine: &EngineSnapshot, terms_lost: u64) {
        let scheduler = &engine.scheduler;
        self.head("slipway_queue_depth", "gauge", "Jobs that wait, by what they wait for.");
        for (state, number) in
            [("worker", scheduler.queued), ("base", scheduler.parked), ("retry", scheduler.backing_off)]
        {
            self.labelled("slipway_queue_depth", &format!("state=\"{state}\""), number as u64);
        }
        self.head("slipway_jobs_running", "gauge", "Jobs that are done right now, by how far they are.");
        for (state, number) in [("running", scheduler.running), ("publishing", scheduler.publishing)] {
            self.labelled("slipway_jobs_running", &format!("state=\"{state}\""), number as u64);
        }
        self.head("slipway_workers", "gauge", "Workers that are known, by whether they are heard.");
        let alive = scheduler.workers.iter().filter(|worker| worker.alive).count();
        for (state, number) in [("alive", alive), ("lost", scheduler.workers.len() - alive)] {
            self.labelled("slipway_workers", &format!("state=\"{state}\""), number as u64);
        }
        let taking = scheduler.workers.iter().filter(|worker| worker.alive && !worker.drain);
        let slots = taking.map(|worker| u64::from(worker.slots)).sum();
        self.one("slipway_slots", "gauge", "Slots of all workers that take jobs.", slots);
        let counters = scheduler.counters;
        self.head("slipway_dedup_total", "counter", "What became of wishes for stages.");
        for (result, number) in [
            ("new", counters.new),
            ("joined", counters.joined),
            ("cached", engine.cached),
            ("discarded", counters.discarded),
        ] {
            self.labelled("slipway_dedup_total", &format!("result=\"{result}\""), number);
        }
        self.head(
            "slipway_leases_lost_total",
            "counter",
            "Leases that ended without being given up, by whose they were.",
        );
        self.labelled("slipway_leases_lost_total", "of=\"worker\"", counters.leases_lost);
        self.labelled("slipway_leases_lost_total", "of=\"leader\"", terms_lost);
        for (name, number, help) in [
            ("slipway_retries_total", counters.retried, "Attempts after a failure of the infrastructure."),
            ("slipway_doubled_total", counters.doubled, "Second attempts at slow jobs."),
            ("slipway_stuck_total", counters.stuck, "Attempts that were stopped because they led nowhere."),
            ("slipway_impossible_total", counters.impossible, "Jobs that no worker could take."),
            ("slipway_adopted_total", counters.adopted, "Attempts that were taken over from an earlier leader."),
        ] {
            self.one(name, "counter", help, number);
        }
        self.waited(&scheduler.waited);
    }

    fn waited(&mut self, waited: &Waited) {
        let name = "slipway_dispatch_seconds";
        self.head(name, "histogram", "How long jobs waited until they were given out.");
        for (end, count) in waited.buckets() {
            self.labelled(&format!("{name}_bucket"), &format!("le=\"{}\"", end.as_secs_f64()), count);
        }
        self.labelled(&format!("{name}_bucket"), "le=\"+Inf\"", waited.count());
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {}", waited.sum().as_secs_f64(), waited.count());
    }

    fn labelled(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_head_for_every_name() {
        let metrics = Metrics::default();
        metrics.build_ended(BuildState::Failed);
        metrics.answered("submit".to_owned(), 200);
        let page = metrics.text(&Gauges { leader: true, open_builds: 2, ..Gauges::default() });
        for line in [
            "slipway_leader 1",
            "slipway_builds_open 2",
            "slipway_builds_total{result=\"failed\"} 1",
            "slipway_http_requests_total{call=\"submit\",status=\"200\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(page.contains(&format!("# TYPE {family} ")), "{name}");
        }
    }
}
