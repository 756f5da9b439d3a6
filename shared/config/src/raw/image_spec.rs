//! `imageSpec`: changes of the config of the finished image, and `build.imageSpec`, which holds for every image.

use slipway_oci::{Removal, Respec, config::Healthcheck};

use super::{
    Reader, docker,
    healthcheck::duration,
    section::{Section, suggestion},
    value::Written,
};
use crate::{
    Position,
    yaml::{Kind, shorten},
};

const KEYS: [&str; 3] = ["author", "clearHistory", "config"];
const GLOBAL_CONFIG_KEYS: [&str; 4] = ["labels", "removeLabels", "keepEssentialWerfLabels", "clearWerfLabels"];
const CONFIG_KEYS: [&str; 19] = [
    "labels",
    "env",
    "volumes",
    "expose",
    "user",
    "cmd",
    "entrypoint",
    "workingDir",
    "stopSignal",
    "healthcheck",
    "removeLabels",
    "removeEnv",
    "removeVolumes",
    "clearCmd",
    "clearEntrypoint",
    "clearUser",
    "clearWorkingDir",
    "keepEssentialWerfLabels",
    "clearWerfLabels",
];
const HEALTHCHECK_KEYS: [&str; 5] = ["test", "interval", "timeout", "startPeriod", "retries"];
/// First words of the test of a health check.
const TEST_KINDS: [&str; 3] = ["NONE", "CMD", "CMD-SHELL"];
/// Labels that are said to be essential: they stay whatever is removed.
const ESSENTIAL: [&str; 4] =
    ["werf", "werf.io/parent-stage-id", "werf-stage-content-digest", "werf-project-repo-commit"];

/// `imageSpec` of an image or of the meta section.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ImageSpec {
    /// What is done.
    pub(crate) respec: Respec,
    /// `keepEssentialWerfLabels`: the user knows that they stay.
    keep_essential: bool,
    /// Where it stands.
    position: Position,
}

impl ImageSpec {
    /// What both say: an author and labels of the meta section win, lists are put together, the image's first.
    pub(crate) fn merged(global: Option<&Self>, own: Option<Self>) -> Option<Self> {
        let Some(global) = global else { return own };
        let Some(mut merged) = own else { return Some(global.clone()) };
        let Respec { author, clear_history, labels, remove_labels, .. } = &global.respec;
        if author.is_some() {
            merged.respec.author.clone_from(author);
        }
        merged.respec.clear_history |= clear_history;
        merged.respec.labels.extend(labels.clone());
        for removal in remove_labels {
            if !merged.respec.remove_labels.contains(removal) {
                merged.respec.remove_labels.push(removal.clone());
            }
        }
        merged.keep_essential |= global.keep_essential;
        Some(merged)
    }

    /// Warns when labels are to be removed that stay all the same.
    pub(crate) fn warn_of_essential_labels(&self, reader: &mut Reader<'_>) {
        let taken = |label: &&&str| self.respec.remove_labels.iter().any(|removal| removal.takes(label));
        let staying: Vec<&str> = ESSENTIAL.iter().filter(taken).copied().collect();
        if !self.keep_essential && !staying.is_empty() {
            let message = format!(
                "`removeLabels` does not remove {}: stages could not be found again without; write `keepEssentialWerfLabels: true` \
                 to say that you know",
                staying.join(", ")
            );
            reader.warn(self.position, &message);
        }
    }
}

/// Reads `imageSpec` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Option<ImageSpec> {
    read_with(reader, image, &CONFIG_KEYS)
}

/// Reads `build.imageSpec` of the meta section.
pub(super) fn read_global(reader: &mut Reader<'_>, build: &Section<'_>) -> Option<ImageSpec> {
    read_with(reader, build, &GLOBAL_CONFIG_KEYS)
}

fn read_with(reader: &mut Reader<'_>, parent: &Section<'_>, config_keys: &[&str]) -> Option<ImageSpec> {
    let section = reader.section(&parent.get("imageSpec")?.value, "imageSpec")?;
    known(reader, &section, config_keys);
    let mut respec = Respec {
        author: reader.string(&section, "author"),
        clear_history: reader.flag(&section, "clearHistory").unwrap_or(false),
        ..Respec::default()
    };
    let mut keep_essential = false;
    // Keys that are not for the meta section were refused above.
    if let Some(config) = reader.subsection(&section, "config", config_keys) {
        added(reader, &config, &mut respec);
        removed(reader, &config, &mut respec);
        keep_essential = reader.flag(&config, "keepEssentialWerfLabels").unwrap_or(false);
        if reader.flag(&config, "clearWerfLabels") == Some(true) {
            reader
                .warn(config.position, "`clearWerfLabels` does nothing: labels that a stored stage needs always stay");
        }
    }
    Some(ImageSpec { respec, keep_essential, position: section.position })
}

/// A problem for every unknown key; those of `config` stand one level too high.
fn known(reader: &mut Reader<'_>, section: &Section<'_>, config_keys: &[&str]) {
    let astray = |key: &str| !KEYS.contains(&key) && config_keys.contains(&key);
    for entry in section.entries().iter().filter(|entry| astray(&entry.key)) {
        let message = format!("`{}` stands in `imageSpec` itself", entry.key);
        reader.refuse(entry.position, message, "write it under `config` of `imageSpec`");
    }
    let keys: Vec<&str> = KEYS.iter().chain(config_keys).copied().collect();
    for entry in section.entries().iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
        let message = format!("unknown key `{}` in `imageSpec`", shorten(&entry.key));
        reader.refuse(entry.position, message, suggestion(&entry.key, &KEYS, "keys"));
    }
}

/// What is set.
fn added(reader: &mut Reader<'_>, config: &Section<'_>, respec: &mut Respec) {
    let mut pairs = |key| reader.text_map(config, key).into_iter().map(|(name, value)| (name.text, value)).collect();
    respec.labels = pairs("labels");
    respec.env = pairs("env");
    let volumes = reader.texts(config, "volumes");
    let volumes: Vec<String> = volumes.iter().filter_map(|volume| reader.absolute(volume, "volumes")).collect();
    respec.volumes = unique(volumes);
    respec.expose = config.get("expose").map(|_| docker::ports(reader, config, "expose"));
    respec.user = reader.filled(config, "user").map(|written| written.text);
    respec.workdir = working_dir(reader, config);
    respec.cmd = words(reader, config, "cmd");
    respec.entrypoint = words(reader, config, "entrypoint");
    respec.stop_signal = reader.filled(config, "stopSignal").map(|written| written.text);
    respec.healthcheck = healthcheck(reader, config);
}

/// What is taken away.
fn removed(reader: &mut Reader<'_>, config: &Section<'_>, respec: &mut Respec) {
    respec.remove_labels = removals(reader, config, "removeLabels");
    respec.remove_env = removals(reader, config, "removeEnv");
    respec.remove_volumes = removals(reader, config, "removeVolumes");
    let mut flag = |key| reader.flag(config, key).unwrap_or(false);
    respec.clear_cmd = flag("clearCmd");
    respec.clear_entrypoint = flag("clearEntrypoint");
    respec.clear_user = flag("clearUser");
    respec.clear_workdir = flag("clearWorkingDir");
}

fn removals(reader: &mut Reader<'_>, config: &Section<'_>, key: &str) -> Vec<Removal> {
    let mut removals = Vec::new();
    for written in reader.texts(config, key) {
        match Removal::new(&written.text) {
            Ok(removal) => removals.push(removal),
            Err(why) => {
                let message = format!("`{key}`: `{}` is no regular expression: {why}", shorten(&written.text));
                reader.refuse(written.position, message, "write a name, or a regular expression between slashes");
            }
        }
    }
    unique(removals)
}

/// `cmd` or `entrypoint`: the exec form and no other.
fn words(reader: &mut Reader<'_>, config: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let entry = config.get(key)?;
    if let Kind::Scalar(_) = entry.value.kind {
        let hint = format!("write `{key}: [\"program\", \"argument\"]`, or `[\"/bin/sh\", \"-c\", \"…\"]` for a shell");
        reader.refuse(entry.value.position, format!("`{key}` must be a list of words, not a string"), hint);
        return None;
    }
    let words = reader.node_texts(&entry.value, key);
    Some(words.into_iter().map(|written| written.text).collect())
}

fn working_dir(reader: &mut Reader<'_>, config: &Section<'_>) -> Option<String> {
    let written = reader.filled(config, "workingDir")?;
    reader.absolute(&written, "workingDir")
}

fn healthcheck(reader: &mut Reader<'_>, config: &Section<'_>) -> Option<Healthcheck> {
    let section = reader.subsection(config, "healthcheck", &HEALTHCHECK_KEYS)?;
    let test = test(reader, &section)?;
    let mut time = |key| reader.text(&section, key).map_or(0, |written| nanoseconds(reader, &written, key));
    let (interval, timeout, start_period) = (time("interval"), time("timeout"), time("startPeriod"));
    let retries = reader.number(&section, "retries", 0).unwrap_or(0);
    Some(Healthcheck { test, interval, timeout, start_period, retries, start_interval: 0 })
}

fn test(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Vec<String>> {
    let Some(entry) = section.get("test") else {
        let hint = "write `test: [CMD, program]`, `test: COMMAND` for the shell, or `test: [NONE]`";
        reader.missing(section, "test", "`healthcheck` has no `test`", hint);
        return None;
    };
    let words: Vec<String> = reader.node_texts(&entry.value, "test").into_iter().map(|word| word.text).collect();
    match (&entry.value.kind, words.first()) {
        (Kind::Scalar(_), Some(command)) => Some(vec!["CMD-SHELL".to_owned(), command.clone()]),
        (_, Some(kind)) if TEST_KINDS.contains(&kind.as_str()) => Some(words),
        (_, first) => {
            let message = format!("`test` begins with `{}`", shorten(first.map_or("", String::as_str)));
            reader.refuse(entry.value.position, message, format!("begin with one of {}", TEST_KINDS.join(", ")));
            None
        }
    }
}

/// A number of seconds, or a duration with units.
fn nanoseconds(reader: &mut Reader<'_>, written: &Written, key: &str) -> i64 {
    let seconds = written.text.parse::<u32>().ok().map(|seconds| i64::from(seconds) * 1_000_000_000);
    // Docker refuses times below one millisecond; 0 stands for its default.
    let time = seconds.or_else(|| duration(&written.text)).filter(|time| *time == 0 || *time >= 1_000_000);
    time.unwrap_or_else(|| {
        let message = format!("`{key}` is no duration of at least 1ms: `{}`", shorten(&written.text));
        reader.refuse(written.position, message, "write a number of seconds, or `1m30s`");
        0
    })
}

/// The items, each once, in their order.
fn unique<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut unique = Vec::new();
    for item in items {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}
