//! Reading `werf-giterminism.yaml`.

use regex::{Regex, RegexBuilder};
use slipway_paths::Glob;

use super::{
    Giterminism,
    rules::{HostPaths, Names, Paths, Start},
};
use crate::{
    Position, Problems, documents,
    raw::{Reader, Section, Written},
    yaml::{self, Budget, Kind, Node, shorten},
};

/// The largest text that is read, in bytes.
const LARGEST_TEXT: usize = 1 << 20;
/// The most memory that one compiled expression may take, in bytes.
const LARGEST_EXPRESSION: usize = 1 << 20;
/// Most expressions of one list.
const MOST_EXPRESSIONS: usize = 100;

/// Reads the text of a giterminism configuration. `file` is the name that problems are reported under.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(file: &str, text: &str) -> Result<Giterminism, Problems> {
    let mut reader = Reader::new(file);
    if text.len() > LARGEST_TEXT {
        let message = format!("the giterminism configuration has {} bytes; up to {LARGEST_TEXT} are read", text.len());
        reader.refuse_file(message, "name directories or globs instead of single files");
        return Err(reader.problems(""));
    }
    let text = documents::normalise(text);
    let documents = documents::split(&text);
    if let [_, second, ..] = documents.as_slice() {
        let position = Position { line: second.first_line, column: 1 };
        reader.refuse(
            position,
            "a giterminism configuration is one document",
            "remove the line `---` and merge the two",
        );
    }
    let node = documents
        .first()
        .and_then(|first| yaml::read(first.text, first.first_line, &mut Budget::new(), &mut reader.problems));
    let allowed = match node {
        Some(node) => document(&mut reader, &node),
        None => {
            if reader.problems.is_empty() {
                reader.refuse_file("`giterminismConfigVersion` is missing", VERSION_HINT);
            }
            Giterminism::default()
        }
    };
    if reader.problems.is_empty() { Ok(allowed) } else { Err(reader.problems(&text)) }
}

const VERSION_HINT: &str = "write `giterminismConfigVersion: 1`";

fn document(reader: &mut Reader<'_>, node: &Node) -> Giterminism {
    let mut allowed = Giterminism::default();
    let Some(top) = reader.section(node, "document") else { return allowed };
    reader.known(&top, &["giterminismConfigVersion", "cli", "config", "helm", "includes"]);
    version(reader, &top);
    if let Some(cli) = reader.subsection(&top, "cli", &["allowCustomTags"]) {
        allowed.custom_tags = flag(reader, &cli, "allowCustomTags");
    }
    if let Some(helm) = reader.subsection(&top, "helm", &["allowUncommittedFiles"]) {
        allowed.helm_files = paths(reader, &helm, "allowUncommittedFiles");
    }
    if let Some(includes) = reader.subsection(&top, "includes", &["allowIncludesUpdate"]) {
        allowed.includes_update = flag(reader, &includes, "allowIncludesUpdate");
    }
    let keys =
        ["allowUncommitted", "allowUncommittedTemplates", "goTemplateRendering", "secrets", "stapel", "dockerfile"];
    if let Some(config) = reader.subsection(&top, "config", &keys) {
        allowed.config = flag(reader, &config, "allowUncommitted");
        allowed.templates = paths(reader, &config, "allowUncommittedTemplates");
        rendering(reader, &config, &mut allowed);
        secrets(reader, &config, &mut allowed);
        stapel(reader, &config, &mut allowed);
        dockerfile(reader, &config, &mut allowed);
    }
    allowed
}

fn version(reader: &mut Reader<'_>, top: &Section<'_>) {
    if top.get("giterminismConfigVersion").is_none() {
        reader.missing(top, "giterminismConfigVersion", "`giterminismConfigVersion` is missing", VERSION_HINT);
    }
    if let Some(version) = reader.text(top, "giterminismConfigVersion")
        && version.text != "1"
    {
        let message = format!("`giterminismConfigVersion` must be 1, not `{}`", shorten(&version.text));
        reader.refuse(version.position, message, VERSION_HINT);
    }
}

fn rendering(reader: &mut Reader<'_>, config: &Section<'_>, allowed: &mut Giterminism) {
    let keys = ["allowEnvVariables", "allowUncommittedFiles"];
    let Some(rendering) = reader.subsection(config, "goTemplateRendering", &keys) else { return };
    allowed.template_variables = expressions(reader, &rendering, "allowEnvVariables");
    allowed.template_files = paths(reader, &rendering, "allowUncommittedFiles");
}

fn secrets(reader: &mut Reader<'_>, config: &Section<'_>, allowed: &mut Giterminism) {
    let keys = ["allowEnvVariables", "allowFiles", "allowValueIds"];
    let Some(secrets) = reader.subsection(config, "secrets", &keys) else { return };
    allowed.secret_variables = names(reader, &secrets, "allowEnvVariables");
    allowed.secret_files = host_paths(reader, &secrets, "allowFiles");
    allowed.secret_values = names(reader, &secrets, "allowValueIds");
}

fn stapel(reader: &mut Reader<'_>, config: &Section<'_>, allowed: &mut Giterminism) {
    let Some(stapel) = reader.subsection(config, "stapel", &["allowFromLatest", "git", "mount"]) else { return };
    allowed.from_latest = flag(reader, &stapel, "allowFromLatest");
    if let Some(git) = reader.subsection(&stapel, "git", &["allowBranch"]) {
        allowed.git_branch = flag(reader, &git, "allowBranch");
    }
    if let Some(mount) = reader.subsection(&stapel, "mount", &["allowBuildDir", "allowFromPaths"]) {
        allowed.mount_build_dir = flag(reader, &mount, "allowBuildDir");
        allowed.mount_paths = host_paths(reader, &mount, "allowFromPaths");
    }
}

fn dockerfile(reader: &mut Reader<'_>, config: &Section<'_>, allowed: &mut Giterminism) {
    let keys = ["allowUncommitted", "allowUncommittedDockerignoreFiles", "allowContextAddFiles"];
    let Some(dockerfile) = reader.subsection(config, "dockerfile", &keys) else { return };
    allowed.dockerfiles = paths(reader, &dockerfile, "allowUncommitted");
    allowed.dockerignores = paths(reader, &dockerfile, "allowUncommittedDockerignoreFiles");
    allowed.context_files = paths(reader, &dockerfile, "allowContextAddFiles");
}

fn flag(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> bool {
    reader.flag(section, key).unwrap_or(false)
}

/// The texts listed under `key`, none of them empty.
fn list(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<Written> {
    let Some(entry) = section.get(key) else { return Vec::new() };
    if !matches!(entry.value.kind, Kind::Sequence(_)) {
        let message = format!("`{key}` must be a list, not {}", entry.value.describe());
        reader.refuse(entry.value.position, message, format!("begin every entry of `{key}` with `- `"));
        return Vec::new();
    }
    let mut kept = Vec::new();
    for written in reader.node_texts(&entry.value, key) {
        if written.text.trim().is_empty() {
            reader.refuse(written.position, format!("`{key}` holds an empty text"), "give it a value or remove it");
        } else {
            kept.push(written);
        }
    }
    kept
}

fn paths(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Paths {
    let written = list(reader, section, key);
    Paths(written.iter().filter_map(|written| glob(reader, key, written, &written.text)).collect())
}

fn host_paths(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> HostPaths {
    let mut kept = Vec::new();
    for written in list(reader, section, key) {
        let (start, rest) = Start::of(&written.text);
        kept.extend(glob(reader, key, &written, rest).map(|glob| (start, glob)));
    }
    HostPaths(kept)
}

fn glob(reader: &mut Reader<'_>, key: &str, written: &Written, text: &str) -> Option<Glob> {
    let glob = Glob::new(text);
    let hint = "paths are relative to the project directory, without `..`; close every `[` and `{`, and put `\\` before \
                a special character that is meant as it is";
    glob.map_err(|error| reader.refuse(written.position, format!("`{key}`: {error}"), hint)).ok()
}

fn names(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Names {
    let exact = list(reader, section, key).into_iter().map(|written| written.text).collect();
    Names { exact, expressions: Vec::new() }
}

/// Names, and expressions between slashes.
fn expressions(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Names {
    let mut names = Names::default();
    for written in list(reader, section, key) {
        let inner = written.text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(inner) = inner else {
            names.exact.push(written.text);
            continue;
        };
        if names.expressions.len() >= MOST_EXPRESSIONS {
            let message = format!("`{key}` has more than {MOST_EXPRESSIONS} regular expressions");
            reader.refuse(written.position, message, "join them with `|`");
            return names;
        }
        match whole(inner) {
            Ok(expression) => names.expressions.push(expression),
            Err(reason) => {
                let message = format!(
                    "`{key}`: `{}` is no regular expression that can be used: {reason}",
                    shorten(&written.text)
                );
                reader.refuse(written.position, message, "write `/EXPRESSION/`, or the plain name without slashes");
            }
        }
    }
    names
}

/// An expression that takes whole names.
fn whole(expression: &str) -> Result<Regex, String> {
    let compile = |text: &str| {
        RegexBuilder::new(text).size_limit(LARGEST_EXPRESSION).build().map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large, with all repetitions written out".to_owned(),
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    };
    // Alone as well: `a)|(b` would be one only between the anchors.
    compile(expression)?;
    compile(&format!("^(?:{expression})$"))
}
