//! An instruction whose variables are expanded, spelled so that the program's interpreter does just that: it knows less than
//! ours of how instructions are written, so it is given the plainest form.

use std::collections::BTreeMap;

use slipway_backend::BackendError;
use slipway_dockerfile::{Content, Files, Mount, MountKind, Process, Sharing, Source};

/// What the directory of here-documents is called as a source of files.
pub(super) const HERE: &str = "slipway-here";
/// The program's interpreter reads no longer line.
const LONGEST: usize = 60 * 1024;

/// The instructions of a `COPY` or an `ADD`; `from` = what it copies from, as the program calls it.
pub(super) fn files(files: &Files, from: Option<&str>) -> Result<Vec<String>, BackendError> {
    let (mut paths, mut contents) = (Vec::new(), Vec::new());
    for source in &files.sources {
        match source {
            Source::Path(path) => paths.push(path.as_str()),
            Source::Content(content) => contents.push(here(content)?),
        }
    }
    let mut lines = Vec::new();
    if !paths.is_empty() {
        let mut words = vec![if files.add { "ADD" } else { "COPY" }.to_owned()];
        words.extend(from.map(|from| format!("--from={from}")));
        words.extend(options(files)?);
        words.push(list(&paths, &files.to)?);
        lines.push(words.join(" "));
    }
    if !contents.is_empty() {
        let mut words = vec!["COPY".to_owned(), format!("--from={HERE}")];
        words.extend(owned(files)?);
        words.push(list(&contents, &files.to)?);
        lines.push(words.join(" "));
    }
    lines.iter().try_for_each(|line| fits(line))?;
    Ok(lines)
}

/// The name of a here-document as a file in one directory.
pub(super) fn here(content: &Content) -> Result<&str, BackendError> {
    match content.name.as_str() {
        name if name == "." || name == ".." || name.contains('/') => {
            Err(BackendError::Refused(format!("the here-document `{name}` is no name of a file")))
        }
        name => Ok(name),
    }
}

/// Whose files become, and with which rights.
fn owned(files: &Files) -> Result<Vec<String>, BackendError> {
    let given = [("chown", &files.chown), ("chmod", &files.chmod)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    given.map(|(name, value)| Ok(format!("--{name}={}", plain(value)?))).collect()
}

/// All options; of those that a version of the program lacks, it tells itself. `--link` says nothing of what comes out.
fn options(files: &Files) -> Result<Vec<String>, BackendError> {
    let mut options = owned(files)?;
    options.extend(files.parents.then(|| "--parents".to_owned()));
    options.extend(files.keep_git_dir.then(|| "--keep-git-dir".to_owned()));
    options.extend(files.unpack.map(|on| format!("--unpack={on}")));
    for (name, value) in files
        .exclude
        .iter()
        .map(|value| ("exclude", value))
        .chain(files.checksum.iter().map(|value| ("checksum", value)))
    {
        options.push(format!("--{name}={}", plain(value)?));
    }
    Ok(options)
}

/// Paths and where they go, as a list of words that stay as they are when they are expanded.
fn list(paths: &[&str], to: &str) -> Result<String, BackendError> {
    let words: Vec<String> = paths.iter().copied().chain([to]).map(kept).collect();
    json(&words)
}

/// The instruction of a command; `from` of each mount is what the program calls it.
pub(super) fn run(process: &Process, mounts: &[(Mount, Option<String>)]) -> Result<String, BackendError> {
    if process.script.is_some() {
        return Err(BackendError::Refused(
            "not supported yet with the buildah backend: a here-document that names its own program in its first line; \
             write it for the shell, or build with --backend native"
                .to_owned(),
        ));
    }
    let mut words = vec!["RUN".to_owned()];
    for (mount, from) in mounts {
        words.push(format!("--mount={}", spelled(mount, from.as_deref())?));
    }
    words.push(json(&process.arguments)?);
    let line = words.join(" ");
    fits(&line)?;
    Ok(line)
}

fn spelled(mount: &Mount, from: Option<&str>) -> Result<String, BackendError> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut switches: Vec<&str> = Vec::new();
    let is_owned = match &mount.kind {
        MountKind::Bind => {
            fields.push(("type", "bind".to_owned()));
            switches.extend((!mount.read_only).then_some("rw"));
            false
        }
        MountKind::Cache(sharing) => {
            let sharing = match sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            fields.extend([
                ("type", "cache".to_owned()),
                ("sharing", sharing.to_owned()),
                ("id", mount.id().to_owned()),
            ]);
            switches.extend(mount.read_only.then_some("ro"));
            true
        }
        MountKind::Tmpfs(size) => {
            fields.push(("type", "tmpfs".to_owned()));
            fields.extend(size.map(|size| ("tmpfs-size", size.to_string())));
            false
        }
        MountKind::Secret { env, required } => {
            fields.extend([("type", "secret".to_owned()), ("id", mount.id().to_owned())]);
            fields.extend(env.clone().map(|env| ("env", env)));
            fields.extend(required.then(|| ("required", "true".to_owned())));
            true
        }
        MountKind::Ssh { required } => {
            fields.extend([("type", "ssh".to_owned()), ("id", mount.id().to_owned())]);
            fields.extend(required.then(|| ("required", "true".to_owned())));
            true
        }
    };
    let places = [("target", mount.target.as_str()), ("from", from.unwrap_or_default())];
    fields.extend(places.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.into())));
    if !mount.source.is_empty() && !matches!(mount.kind, MountKind::Secret { .. }) {
        fields.push(("source", mount.source.clone()));
    }
    if is_owned {
        fields.extend(mount.mode.map(|mode| ("mode", format!("{mode:04o}"))));
        let ids = [("uid", mount.uid), ("gid", mount.gid)];
        fields.extend(ids.into_iter().filter(|(_, id)| *id != 0).map(|(name, id)| (name, id.to_string())));
    }
    let mut words = Vec::new();
    for (name, value) in &fields {
        if value.contains(',') {
            return Err(BackendError::Refused(format!("--mount: buildah takes no comma in `{name}={value}`")));
        }
        words.push(format!("{name}={}", plain(value)?));
    }
    words.extend(switches.into_iter().map(str::to_owned));
    Ok(words.join(","))
}

/// What a command is to see of variables beside those of the image: as arguments, given by options, and in an instruction
/// where the image has another of that name, for there arguments do not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What goes before the command.
    pub(super) lines: Vec<String>,
    /// Arguments that are given.
    pub(super) given: BTreeMap<String, String>,
}

/// Of all that a command is to see, given what the image has.
pub(super) fn variables(seen: BTreeMap<String, String>, image: &[String]) -> Result<Seen, BackendError> {
    let own: BTreeMap<&str, &str> = image.iter().filter_map(|entry| entry.split_once('=')).collect();
    let mut all = Seen { lines: Vec::new(), given: BTreeMap::new() };
    for (name, value) in seen {
        match own.get(name.as_str()) {
            Some(same) if *same == value => {}
            None => {
                all.lines.push(format!("ARG {}", plain(&name)?));
                all.given.insert(name, value);
            }
            Some(_) if value.contains(['\n', '\r']) => {
                return Err(BackendError::Refused(format!(
                    "not supported yet with the buildah backend: the argument {name} has several lines, and the image a \
                     variable of that name; build with --backend native"
                )));
            }
            Some(_) => all.lines.push(format!("ENV {}=\"{}\"", plain(&name)?, kept(&value))),
        }
    }
    all.lines.iter().try_for_each(|line| fits(line))?;
    Ok(all)
}

/// A word that stands for itself once it is expanded.
fn kept(word: &str) -> String {
    let mut kept = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, '\\' | '$' | '"' | '\'') {
            kept.push('\\');
        }
        kept.push(c);
    }
    kept
}

/// A word that stands for itself however it is read.
fn plain(word: &str) -> Result<&str, BackendError> {
    let special = |c: char| c.is_whitespace() || c.is_control() || "\\$\"'`".contains(c);
    match word.chars().find(|c| special(*c)) {
        None => Ok(word),
        Some(c) => {
            Err(BackendError::Refused(format!("buildah takes no {c:?} in `{word}`: build with --backend native")))
        }
    }
}

fn json(words: &[String]) -> Result<String, BackendError> {
    serde_json::to_string(words).map_err(|error| BackendError::Engine(format!("write a list of words: {error}")))
}

fn fits(line: &str) -> Result<(), BackendError> {
    if line.len() <= LONGEST {
        return Ok(());
    }
    Err(BackendError::Refused(format!(
        "it has {} bytes in one line, and buildah reads at most {LONGEST}: make a file of it, or build with --backend native",
        line.len()
    )))
}
