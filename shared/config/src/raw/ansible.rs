//! `ansible`: tasks per user stage.

mod modules;

use self::modules::{CORE, KEYWORDS, SENSELESS};
use super::{
    Reader,
    section::{Section, suggestion},
    shell::{KEYS, STAGES, position_of},
};
use crate::{
    Ansible, AnsibleStage, AnsibleTask, TASK_BLOCKS,
    yaml::{Entry, Kind, Node},
};

/// Tags of YAML that Ansible gives a meaning of its own.
const FOREIGN_TAGS: [&str; 2] = ["vault", "unsafe"];

/// Reads `ansible` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Option<Ansible> {
    let section = reader.subsection(image, "ansible", &KEYS)?;
    let mut ansible = Ansible { cache_version: reader.string(&section, "cacheVersion"), ..Ansible::default() };
    for (key, version_key, stage) in STAGES {
        let cache_version = reader.string(&section, version_key);
        let mut tasks = Vec::new();
        if let Some(entry) = section.get(key) {
            check_tasks(reader, &entry.value, key);
            check_tags(reader, &entry.value);
            tasks = read_tasks(&entry.value);
        }
        if tasks.is_empty() && cache_version.is_none() {
            continue;
        }
        let position = position_of(&section, key, version_key);
        ansible.stages.insert(stage, AnsibleStage { tasks, cache_version, position });
    }
    Some(ansible)
}

/// A list of tasks; blocks hold further lists, as deep as the document nests.
fn check_tasks(reader: &mut Reader<'_>, node: &Node, key: &'static str) {
    let Kind::Sequence(tasks) = &node.kind else {
        let message = format!("`{key}` must be a list of tasks, not {}", node.describe());
        reader.refuse(node.position, message, "begin every task with `- `");
        return;
    };
    for task in tasks {
        if !matches!(task.kind, Kind::Mapping(_)) {
            let message = format!("an ansible task must be a mapping, not {}", task.describe());
            reader.refuse(task.position, message, "write `- MODULE: ARGUMENTS`, such as `- apt: {name: curl}`");
        } else if let Some(section) = reader.section(task, "ansible") {
            check_task(reader, &section, key);
        }
    }
}

fn check_task(reader: &mut Reader<'_>, task: &Section<'_>, key: &'static str) {
    let blocks: Vec<_> = TASK_BLOCKS.iter().filter_map(|block| task.get(block)).collect();
    for block in &blocks {
        check_tasks(reader, &block.value, key);
    }
    let modules: Vec<_> = task.entries().iter().filter(|entry| modules::core(&entry.key).is_some()).collect();
    match (blocks.as_slice(), modules.as_slice()) {
        ([], [_]) => check_keys(reader, task),
        ([], []) => refuse_module(reader, task),
        ([], [first, second, ..]) => {
            let message = format!("invalid ansible task: it names the modules `{}` and `{}`", first.key, second.key);
            reader.refuse(second.position, message, "write one task per module");
        }
        ([_, ..], [module, ..]) => {
            let message = format!("invalid ansible task: the module `{}` stands in a block", module.key);
            reader.refuse(module.position, message, "make it one of the tasks of the block");
        }
        (_, []) => {
            if !task.has("block") {
                let message = "invalid ansible task: `rescue` and `always` need a `block`";
                reader.refuse(task.position, message, "write the tasks that they are for under `block`");
            }
            check_keys(reader, task);
        }
    }
}

/// What stands beside the module.
fn check_keys(reader: &mut Reader<'_>, task: &Section<'_>) {
    for entry in task.entries() {
        let key = entry.key.as_str();
        if modules::core(key).is_some() || modules::is_keyword(key) || TASK_BLOCKS.contains(&key) {
            continue;
        }
        if let Some((_, hint)) = SENSELESS.iter().find(|(keyword, _)| *keyword == key) {
            reader.refuse(entry.position, format!("an ansible task of a stage cannot have `{key}`"), *hint);
        } else if !refuse_collection(reader, entry) {
            let message = format!("invalid ansible task: unknown key `{key}`");
            reader.refuse(entry.position, message, suggestion(key, KEYWORDS, "keys of a task"));
        }
    }
}

/// A task without a module of ansible-core: what it names instead.
fn refuse_module(reader: &mut Reader<'_>, task: &Section<'_>) {
    let mut others = task.entries().iter().filter(|entry| !modules::is_keyword(&entry.key));
    let mut strangers = others.clone();
    if strangers.any(|entry| refuse_collection(reader, entry)) {
        return;
    }
    let hint = match others.next() {
        None => "name a module, such as `apt: {name: curl}`".to_owned(),
        Some(entry) => match SENSELESS.iter().find(|(keyword, _)| *keyword == entry.key) {
            Some((_, hint)) => (*hint).to_owned(),
            None => suggestion(&entry.key, CORE, "modules"),
        },
    };
    reader.refuse(task.position, "unsupported ansible task: it names no known module", hint);
}

/// Refuses a module that a collection has and ansible-core has not; answers whether it is one.
fn refuse_collection(reader: &mut Reader<'_>, entry: &Entry) -> bool {
    let Some(collection) = modules::collection(&entry.key) else { return false };
    let message = format!(
        "unsupported ansible task: the module `{}` is in the collection {collection}, and only those of ansible-core can be used",
        entry.key
    );
    reader.refuse(entry.position, message, "do the same with `command`, `shell` or another module of ansible-core");
    true
}

/// A value whose tag only Ansible's own reader understands would be taken for another one.
fn check_tags(reader: &mut Reader<'_>, node: &Node) {
    match &node.kind {
        Kind::Scalar(scalar) => {
            if let Some(tag) = scalar.tag.as_deref().filter(|tag| FOREIGN_TAGS.contains(tag)) {
                let hint = "write the value itself; what is secret belongs to `secrets`";
                reader.refuse(node.position, format!("not supported yet: `!{tag}` in an ansible task"), hint);
            }
        }
        Kind::Sequence(items) => items.iter().for_each(|item| check_tags(reader, item)),
        Kind::Mapping(entries) => entries.iter().for_each(|entry| check_tags(reader, &entry.value)),
    }
}

/// The tasks of a list, each with the lines of what it holds.
fn read_tasks(node: &Node) -> Vec<AnsibleTask> {
    let Kind::Sequence(tasks) = &node.kind else { return Vec::new() };
    let read = |task: &Node| {
        let mut lines = Vec::new();
        note_lines(task, &mut lines);
        AnsibleTask { task: task.to_json(), lines }
    };
    tasks.iter().map(read).collect()
}

/// The lines of a task and of those in its blocks, in the order of [`TASK_BLOCKS`].
fn note_lines(task: &Node, lines: &mut Vec<u32>) {
    lines.push(task.position.line);
    let Kind::Mapping(entries) = &task.kind else { return };
    for block in TASK_BLOCKS {
        let inner = entries.iter().find(|entry| entry.key == block).map(|entry| &entry.value.kind);
        if let Some(Kind::Sequence(tasks)) = inner {
            tasks.iter().for_each(|task| note_lines(task, lines));
        }
    }
}
