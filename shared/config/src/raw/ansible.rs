//! `ansible`: read, not built.

use serde_json::Value;

use super::{
    Reader,
    section::{Section, suggestion},
    shell::{KEYS, STAGES, position_of},
};
use crate::{
    Ansible, AnsibleStage,
    yaml::{Kind, Node},
};

const BLOCKS: [&str; 3] = ["block", "rescue", "always"];
/// The modules that can stand in a task.
const MODULES: &[&str] = &[
    "command",
    "shell",
    "raw",
    "script",
    "openssl_certificate",
    "openssl_csr",
    "openssl_privatekey",
    "openssl_publickey",
    "acl",
    "archive",
    "assemble",
    "blockinfile",
    "copy",
    "file",
    "replace",
    "find",
    "ini_file",
    "iso_extract",
    "lineinfile",
    "stat",
    "tempfile",
    "unarchive",
    "xattr",
    "get_url",
    "slurp",
    "uri",
    "bower",
    "bundler",
    "composer",
    "cpanm",
    "easy_install",
    "gem",
    "maven_artifact",
    "npm",
    "pear",
    "pip",
    "apk",
    "apt",
    "apt_key",
    "apt_repository",
    "apt_rpm",
    "dnf",
    "dpkg_selections",
    "debconf",
    "homebrew",
    "homebrew_cask",
    "homebrew_tap",
    "layman",
    "macports",
    "openbsd_pkg",
    "opkg",
    "package",
    "pacman",
    "pkg5",
    "pkg5_publisher",
    "pkgin",
    "pkgng",
    "pkgutil",
    "portage",
    "portinstall",
    "pulp_repo",
    "redhat_subscription",
    "rhn_channel",
    "rhn_register",
    "rpm_key",
    "slackpkg",
    "sorcery",
    "svr4pkg",
    "swdepot",
    "swupd",
    "urpmi",
    "xbps",
    "yum",
    "yum_repository",
    "zypper",
    "zypper_repository",
    "cron",
    "user",
    "group",
    "getent",
    "locale_gen",
    "timezone",
    "meta",
    "assert",
    "debug",
    "fail",
    "set_fact",
    "wait_for",
];

/// Reads `ansible` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Option<Ansible> {
    let section = reader.subsection(image, "ansible", &KEYS)?;
    if let Some(entry) = image.entry("ansible") {
        reader.unsupported("ansible", entry.position);
    }
    let mut ansible = Ansible { cache_version: reader.string(&section, "cacheVersion"), ..Ansible::default() };
    for (key, version_key, stage) in STAGES {
        let cache_version = reader.string(&section, version_key);
        let mut tasks = Vec::new();
        if let Some(entry) = section.get(key) {
            check_tasks(reader, &entry.value, key);
            if let Value::Array(written) = entry.value.to_json() {
                tasks = written;
            }
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
    let blocks: Vec<_> = BLOCKS.iter().filter_map(|block| task.get(block)).collect();
    for block in &blocks {
        check_tasks(reader, &block.value, key);
    }
    if !blocks.is_empty() {
        return;
    }
    let modules: Vec<_> = task.entries().iter().filter(|entry| MODULES.contains(&entry.key.as_str())).collect();
    match modules.as_slice() {
        [_] => {}
        [] => {
            let named = task.entries().iter().find(|entry| entry.key != "name");
            let hint = named.map_or("name a module, such as `apt: {name: curl}`".to_owned(), |entry| {
                suggestion(&entry.key, MODULES, "modules")
            });
            reader.refuse(task.position, "unsupported ansible task: it names no known module", hint);
        }
        [first, second, ..] => {
            let message = format!("invalid ansible task: it names the modules `{}` and `{}`", first.key, second.key);
            reader.refuse(second.position, message, "write one task per module");
        }
    }
}
