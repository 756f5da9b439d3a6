//! `SLIPWAY_TEST_SEED=N` walks as a failed walk did, `SLIPWAY_TEST_STEPS=N` so many steps.

use anyhow::{Context as _, Result};
use slipway_histories::{
    history::History,
    lab::{Lab, What},
};
use slipway_process::{Environment, random_id};

fn number(variable: &str) -> Option<u64> {
    Environment::from_process().non_empty(variable).map(|text| text.parse().expect(variable))
}

async fn walk(what: What, steps: usize) -> Result<()> {
    let seed = number("SLIPWAY_TEST_SEED");
    let seed = seed.unwrap_or_else(|| u64::from_str_radix(&random_id()[..8], 16).expect("hexadecimal digits"));
    let steps = number("SLIPWAY_TEST_STEPS").and_then(|steps| usize::try_from(steps).ok()).unwrap_or(steps);
    let Some(lab) = Lab::open(what).await? else { return Ok(()) };
    let history = History::make(seed, steps, lab.repository())?;
    let walked = lab.walk(&history).await;
    lab.end().await;
    walked.with_context(|| format!("SLIPWAY_TEST_SEED={seed} SLIPWAY_TEST_STEPS={steps}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_commits_are_what_git_says_by_the_native_backend() -> Result<()> {
    walk(What::Native, 1000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_commits_are_what_git_says_by_a_docker_engine() -> Result<()> {
    walk(What::Docker, 100).await
}
