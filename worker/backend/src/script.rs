//! The one bash script of a stage: deletions, then the user's commands.
//!
//! Commands share one shell, so that `cd` and variables last from one to the next, and the first failure ends it. Each
//! is announced by a marker on the output, which [`output`](crate::output) takes out again: so a failure is known to
//! belong to a line of `werf.yaml`. Variables are exported here, not set on the container, because an engine copies a
//! container's variables into the image.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use slipway_paths::TreePath;

use crate::{BackendError, SECRETS, Script, Secrets, output::MARKER_ROOM, scrub::Match};

/// Where the toolbox's programs are in every build container.
pub const TOOLBOX_BIN: &str = "/.werf/stapel/embedded/bin";
/// The largest script that is accepted, in bytes.
pub const MAX_SCRIPT: usize = 16 * 1024 * 1024;

/// What the container's shell evaluates: it reads the base64 of the script from its standard input, to the end. So a
/// script may have any size, and nothing of it is in the image's history. Holds nothing that word splitting would change.
pub const BOOTSTRAP: &str = "eval \"$(/.werf/stapel/embedded/bin/base64 --decode)\"";

/// The variable with the token of the marker, for commands that tell their lines: they write the byte 30, the token, a
/// colon, the line's number, the byte 30 and a line end to descriptor 251, at once.
pub const MARKER: &str = "SLIPWAY_MARKER";

/// Descriptor that the markers go to: a copy of the standard output, so that a user's `exec >file` does not catch them.
const MARKER_FD: u32 = 251;
/// Files that one `rm` is given.
const DELETE_BATCH: usize = 256;

/// Files to delete below a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    /// Absolute directory; stays even when it becomes empty.
    pub root: String,
    /// Files below it.
    pub paths: Vec<TreePath>,
}

/// Files that one stage may delete.
const MAX_DELETIONS: usize = 1_000_000;

/// Adds files below a directory to those that a workspace deletes before its commands, which have not `ran`.
///
/// # Errors
/// [`BackendError::Refused`] when the commands ran, `root` is not absolute, or a stage deletes more than a million files.
pub fn postpone(
    deletions: &mut Vec<Deletion>,
    root: &str,
    paths: Vec<TreePath>,
    ran: bool,
) -> Result<(), BackendError> {
    if ran {
        return Err(BackendError::Refused("files cannot be deleted after the commands ran".to_owned()));
    }
    if !root.starts_with('/') {
        return Err(BackendError::Refused(format!("files below `{root}` cannot be deleted: it is not absolute")));
    }
    let waiting: usize = deletions.iter().map(|deletion| deletion.paths.len()).sum();
    if waiting + paths.len() > MAX_DELETIONS {
        return Err(BackendError::Refused(format!("more than {MAX_DELETIONS} files are to be deleted in one stage")));
    }
    if !paths.is_empty() {
        deletions.push(Deletion { root: root.to_owned(), paths });
    }
    Ok(())
}

/// Marks the start of a command in the output. The token keeps users' output from being taken for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marker {
    token: String,
}

impl Marker {
    /// The descriptor of a script that its markers go to.
    pub const DESCRIPTOR: u32 = MARKER_FD;

    /// A marker that nobody else can write; `token` is random and made of letters and digits.
    pub fn new(token: &str) -> Self {
        Self { token: token.chars().filter(char::is_ascii_alphanumeric).collect() }
    }

    /// What stands before the line number.
    pub(crate) fn start(&self) -> Vec<u8> {
        format!("\x1e{}:", self.token).into_bytes()
    }

    /// What stands behind it.
    pub(crate) const fn end() -> &'static [u8] {
        b"\x1e\n"
    }

    /// Whether it stands at the beginning of `text`.
    pub(crate) fn at(&self, text: &[u8]) -> Match {
        let start = self.start();
        let common = start.len().min(text.len());
        if text[..common] != start[..common] {
            return Match::No;
        }
        let rest = &text[common..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match &rest[digits..] {
            _ if digits > MARKER_ROOM => Match::No,
            [] | [0x1e] => Match::Begins,
            [0x1e, b'\n', ..] => Match::Whole(common + digits + Self::end().len()),
            _ => Match::No,
        }
    }

    fn print(&self, line: &str) -> String {
        format!("builtin printf '\\036%s:%s\\036\\n' {} {line} >&{MARKER_FD}\n", self.token)
    }
}

/// The whole script. Line 0 of the marker is the deletion of files. Secrets are written to the memory that is mounted
/// for them: they travel as the script does, in no argument, variable or history.
///
/// # Errors
/// [`BackendError::Refused`] when a variable has no valid name or value, or the script is too large.
pub fn compose(
    deletions: &[Deletion],
    script: &Script,
    secrets: &Secrets,
    marker: &Marker,
) -> Result<Vec<u8>, BackendError> {
    let mut text = format!("exec {MARKER_FD}>&1 </dev/null\n").into_bytes();
    write_secrets(&mut text, secrets);
    if deletions.iter().any(|deletion| !deletion.paths.is_empty()) {
        text.extend_from_slice(marker.print("0").as_bytes());
        delete(&mut text, deletions);
    }
    text.extend_from_slice(variables(&script.variables)?.as_bytes());
    if script.tools.is_some() {
        writeln!(text, "export {MARKER}={}", marker.token).expect("writing to a vector succeeds");
    }
    commands(&mut text, script, marker)?;
    if text.len() > MAX_SCRIPT {
        let size = text.len();
        return Err(BackendError::Refused(format!(
            "the stage's commands and deletions make a script of {size} bytes; at most {MAX_SCRIPT} are accepted: split the stage"
        )));
    }
    Ok(text)
}

/// Whether bash has nothing to say against a text: an error, or a here-document that is not ended.
const COMPLETE: &str = r#"[[ -z $(export LC_ALL=C; BASH -nc "$__slipway_text" 2>&1) ]]"#;

/// The commands, each announced and evaluated by itself. One that is no complete text of bash (an `if` whose `fi` is
/// another command) is joined with those that follow until they are one, and announced by its first line.
fn commands(text: &mut Vec<u8>, script: &Script, marker: &Marker) -> Result<(), BackendError> {
    let commands = &script.commands;
    // The descriptor is not inherited: daemons that a command starts must not hold our output open.
    let descriptor = if script.tools.is_some() { String::new() } else { format!(" {MARKER_FD}>&-") };
    for (index, (line, command)) in commands.iter().enumerate() {
        if command.contains('\0') {
            return Err(BackendError::Refused(format!("the command on line {line} holds a NUL byte: remove it")));
        }
        text.extend_from_slice(b"__slipway_text+=");
        quote(text, command.as_bytes());
        text.extend_from_slice(format!("$'\\n'\n: \"${{__slipway_line:={line}}}\"\n").as_bytes());
        // What is left at the end is evaluated as it is: bash says best what is wrong with it.
        let is_last = index + 1 == commands.len();
        let complete = if is_last { ":".to_owned() } else { COMPLETE.replace("BASH", &format!("{TOOLBOX_BIN}/bash")) };
        text.extend_from_slice(format!("if {complete}; then\n{}", marker.print("$__slipway_line")).as_bytes());
        let evaluate = "builtin eval \"unset __slipway_text __slipway_line\"$'\\n'\"$__slipway_text\"";
        text.extend_from_slice(format!("{evaluate}{descriptor}\nfi\n").as_bytes());
    }
    Ok(())
}

/// By pipes: what a shell is given by here-documents may lie in a file for a moment.
fn write_secrets(text: &mut Vec<u8>, secrets: &Secrets) {
    for (id, content) in secrets.files() {
        let encoded = STANDARD.encode(content);
        let write = format!("builtin printf %s {encoded} | {TOOLBOX_BIN}/base64 --decode >");
        text.extend_from_slice(b"(umask 0377; ");
        text.extend_from_slice(write.as_bytes());
        quote(text, format!("{SECRETS}/{id}").as_bytes());
        text.extend_from_slice(b")\n");
    }
}

fn variables(variables: &BTreeMap<String, String>) -> Result<String, BackendError> {
    let mut text = String::new();
    // A static bash has no locales and would say so: the commands' own programs may have them.
    for (name, value) in variables {
        let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !starts_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || value.contains('\0') {
            return Err(BackendError::Refused(format!(
                "`{name}` cannot be set in a shell: it is no name of a variable"
            )));
        }
        writeln!(text, "export {name}='{}' 2>/dev/null", value.replace('\'', r"'\''"))
            .expect("writing to a string succeeds");
    }
    Ok(text)
}

fn quote(text: &mut Vec<u8>, value: &[u8]) {
    text.push(b'\'');
    for byte in value {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            other => text.push(*other),
        }
    }
    text.push(b'\'');
}

/// A file that was replaced by a directory stays, as does what lies behind a symbolic link: it is not the file that
/// was asked for. Only `rm` is used of the toolbox, so that any toolbox will do.
const DELETE: &str = r#"
cd -P -- "$1" 2>/dev/null || exit 0
shift
shopt -s dotglob nullglob
doomed=()
for path; do
  [[ -L ./$path || -e ./$path ]] || continue
  [[ -d ./$path && ! -L ./$path ]] && continue
  parent=$path
  while [[ $parent == */* ]]; do
    parent=${parent%/*}
    [[ -L ./$parent ]] && continue 2
  done
  doomed+=("./$path")
done
for ((at = 0; at < ${#doomed[@]}; at += BATCH)); do
  RM -f -- "${doomed[@]:at:BATCH}"
done
for path in "${doomed[@]}"; do
  while path=${path%/*}; [[ $path != . ]]; do
    left=("$path"/*)
    ((${#left[@]} == 0)) || break
    [[ -d $path ]] && RM -rf -- "$path"
  done
done
exit 0
"#;

fn delete(text: &mut Vec<u8>, deletions: &[Deletion]) {
    let body = DELETE.replace("RM", &format!("{TOOLBOX_BIN}/rm")).replace("BATCH", &DELETE_BATCH.to_string());
    for deletion in deletions.iter().filter(|deletion| !deletion.paths.is_empty()) {
        // A subshell, so that neither the directory nor the options last.
        text.extend_from_slice(b"(\nset --");
        for argument in std::iter::once(deletion.root.as_bytes()).chain(deletion.paths.iter().map(TreePath::as_bytes)) {
            text.push(b' ');
            quote(text, argument);
        }
        text.extend_from_slice(body.as_bytes());
        text.extend_from_slice(b")\n");
    }
}

/// What became of a script: its exit code, the line that it was at when known, and the last lines of output.
///
/// # Errors
/// When it did not end well: whose fault that is is told by what ran.
pub fn ended(exit: i64, line: Option<u32>, tail: Vec<String>) -> Result<(), BackendError> {
    match (exit, line) {
        (0, _) => Ok(()),
        (_, None) => Err(BackendError::Engine(format!(
            "the build shell ended with exit code {exit} before it ran a command: {}",
            tail.join("; ")
        ))),
        (_, Some(0)) => Err(BackendError::Refused(format!(
            "files that are no longer in the sources could not be deleted (exit code {exit}): {}",
            tail.join("; ")
        ))),
        (exit, line) => Err(BackendError::Command { command: None, exit, line, tail }),
    }
}
