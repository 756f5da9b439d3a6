//! Figures of the engine: how close builds come to the shortest time possible, how many jobs it moves, what it costs.
//!
//! Everything passes through the real engine and in-process links; only the workers sleep instead of building, and stages
//! are kept in memory. Schedules are compared in time that passes when nobody has anything to do, see [`time`]. `scripts/bench-scheduler` runs all parts, each in a process of its own:
//!
//! ```text
//! bench makespan [GRAPHS [MILLISECONDS]]   time over the lower bound; MILLISECONDS is what an image takes on average
//! bench sets [GRAPHS [MILLISECONDS]]       the same set by set, 300 images on 16 workers, as a ratio
//! bench throughput [IMAGES]                jobs that take no time
//! bench etcd ADDRESS [IMAGES]              the same with the records of stages in an etcd
//! bench dispatch [BUILDS]                  from the wish for a job to its start on a worker
//! bench plan                               a plan of 20,000 stages
//! bench soak [BUILDS]                      memory over many builds
//! bench project BASE                       prints a project of 20,000 stages
//! bench fleet URL [WORKERS]                workers that only store, for a coordinator in a process of its own
//! ```

mod fleet;
mod graphs;
mod ledger;
mod parts;
mod shelf;
mod statistics;
mod stored;
mod time;
mod workers;
mod world;

use std::io::Write as _;

/// Prints a line of the table.
fn say(line: &str) {
    // Who closed the output does not read it.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |position: usize, default: u64| {
        arguments.get(position).and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(default)
    };
    let text = |position: usize| arguments.get(position).cloned().unwrap_or_default();
    let part = arguments.first().map(String::as_str).unwrap_or_default();
    // That everybody waits for time to pass can only be seen on one thread.
    let mut runtime = match part {
        "makespan" | "sets" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build().expect("the system has threads");
    runtime.block_on(async {
        match part {
            "makespan" => parts::makespan(number(1, 200), number(2, 100)).await,
            "sets" => parts::sets(number(1, 10), number(2, 100)).await,
            "throughput" => parts::throughput(number(1, 5_000)).await,
            "etcd" => parts::etcd(&text(1), number(2, 2_500)).await,
            "dispatch" => parts::dispatch(number(1, 2_000)).await,
            "plan" => parts::plan(),
            "soak" => parts::soak(number(1, 10_000)).await,
            "project" => say(fleet::project(|_| text(1)).trim_end()),
            "fleet" => fleet::work(&text(1), number(2, 50)).await,
            _ => {
                say("bench makespan|sets|throughput|etcd|dispatch|plan|soak|project|fleet [NUMBER [MILLISECONDS]]");
                return std::process::ExitCode::from(2);
            }
        }
        std::process::ExitCode::SUCCESS
    })
}
