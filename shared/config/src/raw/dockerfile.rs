//! A Dockerfile image: the document with `dockerfile`.

use std::collections::{BTreeMap, BTreeSet};

use slipway_paths::TreePath;

use super::{
    Draft, Reader, dependencies,
    dependencies::Conveyor,
    image::{Common, known_keys},
    image_spec, secrets,
    section::Section,
    stapel,
    value::Written,
};
use crate::{Dependency, DockerfileImage, ImageKind, OutsideKind, yaml::shorten};

/// Keys that only Dockerfile images have, and those that both kinds have beside the common ones.
pub(super) const KEYS: [&str; 14] = [
    "dockerfile",
    "context",
    "contextAddFile",
    "contextAddFiles",
    "target",
    "args",
    "addHost",
    "network",
    "ssh",
    "secrets",
    "dependencies",
    "staged",
    "imageSpec",
    "artifact",
];

/// Reads a Dockerfile image.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>, common: Common) -> Draft {
    let why = "is for Stapel images, but this document has `dockerfile`";
    let instead = "remove it, or write `from: IMAGE:TAG` instead of `dockerfile`";
    known_keys(reader, section, &KEYS, (&stapel::KEYS, why, instead));
    if let Some(artifact) = section.entry("artifact") {
        let hint = "write `image: NAME` with `final: false`";
        reader.refuse(artifact.position, "an artifact cannot be built from a `dockerfile`", hint);
    }
    let context = context(reader, section);
    let dockerfile = dockerfile_path(reader, section, &context);
    let context_add_files = context_files(reader, section, &context);
    let args = arguments(reader, section);
    let (dependencies, links) = dependencies::read(reader, section, Conveyor::Dockerfile);
    refuse_shared_arguments(reader, &args, &dependencies);
    let spec = image_spec::read(reader, section);
    let secrets = secrets::read(reader, section);
    let image = DockerfileImage {
        dockerfile,
        context,
        context_add_files,
        target: reader.filled(section, "target").map(|written| written.text),
        args: args.into_iter().map(|(name, value)| (name.text, value)).collect::<BTreeMap<_, _>>(),
        add_hosts: hosts(reader, section),
        network: reader.filled(section, "network").map(|written| written.text),
        ssh: ssh(reader, section),
        staged: false,
        part: None,
    };
    let mut draft = common.into_draft(ImageKind::Dockerfile(image));
    draft.image.dependencies = dependencies;
    draft.image.secrets = secrets;
    draft.links = links;
    draft.spec = spec;
    draft.staged = reader.flag(section, "staged");
    draft
}

fn context(reader: &mut Reader<'_>, section: &Section<'_>) -> TreePath {
    let Some(written) = reader.text(section, "context") else { return TreePath::root() };
    below(reader, &written, "context", "the project directory").unwrap_or_default()
}

fn dockerfile_path(reader: &mut Reader<'_>, section: &Section<'_>, context: &TreePath) -> TreePath {
    let hint = "write `dockerfile: Dockerfile`, the path below `context`";
    if section.get("dockerfile").is_none() {
        reader.missing(section, "dockerfile", "`dockerfile` is missing", hint);
    }
    let Some(written) = reader.text(section, "dockerfile") else { return TreePath::root() };
    let Some(path) = below(reader, &written, "dockerfile", "`context`") else { return TreePath::root() };
    if written.text.trim().is_empty() {
        reader.refuse(written.position, "`dockerfile` is missing or empty", hint);
    } else if path.is_root() {
        let message = format!("`dockerfile` names the context itself: `{}`", shorten(&written.text));
        reader.refuse(written.position, message, hint);
    }
    context.join(path.as_bytes())
}

/// `path`, the value of `key`, relative to `root`.
fn below(reader: &mut Reader<'_>, path: &Written, key: &str, root: &str) -> Option<TreePath> {
    let shown = shorten(&path.text);
    if path.text.starts_with('/') {
        let hint = format!("paths are relative to {root}: write `{}`", shorten(path.text.trim_start_matches('/')));
        reader.refuse(path.position, format!("`{key}` must be a relative path, not `{shown}`"), hint);
        return None;
    }
    match TreePath::new(&path.text) {
        Ok(path) => Some(path),
        Err(_) => {
            let message = format!("`{key}` leads outside of {root}: `{shown}`");
            reader.refuse(path.position, message, "remove `..` from the path");
            None
        }
    }
}

/// `contextAddFiles` and its older spelling.
fn context_files(reader: &mut Reader<'_>, section: &Section<'_>, context: &TreePath) -> Vec<TreePath> {
    let mut paths = Vec::new();
    let (old, new) = (section.entry("contextAddFile"), section.entry("contextAddFiles"));
    if let Some(old) = old {
        reader.warn(old.position, "`contextAddFile` is deprecated; write `contextAddFiles`");
        if new.is_some() {
            let message = "`contextAddFile` and `contextAddFiles` cannot stand together";
            reader.refuse(old.position, message, "put all paths under `contextAddFiles`");
        }
    }
    for entry in old.into_iter().chain(new) {
        if entry.value.is_null() {
            continue;
        }
        for file in reader.node_texts(&entry.value, &entry.key) {
            if file.text.trim().is_empty() {
                let message = format!("`{}` holds an empty path", entry.key);
                reader.refuse(file.position, message, "write the path of a file or directory below `context`");
                continue;
            }
            let Some(path) = below(reader, &file, &entry.key, "`context`") else { continue };
            reader.outside(OutsideKind::ContextFile(context.join(path.as_bytes())), file.position);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    paths
}

fn arguments(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<(Written, String)> {
    reader.text_map(section, "args")
}

/// A build argument has one source.
fn refuse_shared_arguments(reader: &mut Reader<'_>, args: &[(Written, String)], dependencies: &[Dependency]) {
    let given: BTreeSet<&str> = args.iter().map(|(name, _)| name.text.as_str()).collect();
    let imports = dependencies.iter().flat_map(|dependency| &dependency.imports);
    for import in imports.filter(|import| given.contains(import.target.as_str())) {
        let message =
            format!("the build argument `{}` is set by `args` and by `targetBuildArg`", shorten(&import.target));
        reader.refuse(import.position, message, "remove it from `args`, or name another `targetBuildArg`");
    }
}

/// The id by which the Dockerfile names the ssh agent.
fn ssh(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<String> {
    let ssh = reader.filled(section, "ssh")?;
    if ssh.text.contains(|c: char| matches!(c, '=' | ',') || c.is_whitespace()) {
        let message = format!("`ssh` is the id of an agent, not `{}`", shorten(&ssh.text));
        reader.refuse(
            ssh.position,
            message,
            "write `ssh: default`; keys are named by --ssh-key, an agent by SSH_AUTH_SOCK",
        );
    }
    Some(ssh.text)
}

fn hosts(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for written in reader.texts(section, "addHost") {
        match written.text.split_once(':') {
            Some((host, address)) if !host.is_empty() && !address.is_empty() => hosts.push(written.text),
            _ => {
                let message =
                    format!("`addHost` holds `{}`, which is no host with its address", shorten(&written.text));
                reader.refuse(written.position, message, "write `HOST:ADDRESS`, such as `db:10.0.0.5`");
            }
        }
    }
    hosts
}
