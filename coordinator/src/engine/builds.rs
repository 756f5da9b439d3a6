//! The builds that run, and their readers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use slipway_config::ImageName;
use slipway_oci::Platform;
use slipway_process::Tasks;
use slipway_protocol::{HandedSecret, Hidden, Job, Requirements, SecretValues, secrets};
use slipway_stages::{
    Answer, Build, BuildEvent, Progress, SecretUse, StageKind, Wish,
    build::{BuildFailure, BuiltImage, JobKey},
};
use slipway_telemetry::SpanContext;
use tokio::sync::mpsc;

use super::{BuildId, Event, LogRoute, Submission, deliveries::Delivering};
use crate::{outside::Outside, scheduler};

/// Notices that a build is told; further ones are left out.
const NOTICES: usize = 1000;

struct Running {
    build: Build,
    outside: Arc<Outside>,
    /// The span that its jobs belong to.
    trace: Option<SpanContext>,
    requires: Requirements,
    commands: Vec<(ImageName, Platform)>,
    secrets: SecretValues,
    reader: mpsc::Sender<Event>,
    /// Events on their way to the reader. There are a few for each stage of the build and [`NOTICES`], so it needs no
    /// bound, and the owner must not wait; log lines, of which there may be any number, go to the bounded reader directly.
    outgoing: mpsc::UnboundedSender<Event>,
    /// Which stage a job builds, for its log lines.
    stages: HashMap<scheduler::Key, (ImageName, StageKind)>,
    /// Whether the reader knows that the history is cut off.
    told_shallow: bool,
    /// Whether all is built, and only its records are still written.
    recording: bool,
    /// Its images, while they are brought to the final repository.
    delivering: Option<Delivering>,
    /// What the reader was last told to know.
    notice: Option<String>,
    /// How many notices it was told.
    notices: usize,
}

/// All builds of an engine.
#[derive(Default)]
pub(super) struct Builds {
    running: BTreeMap<BuildId, Running>,
    counter: u64,
    cached: u64,
}

impl Builds {
    pub(super) fn add(&mut self, submission: Submission, reader: mpsc::Sender<Event>, tasks: &Tasks) -> BuildId {
        let id = BuildId(self.next_number());
        let (outgoing, mut events) = mpsc::unbounded_channel();
        let forward = reader.clone();
        tasks.spawn(async move {
            while let Some(event) = events.recv().await {
                if forward.send(event).await.is_err() {
                    return;
                }
            }
        });
        let Submission { build, outside, trace, requires, commands, secrets } = submission;
        let running = Running {
            build,
            outside: Arc::new(outside),
            trace,
            requires,
            commands,
            secrets,
            reader,
            outgoing,
            stages: HashMap::new(),
            told_shallow: false,
            recording: false,
            delivering: None,
            notice: None,
            notices: 0,
        };
        self.running.insert(id, running);
        id
    }

    /// A number that no build and no subscriber has had.
    pub(super) fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn apply(&mut self, id: BuildId, event: BuildEvent) -> Vec<Wish> {
        self.running.get_mut(&id).map(|running| running.build.apply(event)).unwrap_or_default()
    }

    /// A history that is cut off costs reuse, and nobody sees why: it is said once.
    pub(super) fn note_answer(&mut self, id: BuildId, answer: &Result<Answer, String>) {
        let Some(running) = self.running.get_mut(&id) else { return };
        if *answer == Ok(Answer::Ancestor(None)) && !running.told_shallow {
            running.told_shallow = true;
            tracing::warn!(
                "the git history is cut off (shallow clone): stages that were built at commits beyond it are not \
                 reused; run `git fetch --unshallow`"
            );
        }
    }

    pub(super) fn outside(&self, id: BuildId) -> Option<Arc<Outside>> {
        self.running.get(&id).map(|running| Arc::clone(&running.outside))
    }

    pub(super) fn tell(&mut self, id: BuildId, event: Event) {
        let Some(running) = self.running.get_mut(&id) else { return };
        self.cached += u64::from(matches!(event, Event::Progress(Progress::StageFound { .. })));
        if let Event::Progress(Progress::StageStarted { image, kind, key, .. }) = &event {
            let name = scheduler_key(&running.outside, key);
            running.stages.insert(name, (image.clone(), *kind));
        }
        // A reader that went away misses nothing.
        let _ = running.outgoing.send(event);
    }

    /// Tells what is to be known of the repositories of a build, and what has gone wrong with those that it can do without.
    pub(super) fn tell_troubles(&mut self, id: BuildId) {
        let Some(outside) = self.outside(id) else { return };
        let caches = outside.beside.caches.iter().filter_map(|cache| cache.untold());
        for trouble in caches.chain(outside.primary.untold()) {
            self.tell(id, Event::Notice(trouble));
        }
    }

    /// The span that the jobs of a build belong to.
    pub(super) fn trace(&self, id: BuildId) -> Option<SpanContext> {
        self.running.get(&id).and_then(|running| running.trace)
    }

    /// What each job of a build needs of a worker.
    pub(super) fn requires(&self, id: BuildId) -> Requirements {
        self.running.get(&id).map(|running| running.requires.clone()).unwrap_or_default()
    }

    /// Platforms whose programs the commands of a build are, each with an image.
    pub(super) fn commands(&self, id: BuildId) -> &[(ImageName, Platform)] {
        self.running.get(&id).map(|running| running.commands.as_slice()).unwrap_or_default()
    }

    /// The secrets and ssh keys of a build that the commands of a job use, as far as they are known.
    pub(super) fn hidden(&self, id: BuildId, job: &Job) -> (Vec<HandedSecret>, Vec<Hidden>) {
        let (Some(running), Job::Stage(plan)) = (self.running.get(&id), job) else { return Default::default() };
        let handed = |used: &SecretUse| {
            Some(HandedSecret { id: used.id.clone(), content: running.secrets.get(&used.key)?.clone() })
        };
        let secrets = plan.secrets.iter().filter_map(handed).collect();
        let keys = (0..).map_while(|number| running.secrets.get(&secrets::ssh_key(number)).cloned());
        (secrets, if plan.body.has_commands() { keys.collect() } else { Vec::new() })
    }

    /// The name of a build's project.
    pub(super) fn project(&self, id: BuildId) -> String {
        self.running.get(&id).map(|running| running.build.project().to_owned()).unwrap_or_default()
    }

    /// How many builds are under way.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// How many stages have been found stored.
    pub(super) fn cached(&self) -> u64 {
        self.cached
    }

    /// Which stage a job builds for a build.
    pub(super) fn stage(&self, id: BuildId, job: &str) -> Option<(ImageName, StageKind)> {
        self.running.get(&id)?.stages.get(job).cloned()
    }

    /// A job has ended: it says no more.
    pub(super) fn forget_stage(&mut self, id: BuildId, job: &str) {
        if let Some(running) = self.running.get_mut(&id) {
            running.stages.remove(job);
        }
    }

    /// Whether the reader of a build does not know this yet. From now on it does.
    pub(super) fn is_new(&mut self, id: BuildId, notice: &str) -> bool {
        let Some(running) = self.running.get_mut(&id) else { return false };
        if running.notices >= NOTICES || running.notice.as_deref() == Some(notice) {
            return false;
        }
        running.notices += 1;
        running.notice = Some(notice.to_owned());
        true
    }

    pub(super) fn finish(&mut self, id: BuildId, result: Result<Vec<BuiltImage>, BuildFailure>) {
        self.tell(id, Event::Finished(result));
        self.running.remove(&id);
    }

    /// Whether a build may build nothing.
    pub(super) fn requires_built(&self, id: BuildId) -> bool {
        self.running.get(&id).is_some_and(|running| running.build.requires_built())
    }

    /// The images of a build are brought to the final repository.
    pub(super) fn delivering(&mut self, id: BuildId, delivering: Delivering) {
        if let Some(running) = self.running.get_mut(&id) {
            running.delivering = Some(delivering);
        }
    }

    /// One of them is there.
    pub(super) fn has_delivered(&mut self, id: BuildId, key: &JobKey) {
        if let Some(delivering) = self.running.get_mut(&id).and_then(|running| running.delivering.as_mut()) {
            delivering.done(key);
        }
    }

    /// The images of a build, when all are there that are to be.
    pub(super) fn all_delivered(&mut self, id: BuildId) -> Option<Vec<BuiltImage>> {
        self.running.get_mut(&id)?.delivering.as_mut()?.images()
    }

    /// All is built: from now on only records are written, and images delivered.
    pub(super) fn recording(&mut self, id: BuildId) {
        if let Some(running) = self.running.get_mut(&id) {
            running.recording = true;
        }
    }

    pub(super) fn is_recording(&self, id: BuildId) -> bool {
        self.running.get(&id).is_some_and(|running| running.recording)
    }

    /// Builds that publish to one place share their jobs.
    pub(super) fn scheduler_key(&self, id: BuildId, key: &JobKey) -> scheduler::Key {
        self.running.get(&id).map_or_else(|| key.0.clone(), |running| scheduler_key(&running.outside, key))
    }

    pub(super) fn log_route(&self, id: BuildId, job: &str) -> Option<LogRoute> {
        let (image, kind) = self.stage(id, job)?;
        let running = self.running.get(&id)?;
        Some(LogRoute { image, kind, reader: running.reader.downgrade() })
    }
}

fn scheduler_key(outside: &Outside, key: &JobKey) -> scheduler::Key {
    match &outside.push_to {
        Some(repo) => format!("{repo}/{}", key.0).into(),
        None => key.0.clone(),
    }
}
