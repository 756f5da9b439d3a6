//! What becomes of a configuration: rendered, read, planned, and how long that takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use slipway_config::{Config, ImageKind, Problems};
use slipway_paths::TreePath;
use slipway_render::{Commit, Configuration, Limits, Rendering, Surroundings, TemplateFile, World, render};
use slipway_stages::Graph;

use crate::{
    oracle::{Answer, Question},
    project::{Project, Seen},
};

/// Values of `--env`, and of every variable, tried in this order: real projects ask for something, seldom for what.
const TRIES: [(&str, &str); 6] =
    [("production", ""), ("CE", ""), ("production", "value"), ("CE", "value"), ("dev", "1"), ("EE", "true")];

/// What became of one configuration.
pub(crate) struct Outcome {
    config: String,
    project: String,
    question: Question,
    rendering: Result<Rendering, Problems>,
    read: Option<Result<Config, Problems>>,
    /// Sets of images; what the plan names that is not in the listing.
    plan: Option<(usize, Vec<String>)>,
    took: Took,
}

#[derive(Default)]
struct Took {
    render: Duration,
    read: Duration,
    plan: Duration,
}

/// A clock that stands still.
struct Still;

impl World for Still {
    fn now(&self) -> (i64, u32) {
        (1_704_067_200, 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// A configuration ready to be rendered, again and again.
pub(crate) struct Ready {
    configuration: Configuration,
    seen: Arc<dyn Surroundings>,
}

impl Ready {
    pub(crate) fn new(project: &Project, config: &str, (env, variable): (&str, &str)) -> Ready {
        // What a file holds that is not given, nobody knows.
        let text = |path: &str| {
            let bytes = project.contents.get(path).map_or(&[][..], Vec::as_slice);
            String::from_utf8_lossy(bytes).into_owned()
        };
        let prefix = TreePath::new(config).expect("a path").parent().unwrap_or_default();
        let below = prefix.join(b".werf");
        let template = |path: &String| {
            let name = TreePath::new(path).ok()?.below(&below)?.to_string();
            name.ends_with(".tmpl").then(|| TemplateFile { name, file: path.clone(), text: text(path) })
        };
        let configuration = Configuration {
            file: config.to_owned(),
            text: text(config),
            templates: project.paths.iter().filter_map(template).collect(),
            environment: env.to_owned(),
            commit: Commit {
                hash: "0".repeat(40),
                human: "2024-01-01 00:00:00 +0000 +0000".to_owned(),
                unix: 1_704_067_200,
            },
        };
        let (contents, paths) = (project.contents.clone(), project.paths.clone());
        Ready { configuration, seen: Arc::new(Seen { prefix, contents, paths, variable: variable.to_owned() }) }
    }

    /// The same with its main template so many times over.
    pub(crate) fn times(&self, times: usize) -> Ready {
        let mut configuration = self.configuration.clone();
        // What a file defines may be there once only: the copies are files of their own.
        let copy = |index: usize| TemplateFile {
            name: format!("copy-{index}"),
            file: format!("copy-{index}"),
            text: self.configuration.text.clone(),
        };
        configuration.templates.extend((1..times).map(copy));
        configuration.text +=
            &(1..times).map(|index| format!("{{{{ include \"copy-{index}\" . }}}}")).collect::<String>();
        Ready { configuration, seen: Arc::clone(&self.seen) }
    }

    pub(crate) fn render(&self) -> Result<Rendering, Problems> {
        render(&self.configuration, &self.seen, Arc::new(Still), Limits::default())
    }
}

/// Renders, reads and plans a configuration: with the values that get it furthest.
pub(crate) fn of(project: &Project, config: &str) -> Outcome {
    let mut best: Option<Outcome> = None;
    for values in TRIES {
        let outcome = attempt(project, config, values);
        if best.as_ref().is_none_or(|best| outcome.progress() > best.progress()) {
            best = Some(outcome);
        }
        if best.as_ref().is_some_and(|best| best.progress() == 2) {
            break;
        }
    }
    best.expect("there is a try")
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is told")]
fn attempt(project: &Project, config: &str, values: (&str, &str)) -> Outcome {
    let ready = Ready::new(project, config, values);
    let mut took = Took::default();
    let start = Instant::now();
    let rendering = ready.render();
    took.render = start.elapsed();
    let traced = |problems: Problems| match &rendering {
        Ok(rendering) => problems.traced(|position| rendering.origin(position)),
        Err(_) => problems,
    };
    let start = Instant::now();
    let read = rendering.as_ref().ok().map(|rendering| slipway_config::parse(config, &rendering.text).map_err(traced));
    took.read = start.elapsed();
    let start = Instant::now();
    let plan = read.as_ref().and_then(|read| read.as_ref().ok()).map(|config| {
        let sets = Graph::new(config.images.clone()).sets().len();
        (sets, absent(project, &ready.configuration, config))
    });
    took.plan = start.elapsed();
    let question = Question {
        folder: project.folder.clone(),
        listing: project.listing.clone(),
        config: config.to_owned(),
        prefix: config.rsplit_once('/').map(|(prefix, _)| prefix.to_owned()).unwrap_or_default(),
        env: values.0.to_owned(),
        variable: values.1.to_owned(),
        repeat: 0,
    };
    Outcome { config: config.to_owned(), project: project.name.clone(), question, rendering, read, plan, took }
}

/// What the images take from the repository that is not in its listing.
fn absent(project: &Project, configuration: &Configuration, config: &Config) -> Vec<String> {
    let prefix = TreePath::new(&configuration.file).expect("a path").parent().unwrap_or_default();
    let is_there = |path: &TreePath| {
        let (own, below) = (path.to_string(), format!("{path}/"));
        let among = || project.paths.range(below.clone()..).next().is_some_and(|path| path.starts_with(&below));
        path.is_root() || project.paths.contains(&own) || among()
    };
    let mut absent = Vec::new();
    for image in &config.images {
        let wanted: Vec<TreePath> = match &image.kind {
            ImageKind::Stapel(stapel) => {
                let own = stapel.git.iter().filter(|mapping| mapping.remote.is_none());
                own.map(|mapping| mapping.add.clone()).collect()
            }
            ImageKind::Dockerfile(dockerfile) => vec![prefix.join(dockerfile.dockerfile.as_bytes())],
        };
        absent.extend(wanted.iter().filter(|path| !is_there(path)).map(|path| format!("{}: {path}", image.name())));
    }
    absent
}

impl Outcome {
    fn progress(&self) -> usize {
        usize::from(self.rendering.is_ok()) + usize::from(matches!(self.read, Some(Ok(_))))
    }

    pub(crate) fn question(&self, repeat: u32) -> Question {
        Question { repeat, ..self.question.clone() }
    }

    /// Bytes of the text.
    pub(crate) fn size(&self) -> Option<usize> {
        self.rendering.as_ref().ok().map(|rendering| rendering.text.len())
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.project, self.config)
    }

    pub(crate) fn rendered(&self) -> &'static str {
        if self.rendering.is_ok() { "yes" } else { "no" }
    }

    pub(crate) fn validated(&self) -> &'static str {
        match &self.read {
            None => "-",
            Some(Ok(_)) => "yes",
            Some(Err(_)) => "no",
        }
    }

    pub(crate) fn planned(&self) -> &'static str {
        match &self.plan {
            None => "-",
            Some((_, absent)) if absent.is_empty() => "yes",
            Some(_) => "in part",
        }
    }

    /// How what Go says compares: the same text, or a failure for the same reason. A text that is refused here, and of
    /// which Go's YAML has nothing to say, nobody judges.
    pub(crate) fn judged(&self, answer: Option<&Answer>) -> &'static str {
        let Some(answer) = answer else { return "unjudged" };
        match &self.rendering {
            Ok(rendering) if answer.error.is_empty() && answer.text == rendering.text => match self.read {
                Some(Err(_)) if answer.yaml.is_empty() => "unjudged",
                _ => "same",
            },
            Err(problems) if !answer.error.is_empty() && answer.error.contains(&problems.list[0].message) => "same",
            Ok(_) | Err(_) => "differs",
        }
    }

    /// What is wrong with the outcome, given what Go says.
    pub(crate) fn wrong(&self, answer: Option<&Answer>) -> Option<String> {
        let name = self.name();
        let answer = answer?;
        if self.judged(Some(answer)) == "differs" {
            let ours = match &self.rendering {
                Ok(rendering) => first_difference(&rendering.text, &answer.text),
                Err(problems) => problems.to_string(),
            };
            return Some(format!("{name}: Go gives something else\nours: {ours}\nGo: {}", answer.error));
        }
        // What Go's YAML does not take must not be taken here, and the other way round.
        let (ours, theirs) = (self.yaml_fault(), answer.yaml.first());
        match (&self.read, ours, theirs) {
            (Some(Ok(_)), _, Some(theirs)) => Some(format!("{name}: read, but Go refuses it: {theirs}")),
            (Some(Err(_)), Some(ours), None) => Some(format!("{name}: Go reads it, but: {ours}")),
            _ => None,
        }
    }

    /// The first fault of the YAML itself.
    fn yaml_fault(&self) -> Option<String> {
        let Some(Err(problems)) = &self.read else { return None };
        let is_yaml = |message: &str| message.contains("not valid YAML") || message.contains("duplicate key");
        problems.list.iter().find(|problem| is_yaml(&problem.message)).map(|problem| problem.message.clone())
    }

    pub(crate) fn remark(&self) -> String {
        let fault =
            |problems: &Problems| problems.list.first().map(|problem| problem.message.clone()).unwrap_or_default();
        let text = match (&self.rendering, &self.read, &self.plan) {
            (Err(problems), ..) => fault(problems),
            (Ok(_), Some(Err(problems)), _) => fault(problems),
            (Ok(rendering), Some(Ok(config)), Some((sets, absent))) => {
                let mut text = format!("{} images in {sets} sets", config.images.len());
                if !absent.is_empty() {
                    text += &format!(", {} of their paths not in the listing: {}", absent.len(), absent.join(", "));
                }
                if config.images.len() > 100 {
                    let Took { render, read, plan } = self.took;
                    text += &format!(
                        "; {} bytes, rendered in {render:.0?}, read in {read:.0?}, planned in {plan:.0?}",
                        rendering.text.len()
                    );
                }
                text
            }
            _ => String::new(),
        };
        let text = text.replace('\n', " ");
        text.chars().take(240).collect()
    }
}

fn first_difference(ours: &str, theirs: &str) -> String {
    let pair = ours.lines().zip(theirs.lines()).enumerate().find(|(_, (ours, theirs))| ours != theirs);
    match pair {
        Some((at, (ours, theirs))) => format!("line {}: {ours:?}, Go: {theirs:?}", at + 1),
        None => format!("{} bytes, Go: {} bytes", ours.len(), theirs.len()),
    }
}
