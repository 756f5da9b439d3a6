//! Workers of a coordinator in another process, and a project for it: what a coordinator costs where it really runs.

use std::{fmt::Write as _, sync::Arc};

use slipway_client::{Addresses, Client, HttpLink, LinkOptions};
use slipway_process::{SystemClock, Tasks};
use slipway_registry::Options;

use crate::{
    say,
    shelf::Shelf,
    time::Time,
    workers::{Starts, Worker},
};

/// Images of the project: each has five stages.
const IMAGES: usize = 4_000;
/// Images that stand on the base image; each other one stands on an earlier image, so there are a few levels.
const ROOTS: usize = 40;

/// `werf.yaml` of a project of 20,000 stages.
pub(crate) fn project(base: impl Fn(usize) -> String) -> String {
    (0..IMAGES).fold("project: bench\nconfigVersion: 1\n".to_owned(), |mut text, image| {
        let base = if image < ROOTS { format!("from: {}", base(image)) } else { format!("fromImage: i{}", image / 3) };
        let stages = format!("beforeInstall: [a], install: [b], beforeSetup: [c], setup: [d{image}]");
        writeln!(text, "---\nimage: i{image}\n{base}\nshell: {{{stages}}}").expect("text can be written to");
        text
    })
}

/// So many workers of four slots at the coordinator at `url`, until the process is ended.
pub(crate) async fn work(url: &str, workers: u64) {
    let tasks = Tasks::new();
    let registry = slipway_registry::Client::new(Options::default()).expect("a client of registries");
    let scratch = std::env::temp_dir().join(format!("slipway-bench-fleet-{}", std::process::id()));
    for number in 0..workers {
        let worker = format!("w{number}");
        let addresses = Addresses::new(&[url]).unwrap_or_else(|error| panic!("{url}: {error}"));
        let client = Client::new(addresses, None, Arc::new(SystemClock::new(None))).expect("a client of coordinators");
        let options = LinkOptions { worker: worker.clone(), spool: scratch.join(&worker) };
        let link = Arc::new(HttpLink::new(client, options, &tasks));
        let worker_of =
            Worker::new(link, Shelf::Registry(registry.clone()), (&Time::real(), &Starts::default(), &tasks));
        tasks.spawn(worker_of.run(worker, 4));
    }
    say(&format!("{workers} workers for {url}"));
    std::future::pending::<()>().await;
}
