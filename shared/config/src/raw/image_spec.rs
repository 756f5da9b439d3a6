//! `imageSpec`: changes of the config of the finished image. Read and checked, not built.

use super::{Reader, section::Section};

const KEYS: [&str; 3] = ["author", "clearHistory", "config"];
const GLOBAL_CONFIG_KEYS: [&str; 3] = ["labels", "removeLabels", "keepEssentialWerfLabels"];
const CONFIG_KEYS: [&str; 18] = [
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
];
const HEALTHCHECK_KEYS: [&str; 5] = ["test", "interval", "timeout", "startPeriod", "retries"];

/// Checks `imageSpec` of an image.
pub(super) fn check(reader: &mut Reader<'_>, image: &Section<'_>) {
    check_with(reader, image, "imageSpec", &CONFIG_KEYS);
}

/// Checks `build.imageSpec` of the meta section.
pub(super) fn check_global(reader: &mut Reader<'_>, build: &Section<'_>) {
    check_with(reader, build, "build.imageSpec", &GLOBAL_CONFIG_KEYS);
}

fn check_with(reader: &mut Reader<'_>, parent: &Section<'_>, directive: &str, config_keys: &[&str]) {
    if let Some(entry) = parent.get("imageSpec") {
        reader.unsupported(directive, entry.position);
    }
    let Some(section) = reader.subsection(parent, "imageSpec", &KEYS) else { return };
    reader.text(&section, "author");
    reader.flag(&section, "clearHistory");
    let Some(config) = reader.subsection(&section, "config", config_keys) else { return };
    for key in ["labels", "env"] {
        reader.text_map(&config, key);
    }
    for key in ["volumes", "expose", "cmd", "entrypoint", "removeLabels", "removeEnv", "removeVolumes"] {
        reader.texts(&config, key);
    }
    for key in ["user", "workingDir", "stopSignal"] {
        reader.text(&config, key);
    }
    for key in ["clearCmd", "clearEntrypoint", "clearUser", "clearWorkingDir", "keepEssentialWerfLabels"] {
        reader.flag(&config, key);
    }
    if let Some(healthcheck) = reader.subsection(&config, "healthcheck", &HEALTHCHECK_KEYS) {
        reader.texts(&healthcheck, "test");
        for key in ["interval", "timeout", "startPeriod", "retries"] {
            reader.text(&healthcheck, key);
        }
    }
}
