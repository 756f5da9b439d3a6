//! `beforeInstall`, `install`, `beforeSetup`, `setup`: the user's commands or tasks over up-to-date sources.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use slipway_config::{AnsibleTask, ImageKind, Instructions, StapelImage, UserStage};
use slipway_digest::{Checksum, CommitId, Encoder};
use slipway_paths::Scope;

use super::git;
use crate::{
    facts::{Answer, Asked, Question},
    kind::StageKind,
    plan::{ShellCommand, SourceId, StageBody, TaskInput},
    scene::{Scene, mappings},
};

const STAGES: [(UserStage, StageKind); 4] = [
    (UserStage::BeforeInstall, StageKind::BeforeInstall),
    (UserStage::Install, StageKind::Install),
    (UserStage::BeforeSetup, StageKind::BeforeSetup),
    (UserStage::Setup, StageKind::Setup),
];

/// Commands or tasks, cache versions, and the files that `stageDependencies` names for this stage.
pub(super) fn dependencies(scene: Scene<'_>, stapel: &StapelImage, stage: UserStage) -> Asked<Option<Checksum>> {
    let Some(given) = stapel.instructions_of(stage).filter(|given| !given.is_empty()) else { return Ok(None) };
    let files = stage_files(scene, stapel, stage)?;
    // Tasks are of another domain: commands with their texts are another stage.
    let encoder = match given.tasks {
        [] => Encoder::new("user").texts(given.commands.iter().map(|command| command.text.as_str())),
        tasks => Encoder::new("ansible").texts(tasks.iter().map(canonical)),
    };
    let encoder =
        encoder.optional(given.cache_version, Encoder::text).optional(stapel.instructions_version(), Encoder::text);
    let encoder = carried(encoder, scene, kind(stage))
        .list(files.iter(), |encoder, files| encoder.optional(files.as_ref(), Encoder::checksum));
    Ok(Some(encoder.finish()))
}

/// A task as it counts and as it is run: JSON whose keys are sorted. Where it is written does not count.
fn canonical(task: &AnsibleTask) -> String {
    sorted(&task.task).to_string()
}

/// The same value with the keys of every mapping in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let ordered: BTreeMap<&String, &Value> = entries.iter().collect();
            ordered.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Brings the sources to the current commit and runs the commands or tasks.
pub(super) fn body(scene: Scene<'_>, stapel: &StapelImage, stage: UserStage) -> Asked<StageBody> {
    // Before gitArchive there are no sources to bring up to date.
    let patch = if stage == UserStage::BeforeInstall { Vec::new() } else { git::patches(scene, stapel)? };
    let given = stapel.instructions_of(stage);
    let commands = given.iter().flat_map(|given| given.commands);
    let commands =
        commands.map(|command| ShellCommand { text: command.text.clone(), line: command.position.line }).collect();
    let tasks = given.iter().flat_map(|given| given.tasks);
    let tasks = tasks.map(|task| TaskInput { text: canonical(task), lines: task.lines.clone() }).collect();
    Ok(StageBody::Shell { patch, commands, tasks, variables: variables(scene) })
}

/// A cache version of a stage without commands or tasks makes no stage: it counts in the next one. This adds those that lie
/// between the last placed stage and `kind`.
pub(super) fn carried(encoder: Encoder, scene: Scene<'_>, kind: StageKind) -> Encoder {
    let stapel = match &scene.image.kind {
        ImageKind::Dockerfile(_) => None,
        ImageKind::Stapel(stapel) => Some(stapel),
    };
    let last = scene.placed.last().map(|placed| placed.kind);
    let versions: Vec<(&str, &str)> = STAGES
        .iter()
        .filter(|(_, between)| *between < kind && last.is_none_or(|last| *between > last))
        .filter_map(|(stage, between)| {
            let given = stapel?.instructions_of(*stage).filter(Instructions::is_empty)?;
            Some((between.name(), given.cache_version?))
        })
        .collect();
    encoder.list(versions.into_iter(), |encoder, (stage, version)| encoder.text(stage).text(version))
}

/// One entry per git mapping: the checksum of the files this stage depends on, if it names any.
fn stage_files(scene: Scene<'_>, stapel: &StapelImage, stage: UserStage) -> Asked<Vec<Option<Checksum>>> {
    let scopes: Vec<_> = mappings(scene, stapel)?
        .iter()
        .map(|mapping| mapping.stage_scope(stage).map(|scope| (mapping.commit, scope)))
        .collect();
    let ask = |(commit, scope): &(CommitId, Scope)| Question::Tree {
        source: SourceId::own(),
        commit: *commit,
        scope: scope.clone(),
    };
    let questions: Vec<Question> = scopes.iter().flatten().map(ask).collect();
    let mut answers = scene.facts.all(&questions)?.into_iter();
    let checksum = |answer: &Answer| match answer {
        Answer::Tree(fact) => Some(fact.checksum),
        _ => None,
    };
    Ok(scopes.iter().map(|scope| scope.as_ref().and_then(|_| answers.next()).and_then(checksum)).collect())
}

/// Variables that exist while commands run, and in no image or digest.
fn variables(scene: Scene<'_>) -> BTreeMap<String, String> {
    let settings = scene.settings;
    let pairs = [
        ("LANG", "C.UTF-8".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("WERF_COMMIT_HASH", settings.commit.to_string()),
        ("WERF_COMMIT_TIME_HUMAN", settings.commit_time_human.clone()),
        ("WERF_COMMIT_TIME_UNIX", settings.commit_time.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn kind(stage: UserStage) -> StageKind {
    STAGES.iter().find(|(candidate, _)| *candidate == stage).map_or(StageKind::Setup, |(_, kind)| *kind)
}
