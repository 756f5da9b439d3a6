//! What is measured.

use std::time::Duration;

use slipway_coordinator::{
    Event,
    scheduler::estimates::{Class, Estimates},
};
use slipway_process::{Clock as _, SystemClock};
use slipway_stages::{BuildEvent, BuildOptions, Progress, build::Schedule};

use crate::{
    fleet,
    graphs::{Dice, Plan, Shape},
    say,
    statistics::{mean, quantile, resident_mib},
    time::Time,
    world::{self, World, finished},
};

/// How far what is learned is from what will be, at most.
const NOISE: f64 = 0.6;

/// Time over the lower bound, on graphs of all shapes, 60 to 300 images, 16 to 64 workers.
pub(crate) async fn makespan(graphs: u64, millis: u64) {
    let mut ratios = Vec::new();
    for seed in 1..=graphs {
        let mut dice = Dice::new(seed);
        let shape = Shape::ALL[dice.roll(Shape::ALL.len())];
        let (images, workers) = (60 + dice.roll(241), 16 + dice.roll(49));
        let plan = Plan::new(shape, images, Duration::from_millis(millis), &mut dice);
        let took = run(&plan, workers, Schedule::Ready, &mut dice).await;
        let ratio = took.as_secs_f64() / plan.lower_bound(workers).as_secs_f64();
        if ratio > 1.15 {
            say(&format!("  seed {seed}: {shape:?}, {images} images, {workers} workers: {ratio:.3}"));
        }
        ratios.push(ratio);
    }
    let (middle, slowest) = (mean(&ratios), quantile(&ratios, 95));
    say(&format!(
        "makespan / lower bound, {graphs} graphs     mean {middle:.3} (goal 1.05)  p95 {slowest:.3} (goal 1.25)"
    ));
}

/// Set by set, as werf 2 does it, against as soon as possible.
pub(crate) async fn sets(graphs: u64, millis: u64) {
    const WORKERS: usize = 16;
    let (mut all, mut best) = (Vec::new(), Vec::new());
    for shape in Shape::ALL {
        let mut ratios = Vec::new();
        for seed in 1..=graphs {
            let mut dice = Dice::new(seed);
            let plan = Plan::new(shape, 300, Duration::from_millis(millis), &mut dice);
            let ready = run(&plan, WORKERS, Schedule::Ready, &mut dice).await;
            let sets = run(&plan, WORKERS, Schedule::Sets, &mut dice).await;
            ratios.push(sets.as_secs_f64() / ready.as_secs_f64());
            best.push(sets.as_secs_f64() / plan.lower_bound(WORKERS).as_secs_f64());
        }
        let (middle, least) = (mean(&ratios), quantile(&ratios, 1));
        say(&format!("  {shape:?}: mean {middle:.2}, least {least:.2}"));
        all.extend(ratios);
    }
    let (middle, best) = (mean(&all), mean(&best));
    say(&format!(
        "sets / ready, 300 images × 16 workers    mean {middle:.2} (goal 2.00; no schedule can reach more than {best:.2}), \
         {graphs} graphs of each shape"
    ));
}

async fn run(plan: &Plan, workers: usize, schedule: Schedule, dice: &mut Dice) -> Duration {
    let world = World::new(&Time::idle(), workers, 1, learned(plan, dice));
    world.workers_are_there(workers).await;
    // Whoever builds in sets says beforehand how many images of one go at once.
    let parallel = (schedule == Schedule::Sets).then_some(workers);
    let options = BuildOptions { schedule, parallel, ..BuildOptions::default() };
    let build = world::build(world::graph(&plan.config()), options);
    let start = world.clock.monotonic();
    finished(world.hand_in(build).await).await;
    let took = world.clock.monotonic() - start;
    world.end().await;
    took
}

/// What earlier builds might have taught: roughly what is so.
fn learned(plan: &Plan, dice: &mut Dice) -> Estimates {
    let mut estimates = Estimates::default();
    let class = |image: usize, kind: &str| Class {
        project: "bench".to_owned(),
        image: format!("i{image}"),
        kind: kind.to_owned(),
    };
    for (number, image) in plan.images.iter().enumerate() {
        estimates.learn(&class(number, "from"), Duration::ZERO);
        estimates.learn(&class(number, "dependenciesBeforeInstall"), Duration::ZERO);
        for (kind, time) in &image.stages {
            let roughly = time.mul_f64(1.0 - NOISE + 2.0 * NOISE * dice.fraction());
            estimates.learn(&class(number, kind), roughly);
        }
    }
    estimates
}

/// Jobs that take no time, as many as the engine can move.
pub(crate) async fn throughput(images: u64) {
    const WORKERS: usize = 50;
    let world = World::new(&Time::real(), WORKERS, 4, Estimates::default());
    world.workers_are_there(WORKERS).await;
    let rate = jobs_a_second(&world, images).await;
    say(&format!("jobs that take no time, 50 workers       {rate:.0} a second (goal 2000), {} jobs", images * 2));
    world.end().await;
}

/// The same with every stage recorded in etcd, and what that costs.
pub(crate) async fn etcd(address: &str, images: u64) {
    const WORKERS: usize = 50;
    let (world, counted) = World::stored(&Time::real(), WORKERS, 4, address).await;
    world.workers_are_there(WORKERS).await;
    let before = counted.counts();
    let rate = jobs_a_second(&world, images).await;
    let after = counted.counts();
    let each = |before: u64, after: u64| (after - before) as f64 / (images * 2) as f64;
    say(&format!(
        "the same, recorded in one etcd           {rate:.0} a second (goal 300), {} jobs; a stage: {:.2} transactions \
         (goal 3) in {:.2} proposals, {:.2} reads",
        images * 2,
        each(before.parts, after.parts),
        each(before.txns, after.txns),
        each(before.ranges, after.ranges),
    ));
    world.end().await;
}

/// How fast a build of images of two stages goes whose commands take no time.
async fn jobs_a_second(world: &World, images: u64) -> f64 {
    let text: String =
        (0..images).map(|image| format!("---\nimage: i{image}\nfrom: base:{image}\nshell: {{setup: [a]}}\n")).collect();
    let build =
        world::build(world::graph(&format!("project: bench\nconfigVersion: 1\n{text}")), BuildOptions::default());
    let start = world.clock.monotonic();
    finished(world.hand_in(build).await).await;
    let took = world.clock.monotonic() - start;
    (images * 2) as f64 / took.as_secs_f64()
}

/// From the wish for a job to its start, and from the submit of its build, with workers that are not all busy.
pub(crate) async fn dispatch(builds: u64) {
    const WORKERS: usize = 50;
    let world = World::new(&Time::real(), WORKERS, 1, Estimates::default());
    world.workers_are_there(WORKERS).await;
    let config = |number: u64| {
        format!(
            "project: bench\nconfigVersion: 1\n---\nimage: a\nfrom: base:1\nshell: {{setup: [\"sleep 20000 of {number}\"]}}\n"
        )
    };
    finished(world.submit(&config(0), BuildOptions::default()).await).await;
    let (mut from_wish, mut from_submit) = (Vec::new(), Vec::new());
    for number in 1..=builds {
        let build = world::build(world::graph(&config(number)), BuildOptions::default());
        let submitted = world.clock.monotonic();
        let mut events = world.hand_in(build).await;
        let mut wish = None;
        while let Some(event) = events.recv().await {
            if let Event::Progress(Progress::StageStarted { key, .. }) = event {
                wish = Some((world.clock.monotonic(), key));
                break;
            }
        }
        world.read_on(events);
        let Some((wished, key)) = wish else { continue };
        let started = world.started(&key).await;
        from_wish.push(started.saturating_sub(wished).as_secs_f64() * 1e3);
        from_submit.push(started.saturating_sub(submitted).as_secs_f64() * 1e3);
    }
    let line = |what: &str, values: &[f64], goal: &str| {
        let (middle, slowest) = (quantile(values, 50), quantile(values, 99));
        say(&format!("{what} p50 {middle:.2} ms  p99 {slowest:.2} ms{goal}, {builds} builds"));
    };
    line("from the wish for a job to its start    ", &from_wish, " (goals 5 and 25)");
    line("from the submit of its build to its start", &from_submit, "");
    world.end().await;
}

/// The images of [`fleet::project`].
fn planned() -> Vec<slipway_config::Image> {
    let text = fleet::project(|image| format!("base:{image}"));
    slipway_config::parse("werf.yaml", &text).expect("a valid configuration").images
}

/// How long a plan of 20,000 stages takes.
pub(crate) fn plan() {
    let images = planned();
    let estimates = Estimates::default();
    let clock = SystemClock::new(None);
    let mut times = Vec::new();
    for _ in 0..9 {
        let images = images.clone();
        let start = clock.monotonic();
        let mut build = world::build(slipway_stages::Graph::new(images), BuildOptions::default());
        build.expect(&|image, kind| estimates.mean("bench", &image.0, kind.name()));
        let wishes = build.apply(BuildEvent::Started);
        let took = clock.monotonic() - start;
        assert!(!wishes.is_empty(), "the first images start");
        times.push(took.as_secs_f64() * 1e3);
    }
    say(&format!("a plan of 20,000 stages                  {:.1} ms (goal 50)", quantile(&times, 50)));
}

/// Memory over many builds.
pub(crate) async fn soak(builds: u64) {
    let world = World::new(&Time::real(), 8, 4, Estimates::default());
    world.workers_are_there(8).await;
    let config = "project: bench\nconfigVersion: 1\n---\nimage: a\nfrom: base:1\nshell: {setup: [x]}\n---\n\
                  image: b\nfromImage: a\nshell: {setup: [y]}\n";
    let mut early = 0.0;
    for number in 1..=builds {
        finished(world.submit(config, BuildOptions::default()).await).await;
        if number == builds / 10 {
            early = resident_mib();
        }
    }
    let late = resident_mib();
    say(&format!(
        "memory over {builds} builds                 {early:.1} MiB after a tenth, {late:.1} MiB after all (goal ± 10 %)"
    ));
    world.end().await;
}
